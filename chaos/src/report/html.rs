//! Pages that open offline: one file each, with the data inside and nothing fetched.

use serde::Serialize;

use super::Comparison;
use crate::run::RunReport;

const PAGE: &str = include_str!("page/page.html");
const BASE_CSS: &str = include_str!("page/base.css");
const REPORT_CSS: &str = include_str!("page/report.css");
const DOM_JS: &str = include_str!("page/dom.js");
const CHARTS_JS: &str = include_str!("page/charts.js");
const REPORT_JS: &str = include_str!("page/report.js");
const COMPARE_JS: &str = include_str!("page/compare.js");
const LIVE_JS: &str = include_str!("page/live.js");

pub fn html(run: &RunReport) -> Result<String, serde_json::Error> {
    page(&[BASE_CSS, REPORT_CSS], &[DOM_JS, CHARTS_JS, REPORT_JS], "verdict", run)
}

pub fn comparison_html(comparison: &Comparison) -> Result<String, serde_json::Error> {
    page(&[BASE_CSS, REPORT_CSS], &[DOM_JS, COMPARE_JS], "comparison", comparison)
}

/// Follows a run by its events; `state` is what is known when the page is asked for.
pub(crate) fn live_html(state: &impl Serialize) -> Result<String, serde_json::Error> {
    page(&[BASE_CSS, REPORT_CSS], &[DOM_JS, CHARTS_JS, LIVE_JS], "state", state)
}

fn page(
    styles: &[&str],
    scripts: &[&str],
    name: &str,
    data: &impl Serialize,
) -> Result<String, serde_json::Error> {
    let data = embedded(&serde_json::to_string(data)?);
    // The data last: nothing that it says is looked for places again.
    let (styles, scripts) = (styles.concat(), scripts.concat());
    let page = PAGE.replacen("{{style}}", &styles, 1).replacen("{{script}}", &scripts, 1);
    Ok(page.replacen("{{name}}", name, 1).replacen("{{data}}", &data, 1))
}

/// JSON that cannot end the script element that holds it. Only strings hold these characters, and there they may be
/// written as escapes.
fn embedded(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_task_can_leave_its_string() {
        let hostile =
            serde_json::json!({"what": "</script><script>alert(1)</script><!-- & {{script}} {{data}}"});
        let embedded = embedded(&hostile.to_string());
        assert!(!embedded.contains('<') && !embedded.contains('>') && !embedded.contains('&'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&embedded).unwrap(), hostile);
        let page = page(&[], &["run();"], "verdict", &hostile).unwrap();
        assert_eq!(page.matches("run();").count(), 1);
        assert!(page.contains("{{script}} {{data}}"), "a place named in the data stays text");
    }

    #[test]
    fn the_pages_need_nothing_from_elsewhere() {
        for place in ["{{style}}", "{{name}}", "{{data}}", "{{script}}"] {
            assert_eq!(PAGE.matches(place).count(), 1, "{place}");
        }
        let offline = [PAGE, BASE_CSS, REPORT_CSS, DOM_JS, CHARTS_JS, REPORT_JS, COMPARE_JS].concat();
        for outside in
            ["src=", "href=", "@import", "url(", "fetch(", "EventSource", "innerHTML", "insertAdjacentHTML"]
        {
            assert!(!offline.contains(outside), "{outside}");
        }
        assert!(
            !offline.replace("http://www.w3.org/2000/svg", "").contains("http"),
            "no address is in a page"
        );
    }
}

//! One page that opens offline: the template, with the verdict inside.

use crate::run::RunReport;

const TEMPLATE: &str = include_str!("report.html");
const PLACE: &str = "{{verdict}}";

pub fn html(run: &RunReport) -> Result<String, serde_json::Error> {
    Ok(TEMPLATE.replacen(PLACE, &embedded(&serde_json::to_string(run)?), 1))
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
        let hostile = serde_json::json!({"what": "</script><script>alert(1)</script><!-- & "});
        let embedded = embedded(&hostile.to_string());
        assert!(!embedded.contains('<') && !embedded.contains('>') && !embedded.contains('&'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&embedded).unwrap(), hostile);
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        assert_eq!(TEMPLATE.matches(PLACE).count(), 1);
        for outside in ["src=", "href=", "@import", "url(", "fetch(", "innerHTML"] {
            assert!(!TEMPLATE.contains(outside), "{outside}");
        }
    }
}

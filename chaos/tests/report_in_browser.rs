//! The report as a browser draws it: no error in its console, every chart drawn, every figure as in verdict.json.
//!
//! Without Chromium these tests say so, loudly, and are skipped; the gate installs it and sets `CHROMIUM_REQUIRED`.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chaos::report;
use chaos::run::{Live, Progress, RunReport, Verdict};
use chaos::serve::Server;
use loadtest::Counts;

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const CHARTS: [&str; 8] =
    ["arrivals", "latency", "result", "queue", "dead-letters", "retries", "pushes", "outstanding"];
/// Starting a browser on a busy machine takes seconds.
const LIMIT: Duration = Duration::from_secs(60);

fn chromium() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let candidates = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = candidates.into_iter().find(|path| path.is_file());
    assert!(
        found.is_some() || std::env::var_os("CHROMIUM_REQUIRED").is_none(),
        "no Chromium, and CHROMIUM_REQUIRED is set: apt-get install chromium"
    );
    if found.is_none() {
        eprintln!("SKIPPED: no Chromium on this machine, so that the report was NOT looked at in a browser");
    }
    found
}

/// The page after its scripts have run, and what they wrote to the console.
fn drawn(chromium: &Path, page: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    browse(chromium, folder.path(), page, &["--dump-dom"])
}

/// What Chromium printed, and what the page wrote to the console.
fn browse(chromium: &Path, folder: &Path, page: &str, arguments: &[&str]) -> (String, String) {
    let file = folder.join("page.html");
    std::fs::write(&file, page).unwrap();
    open(chromium, folder, &format!("file://{}", file.display()), arguments)
}

/// Chromium itself crashes at its start now and then, on a machine that is busy.
const TRIES: u32 = 3;

fn open(chromium: &Path, folder: &Path, url: &str, arguments: &[&str]) -> (String, String) {
    let mut crashes = Vec::new();
    for attempt in 0..TRIES {
        let folder = folder.join(format!("attempt-{attempt}"));
        std::fs::create_dir(&folder).unwrap();
        match open_once(chromium, &folder, url, arguments) {
            Ok(seen) => return seen,
            Err(crash) => crashes.push(crash),
        }
    }
    panic!("Chromium did not end well in {TRIES} tries: {}", crashes.join("\n"));
}

/// An error is the log of a Chromium that crashed.
fn open_once(
    chromium: &Path,
    folder: &Path,
    url: &str,
    arguments: &[&str],
) -> Result<(String, String), String> {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let (out, err) = (folder.join("dom.html"), folder.join("console.txt"));
    let mut child = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"])
        .arg(&profile)
        .args(arguments)
        .arg(url)
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    let waits = std::thread::spawn(move || tell.send(child.wait().unwrap()));
    let ended = told.recv_timeout(LIMIT);
    if ended.is_err() {
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    waits.join().unwrap().unwrap();
    let status = ended.unwrap_or_else(|_| panic!("Chromium did not end within {LIMIT:?}"));
    let log = std::fs::read_to_string(err).unwrap();
    if !status.success() {
        return Err(format!("{status}\n{log}"));
    }
    let console: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    Ok((std::fs::read_to_string(out).unwrap(), console.join("\n")))
}

fn verdict(name: &str) -> RunReport {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// One experiment's part of the page.
fn part<'a>(dom: &'a str, experiment: &str) -> &'a str {
    let begin = dom.find(&format!("data-experiment=\"{experiment}\"")).unwrap();
    let end = dom[begin..].find("</section>").unwrap();
    &dom[begin..begin + end]
}

/// What one experiment's part of the page says: `data-figure` and `data-value`.
fn figures(dom: &str, experiment: &str) -> std::collections::BTreeMap<String, String> {
    let mut found = std::collections::BTreeMap::new();
    for part in part(dom, experiment).split("data-figure=\"").skip(1) {
        let (name, rest) = part.split_once('"').unwrap();
        let value = rest.split_once("data-value=\"").unwrap().1.split_once('"').unwrap().0;
        found.insert(name.to_owned(), value.to_owned());
    }
    found
}

fn points(dom: &str, experiment: &str, chart: &str) -> u64 {
    let begin = dom.find(&format!("data-experiment=\"{experiment}\"")).unwrap();
    let chart = format!("data-chart=\"{chart}\" data-points=\"");
    let place = dom[begin..].find(&chart).unwrap_or_else(|| panic!("no {chart} in {experiment}"));
    dom[begin + place + chart.len()..].split_once('"').unwrap().0.parse().unwrap()
}

fn the_page_says_what_the_verdict_says(dom: &str, run: &RunReport) {
    assert!(dom.contains(&format!("data-run=\"{}\" data-verdict=\"{}\"", run.run_id, run.verdict.name())));
    for experiment in &run.experiments {
        let found = figures(dom, &experiment.name);
        for (name, value) in [
            ("acknowledged", experiment.acknowledged),
            ("lost", experiment.lost),
            ("duplicate_effects", experiment.duplicate_effects),
            ("unexpected", experiment.unexpected),
            ("dlq_found", experiment.dlq_found),
        ] {
            assert_eq!(found[name], value.to_string(), "{name} of {}", experiment.name);
        }
        let recovery = experiment.recovery_ms.map(|ms| ms.to_string()).unwrap_or_default();
        assert_eq!(found["recovery_ms"], recovery);
        for check in &experiment.checks {
            assert!(dom.contains(&escaped(&check.name)), "the check {:?} is missing", check.name);
        }
        let part = part(dom, &experiment.name);
        let totals = experiment.totals;
        let equation = format!(
            "{} acknowledged equal {} succeeded plus {} dead letters plus {} waiting plus {} lost",
            totals.acknowledged, totals.succeeded, totals.dead_lettered, totals.pending, totals.lost
        );
        assert!(part.contains(&equation), "the ledger of {}", experiment.name);
        for dose in &experiment.dose {
            assert!(
                part.contains(&escaped(&dose.asked)) && part.contains(&escaped(&dose.measured)),
                "{dose:?}"
            );
        }
        for revert in &experiment.reverts {
            assert!(part.contains(&escaped(&revert.what)), "{revert:?}");
        }
        for event in experiment.counterexample.iter().flat_map(|story| &story.timeline) {
            assert!(part.contains(&escaped(&event.what)), "{event:?}");
        }
        let (shades, lines) =
            (part.matches("class=\"shade\"").count(), part.matches("class=\"line one\" d=\"M").count());
        if !experiment.series.is_empty() {
            assert_eq!(shades, CHARTS.len() * experiment.windows.len(), "shades of {}", experiment.name);
            assert_eq!(lines, CHARTS.len(), "drawn lines of {}", experiment.name);
            for chart in CHARTS {
                assert!(points(dom, &experiment.name, chart) > 1, "{chart} of {} is empty", experiment.name);
            }
        }
        assert_eq!(
            dom.contains("data-counterexample="),
            run.experiments.iter().any(|one| one.counterexample.is_some())
        );
    }
}

/// As Chromium writes text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[test]
fn every_kind_of_verdict_is_drawn_without_an_error_and_with_its_own_figures() {
    let Some(chromium) = chromium() else { return };
    for (name, expected) in [
        ("pass.json", Verdict::Pass),
        ("fail.json", Verdict::Fail),
        ("inconclusive.json", Verdict::Inconclusive),
    ] {
        let run = verdict(name);
        assert_eq!(run.verdict, expected, "{name}");
        let (dom, console) = drawn(&chromium, &report::html(&run).unwrap());
        assert_eq!(console, "", "{name} writes to the console");
        the_page_says_what_the_verdict_says(&dom, &run);
    }
}

/// The page in a frame of a phone's width, which says how wide it became. The frame is of the same origin.
fn width_on_a_phone(chromium: &Path, page: &str) -> u64 {
    let inside = page.replace('&', "&amp;").replace('"', "&quot;");
    let around = format!(
        "<iframe id=f width={PHONE} height=800 srcdoc=\"{inside}\"></iframe><script>onload = () => {{ document.body.dataset.wide = \
         document.getElementById('f').contentDocument.documentElement.scrollWidth; }}</script>"
    );
    let (dom, console) = drawn(chromium, &around);
    assert_eq!(console, "");
    let wide = dom.split_once("data-wide=\"").unwrap().1.split_once('"').unwrap().0;
    wide.parse().unwrap()
}

/// CSS pixels.
const PHONE: u64 = 390;

#[test]
fn on_a_phone_nothing_is_wider_than_the_screen() {
    let Some(chromium) = chromium() else { return };
    for name in ["pass.json", "fail.json", "inconclusive.json"] {
        let page = report::html(&verdict(name)).unwrap();
        assert!(width_on_a_phone(&chromium, &page) <= PHONE, "{name}");
    }
    let wide = "<!doctype html><div style='width:600px'>wide</div>";
    assert!(width_on_a_phone(&chromium, wide) > PHONE, "a page that is too wide is seen by this test");
}

#[test]
fn the_page_is_dark_for_those_who_like_it_dark() {
    let Some(chromium) = chromium() else { return };
    let told = "<script>addEventListener('load', () => { const style = getComputedStyle(document.body); \
                document.body.dataset.tone = style.backgroundColor + ' ' + style.color; })</script></body>";
    let page = report::html(&verdict("fail.json")).unwrap().replace("</body>", told);
    let tone = |scheme: &str| {
        let folder = tempfile::tempdir().unwrap();
        let setting = format!("--blink-settings=preferredColorScheme={scheme}");
        let (dom, console) = browse(&chromium, folder.path(), &page, &["--dump-dom", &setting]);
        assert_eq!(console, "");
        dom.split_once("data-tone=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
    };
    // As Chromium numbers them: 0 is dark, 1 is light.
    let (dark, light) = (tone("0"), tone("1"));
    assert_ne!(dark, light);
}

#[test]
fn the_page_prints_with_what_is_folded_away_on_the_screen() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pdf = folder.path().join("report.pdf");
    let page = report::html(&verdict("fail.json")).unwrap();
    let print = format!("--print-to-pdf={}", pdf.display());
    let (_, console) = browse(&chromium, folder.path(), &page, &[&print]);
    assert_eq!(console, "");
    let bytes = std::fs::read(&pdf).unwrap();
    assert!(bytes.starts_with(b"%PDF"));
    let pages = bytes.windows(12).filter(|window| window.starts_with(b"/Type /Page\n")).count();
    assert!((2..=20).contains(&pages), "{pages} pages");
}

/// The page is looked at once it has loaded; that events follow, `live_view.rs` tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_live_view_draws_a_run_under_way_and_one_that_has_ended() {
    let Some(chromium) = chromium() else { return };
    let live = Arc::new(Live::default());
    let progress = Progress::new(Arc::clone(&live), "run-1", 2);
    let server = Server::start(Arc::clone(&live), 0).await.unwrap();
    progress.begin("baseline");
    progress.observe(&Counts { attempted: 40, acknowledged: 39, refused: 1, ..Counts::default() }, None);
    let url = format!("http://{}/", server.address);
    let look = move || {
        let folder = tempfile::tempdir().unwrap();
        open(&chromium, folder.path(), &url, &["--dump-dom"])
    };
    let (dom, console) = tokio::task::spawn_blocking(look.clone()).await.unwrap();
    assert_eq!(console, "");
    assert!(dom.contains("data-figure=\"attempted\" data-value=\"40\""), "{dom}");
    assert!(dom.contains("Experiment 1 of 2: baseline"), "{dom}");
    progress.end(Verdict::Fail);
    let (dom, console) = tokio::task::spawn_blocking(look).await.unwrap();
    assert_eq!(console, "");
    assert!(dom.contains("class=\"banner FAIL\""), "{dom}");
    server.end().await;
}

#[test]
fn a_comparison_is_drawn_without_an_error_and_says_which_is_worse() {
    let Some(chromium) = chromium() else { return };
    let (pass, fail) = (verdict("pass.json"), verdict("fail.json"));
    for (a, b) in [(&pass, &fail), (&fail, &pass)] {
        let comparison = report::compare(a, b);
        let (dom, console) = drawn(&chromium, &report::comparison_html(&comparison).unwrap());
        assert_eq!(console, "");
        assert!(dom.contains(&format!("data-worse=\"{}\"", comparison.worse)));
    }
}

#[test]
fn an_error_in_a_page_is_seen_by_this_test() {
    let Some(chromium) = chromium() else { return };
    let (_, console) = drawn(&chromium, "<script>nothing.like.this();</script>");
    assert!(console.contains("nothing is not defined"), "{console}");
}

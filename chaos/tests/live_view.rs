//! The live view, followed by a client as a browser follows it.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use std::sync::Arc;
use std::time::Duration;

use chaos::run::{Live, Progress, Snapshot, Verdict};
use chaos::serve::Server;
use loadtest::Counts;

const PATIENCE: Duration = Duration::from_secs(10);

/// Reads server-sent events off one answer.
struct Events {
    answer: reqwest::Response,
    text: String,
}

impl Events {
    async fn open(url: &str) -> Self {
        let answer = reqwest::get(format!("{url}/events")).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, text: String::new() }
    }

    /// The next snapshot; `None` when the stream has ended.
    async fn next(&mut self) -> Option<serde_json::Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = event.to_owned();
                self.text = rest.to_owned();
                if !event.starts_with("event: snapshot\n") {
                    continue;
                }
                let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
                return Some(serde_json::from_str(data).unwrap());
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.unwrap().unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn a_client_sees_counts_as_they_change_and_the_verdict_as_the_last_event() {
    let live = Arc::new(Live::default());
    let progress = Progress::new(Arc::clone(&live), "run-1", 2);
    let server = Server::start(Arc::clone(&live), 0).await.unwrap();
    assert!(server.address.ip().is_loopback());
    let url = format!("http://{}", server.address);
    let mut events = Events::open(&url).await;
    let first = events.next().await.unwrap();
    assert_eq!((first["run_id"].as_str(), first["of"].as_u64()), (Some("run-1"), Some(2)));

    progress.begin("baseline");
    let counts = Counts { attempted: 40, acknowledged: 39, refused: 1, ..Counts::default() };
    progress.observe(&counts, None);
    let mut seen = first;
    while seen["counts"]["attempted"] != 40 {
        seen = events.next().await.unwrap();
    }
    assert_eq!(seen["experiment"], "baseline");
    assert_eq!(seen["counts"]["refused"], 1);

    let page = reqwest::get(&url).await.unwrap().text().await.unwrap();
    assert!(page.contains("\"attempted\":40"), "a page that is opened late has what came before");

    progress.end(Verdict::Pass);
    while seen["verdict"].is_null() {
        seen = events.next().await.unwrap();
    }
    assert_eq!(seen["verdict"], "PASS");
    assert_eq!(events.next().await, None, "nothing follows the verdict");
    server.end().await;
    assert!(reqwest::get(&url).await.is_err(), "the view ends with the run");
}

#[tokio::test]
async fn a_name_that_another_site_points_here_is_refused() {
    let server = Server::start(Arc::new(Live::default()), 0).await.unwrap();
    let asked = |host: &'static str| {
        let request = reqwest::Client::new().get(format!("http://{}/state", server.address));
        async move { request.header("host", host).send().await.unwrap().status().as_u16() }
    };
    assert_eq!(asked("evil.example").await, 421);
    assert_eq!(asked("localhost:1").await, 200);
    server.end().await;
}

#[test]
fn a_snapshot_of_nothing_is_not_a_verdict() {
    assert_eq!(Snapshot::default().verdict, None);
}

//! The command line, as a user types it: what `emulator up` says first, and what `emulator iam report` prints.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use serde_json::{Value, json};

const USER: &str = "arn:aws:iam::123456789012:user/alice";
const LISTENING: &str = "emulator listening on ";

fn emulator() -> Command {
    Command::new(env!("CARGO_BIN_EXE_emulator"))
}

/// A running emulator and what it prints.
struct Up {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    endpoint: String,
}

impl Up {
    fn start(more: &[&str]) -> Self {
        Self::by(emulator(), more)
    }

    fn by(mut command: Command, more: &[&str]) -> Self {
        command.args(["up", "--port", "0"]).args(more).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let endpoint = first.strip_prefix(LISTENING).unwrap_or_else(|| panic!("{first}")).to_owned();
        Self { child, lines, endpoint }
    }

    fn next_line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    async fn persistence(&self) -> Value {
        let health = reqwest::get(format!("{}/_emulator/health", self.endpoint)).await.unwrap();
        health.json::<Value>().await.unwrap()["persistence"].clone()
    }

    /// A call in the query protocol, signed with this key; the status and the body.
    async fn call(&self, service: &str, key: &str, form: &str) -> (u16, String) {
        let credential =
            format!("AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/{service}/aws4_request");
        let request = Client::new().post(&self.endpoint).header("authorization", credential);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn iam(&self, form: &str) -> String {
        let (status, body) = self.call("iam", "AKIATEST", &format!("Version=2010-05-08&{form}")).await;
        assert_eq!(status, 200, "{form}: {body}");
        body
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn report(more: &[&str]) -> Output {
    emulator().args(["iam", "report"]).args(more).output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn the_first_lines_say_whether_anything_is_kept() {
    let mut up = Up::start(&["--seed", "7"]);
    assert_eq!(up.next_line(), "state is kept in memory only and ends with the process; seed 7");
    assert_eq!(up.persistence().await, "memory");

    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("data");
    let mut up = Up::start(&["--seed", "8", "--data-dir", kept.to_str().unwrap()]);
    assert_eq!(up.next_line(), format!("state is kept in {}; seed 8", kept.display()));
    assert_eq!(up.persistence().await, "directory");
}

/// Soft and hard, as the system tells them of a process.
#[cfg(target_os = "linux")]
fn open_files(pid: u32) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn the_emulator_takes_as_many_open_files_as_its_user_may_have() {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -Sn 256; exec "$0" "$@""#, env!("CARGO_BIN_EXE_emulator")]);
    let up = Up::by(shell, &[]);
    let (soft, hard) = open_files(up.child.id());
    assert_ne!(soft, "256");
    assert_eq!(soft, hard);
}

#[tokio::test]
async fn the_report_names_what_a_user_was_denied_and_never_used() {
    let up = Up::start(&[]);
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"},
    ]});
    let policy = utf8_percent_encode(&policy.to_string(), NON_ALPHANUMERIC).to_string();
    up.iam("Action=CreateUser&UserName=alice").await;
    up.iam(&format!("Action=PutUserPolicy&UserName=alice&PolicyName=p&PolicyDocument={policy}")).await;
    let made = up.iam("Action=CreateAccessKey&UserName=alice").await;
    let (_, key) = made.split_once("<AccessKeyId>").unwrap();
    let (key, _) = key.split_once("</AccessKeyId>").unwrap();
    let create = "Action=CreateQueue&Version=2012-11-05&QueueName=tasks";
    assert_eq!(up.call("sqs", key, create).await.0, 403);

    let shown = printed(&report(&["--endpoint", &up.endpoint]));
    let queue = "arn:aws:sqs:us-east-1:123456789012:tasks";
    for line in [
        USER.to_owned(),
        "  never used  sqs:ListQueues on *".to_owned(),
        format!("  denied      sqs:CreateQueue on {queue}: not granted (1 times)"),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
    let json_shown = printed(&report(&["--json", "--endpoint", &format!("{}/", up.endpoint)]));
    let json_shown: Value = serde_json::from_str(&json_shown).unwrap();
    assert_eq!(json_shown["enforced"], true);
    assert_eq!(json_shown["identities"][0]["arn"], USER);
    assert_eq!(json_shown["identities"][0]["denied"][0]["action"], "sqs:CreateQueue");
    assert_eq!(json_shown["identities"][0]["used"], json!([]));
}

#[tokio::test]
async fn a_report_of_no_emulator_is_a_failure_that_says_what_was_asked() {
    let up = Up::start(&[]);
    let gone = up.endpoint.clone();
    drop(up);
    let output = report(&["--endpoint", &gone]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("{gone}/_emulator/iam/report")), "{said}");
}

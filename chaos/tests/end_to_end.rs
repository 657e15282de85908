//! The whole path as a user walks it: up, plan, load and verdict, a broken worker that must be caught, down.
//!
//! It drives the release binaries from outside, with the real Terraform and the real provider. `make test` runs it; a
//! plain `cargo test` leaves it out because it needs `make build` first.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

mod contract;
mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use chaos::iam::RolePolicy;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{Stack, controls, text};
use tokio::time::{Duration, Instant, sleep};

const FAULT_LIMIT: Duration = Duration::from_secs(60);
const FAULT_LOOK: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the release binaries and Terraform: `make test` runs it"]
async fn a_stack_comes_up_is_judged_catches_a_broken_worker_and_goes_down() {
    let stack = Stack::up();
    the_description_names_every_part(&stack.description());
    a_second_up_is_refused(&stack);
    // A plan is of what is built now, and so packs it: what the last `up` packed is gone.
    std::fs::remove_file(stack.root.join("target/lambda/list-tasks.zip")).unwrap();
    assert_eq!(stack.planned_changes(), Some(0), "the second plan must be empty");
    bad_input_gets_a_typed_problem(&stack).await;
    contract::holds(&stack.description()).await;
    an_account_of_production_is_refused(&stack).await;
    what_is_planned_is_all_that_the_harness_may_do(&stack).await;
    runs_that_were_given_one_token_pass_one_after_the_other(&stack);
    a_run_that_is_stopped_leaves_no_drift(&stack).await;
    two_broken_services_are_caught(&stack).await;
    assert_eq!(stack.planned_changes(), Some(0), "putting the stock worker back must leave no drift");
    let (ready, dir) = (stack.dir.join("emulator.json"), stack.dir.clone());
    let pid = serde_json::from_slice::<Value>(&std::fs::read(ready).unwrap()).unwrap()["pid"].clone();
    let output = stack.tool("stack", &["down"]);
    assert!(output.status.success(), "stack down failed:\n{}", text(&output));
    assert!(!dir.exists(), "down must remove the stack's files");
    assert!(!is_running(&pid), "down must end the emulator");
}

/// A zombie has ended: it only waits for whoever inherited it.
fn is_running(pid: &Value) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// And leaves the stack that is up as it is.
fn a_second_up_is_refused(stack: &Stack) {
    let output = stack.tool("stack", &["up"]);
    assert!(!output.status.success() && text(&output).contains("already up"), "{}", text(&output));
}

fn the_description_names_every_part(description: &Value) {
    for key in ["endpoint", "region", "http_url", "websocket_url"] {
        assert!(description[key].is_string(), "{key} is missing in {description:#}");
    }
    for function in
        ["authorizer", "submit-task", "list-tasks", "process-task", "websocket", "audit-dead-letters"]
    {
        assert!(description["functions"][function]["name"].is_string(), "{function} is missing");
    }
    for queue in ["tasks", "tasks-dlq"] {
        assert!(description["queues"][queue]["url"].is_string(), "{queue} has no url");
        assert!(description["queues"][queue]["arn"].is_string(), "{queue} has no arn");
    }
}

async fn bad_input_gets_a_typed_problem(stack: &Stack) {
    let description = stack.description();
    let url = format!("{}/tasks", description["http_url"].as_str().unwrap());
    let token = token(&description, "bad-input");
    let http = reqwest::Client::new();
    let oversize = json!({"kind": "digest", "payload": {"text": "x".repeat(300 * 1024)}}).to_string();
    let cases: [(&str, String, u16); 4] = [
        ("malformed JSON", "{".to_owned(), 400),
        ("unknown kind", json!({"kind": "nonsense", "payload": {}}).to_string(), 422),
        ("wrong type", json!({"kind": "digest", "payload": {"text": 7}}).to_string(), 422),
        ("oversize", oversize, 413),
    ];
    for (what, body, status) in cases {
        let answer =
            http.post(&url).bearer_auth(&token).header("content-type", "application/json").body(body);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{what}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{what}");
        let problem: Value = answer.json().await.unwrap();
        assert!(problem["type"].as_str().unwrap().starts_with("urn:task:problem:"), "{what}: {problem}");
    }
    let listed = http.get(&url).bearer_auth(&token).send().await.unwrap();
    assert_eq!(
        listed.json::<Value>().await.unwrap()["tasks"],
        json!([]),
        "a refused task must not be written"
    );
    let cursor = http.get(format!("{url}?cursor=nonsense")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(cursor.status().as_u16(), 400);
}

async fn an_account_of_production_is_refused(stack: &Stack) {
    let preflight = || {
        let file = stack.stack_file();
        let arguments = ["preflight", "--stack", file.to_str().unwrap(), "chaos/experiments/baseline.toml"];
        let output = stack.tool("chaos", &arguments);
        (output.status.code(), text(&output))
    };
    assert_eq!(preflight().0, Some(0), "{}", preflight().1);
    name_account(stack, "CreateAccountAlias", "acme-prod").await;
    let (code, told) = preflight();
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("refused account not production: its alias is acme-prod"), "{told}");
    name_account(stack, "DeleteAccountAlias", "acme-prod").await;
}

async fn name_account(stack: &Stack, action: &str, alias: &str) {
    let description = stack.description();
    let form = format!("Action={action}&Version=2010-05-08&AccountAlias={alias}");
    let scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0";
    let call = reqwest::Client::new().post(description["endpoint"].as_str().unwrap());
    let call = call.header("content-type", "application/x-www-form-urlencoded");
    let answer = call.header("authorization", scope).body(form).send().await.unwrap();
    assert!(answer.status().is_success(), "{action}: {}", answer.text().await.unwrap());
}

fn token(description: &Value, owner: &str) -> String {
    let auth = |key: &str| description["auth"][key].as_str().unwrap().to_owned();
    let pem = std::fs::read_to_string(auth("private_key_path")).unwrap();
    let minter = loadtest::token::Minter::new(&pem, auth("issuer"), auth("audience")).unwrap();
    minter.token(owner, std::time::Duration::from_secs(600))
}

/// The stock service passes for a role with the policy of the plan, and a role without it is told what it lacks.
async fn what_is_planned_is_all_that_the_harness_may_do(stack: &Stack) {
    let (file, experiment) = (stack.stack_file(), "chaos/experiments/baseline.toml");
    let file = file.to_str().unwrap();
    let iam = stack.cloud().await.iam;
    let account_id = stack.description()["account_id"].as_str().unwrap().to_owned();
    iam.create_role("harness", &account_id).await.unwrap();
    let role_arn = format!("arn:aws:iam::{account_id}:role/harness");
    let as_role = ["--role-arn", role_arn.as_str()];
    let output = stack.tool("chaos", &[&["preflight", experiment, "--stack", file], &as_role[..]].concat());
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("is not authorized to perform"), "{}", text(&output));
    let output = stack.tool("chaos", &["plan", experiment, "--stack", file, "--json"]);
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let policy = RolePolicy { role: "harness", name: "planned" };
    iam.put(policy, &plan["policy"].to_string()).await.unwrap();
    let (code, entry) = stack.experiment_with("baseline", "7", &as_role);
    assert_eq!((code, &entry["verdict"]), (0, &json!("PASS")), "{entry:#}");
    assert_eq!(entry["lost"], json!(0));
    assert_eq!(entry["dlq_expected"], entry["dlq_found"]);
    assert!(
        entry["dlq_found"].as_u64().unwrap() > 0,
        "one task in fifty is poison: an empty DLQ proves nothing"
    );
}

/// As on AWS, where the token's owner is the owner of every run: each is judged, and by what it did itself.
fn runs_that_were_given_one_token_pass_one_after_the_other(stack: &Stack) {
    let mut description = stack.description();
    let token = token(&description, "given");
    description["auth"].as_object_mut().unwrap().remove("private_key_path");
    let (file, out) = (stack.dir.join("given.json"), stack.dir.join("runs-given"));
    std::fs::write(&file, description.to_string()).unwrap();
    let short = [("\"15s\"", "\"4s\"")];
    let experiment = variant(stack, "baseline", "given.toml", &short);
    for seed in ["21", "22"] {
        let mut run = stack.command("chaos", &["run", experiment.to_str().unwrap(), "--seed", seed]);
        run.arg("--stack").arg(&file).arg("--out").arg(&out).env(loadtest::TOKEN_VARIABLE, &token);
        let output = run.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert!(text(&output).contains("baseline: 1 owner, not 4"), "{}", text(&output));
        let verdict = std::fs::read(out.join("latest/verdict.json")).unwrap();
        let verdict: Value = serde_json::from_slice(&verdict).unwrap();
        let entry = &verdict["experiments"][0];
        assert_eq!(entry["dlq_expected"], entry["dlq_found"]);
        // Poison is received as often as it may be: a record that nobody looked at would not show it.
        assert!(entry["totals"]["redelivered"].as_u64() > Some(0), "{entry:#}");
    }
}

/// Killed, it is recovered; interrupted, it puts back what it changed by itself.
async fn a_run_that_is_stopped_leaves_no_drift(stack: &Stack) {
    let experiment = lasting(stack);
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let out = stack.dir.join(format!("runs-{signal}"));
        let file = stack.stack_file();
        let arguments = ["run", experiment.to_str().unwrap(), "--seed", "7", "--stack"];
        let mut run = stack.command("chaos", &arguments);
        let mut run = run.arg(&file).arg("--out").arg(&out).stdout(Stdio::null()).spawn().unwrap();
        let folder = folder_with_open_fault(&out).await;
        assert_eq!(stack.planned_changes(), Some(2), "a fault in effect is a drift that a plan sees");
        kill(Pid::from_raw(run.id().try_into().unwrap()), signal).unwrap();
        run.wait().unwrap();
        if signal == Signal::SIGKILL {
            let output = stack.tool("chaos", &["recover", folder.to_str().unwrap()]);
            assert!(output.status.success(), "{}", text(&output));
        }
        assert_eq!(chaos::journal::recovery(&folder).unwrap().open, Vec::new(), "{signal}");
        assert_eq!(stack.planned_changes(), Some(0), "{signal}");
    }
}

/// `composed` with a fault on the mapping that outlasts a plan on the slowest machine: the run is ended long before.
fn lasting(stack: &Stack) -> PathBuf {
    let longer = [("\"2.7 receives\"", "\"30 receives\""), ("\"1.7 receives\"", "\"25 receives\"")];
    variant(stack, "composed", "lasting.toml", &longer)
}

/// A shipped experiment with some of its text replaced.
fn variant(stack: &Stack, shipped: &str, name: &str, changes: &[(&str, &str)]) -> PathBuf {
    let shipped = format!("{}/experiments/{shipped}.toml", env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(shipped).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let file = stack.dir.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

/// The run's folder, once a setting that Terraform knows is changed.
async fn folder_with_open_fault(out: &Path) -> PathBuf {
    let until = Instant::now() + FAULT_LIMIT;
    loop {
        let folders =
            std::fs::read_dir(out).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let open = |folder: &PathBuf| {
            chaos::journal::recovery(folder).is_ok_and(|recovery| !recovery.open.is_empty())
        };
        if let Some(folder) = folders.filter(|path| path.is_dir()).find(open) {
            return folder;
        }
        assert!(Instant::now() < until, "no fault begins");
        sleep(FAULT_LOOK).await;
    }
}

/// The cheapest of the positive controls; `make controls` runs all of them.
async fn two_broken_services_are_caught(stack: &Stack) {
    let control = |name| controls::ALL.iter().find(|control| control.name == name).unwrap();
    for name in ["drops one task in twenty", "forgets to push"] {
        controls::is_caught(stack, control(name)).await;
    }
}

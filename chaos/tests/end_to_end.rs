//! The whole path as a user walks it: up, plan, load and verdict, a broken worker that must be caught, down.
//!
//! It drives the release binaries from outside, with the real Terraform and the real provider. `make test` runs it; a
//! plain `cargo test` leaves it out because it needs `make build` first.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

mod contract;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aws_sdk_lambda::client::Waiters;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::Environment;
use serde_json::{Value, json};

/// An update of code settles within seconds.
const UPDATE_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// A stack in a directory of its own; dropped, it is brought down whatever happened.
struct Stack {
    root: PathBuf,
    dir: PathBuf,
}

impl Stack {
    fn up() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
        let dir = root.join("target/end-to-end").join(std::process::id().to_string());
        let stack = Self { root, dir };
        let output = stack.tool("stack", &["up"]);
        assert!(output.status.success(), "stack up failed:\n{}", text(&output));
        stack
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Output {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from);
        let mut command = Command::new(self.root.join(target).join("release").join(name));
        command.current_dir(&self.root).args(arguments);
        if name == "stack" {
            command.arg("--dir").arg(&self.dir);
        }
        command
            .output()
            .unwrap_or_else(|error| panic!("{name} could not be started ({error}): `make build` first"))
    }

    fn stack_file(&self) -> PathBuf {
        self.dir.with_extension("json")
    }

    fn description(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.stack_file()).unwrap()).unwrap()
    }

    /// Runs one experiment; returns its exit code and its entry of `verdict.json`.
    fn experiment(&self, name: &str, seed: &str) -> (i32, Value) {
        let runs = self.dir.join("runs");
        let file = format!("chaos/experiments/{name}.toml");
        let (stack, out) = (self.stack_file(), runs.clone());
        let output = self.tool(
            "chaos",
            &[
                "run",
                &file,
                "--stack",
                stack.to_str().unwrap(),
                "--out",
                out.to_str().unwrap(),
                "--seed",
                seed,
            ],
        );
        let path = runs.join("latest/verdict.json");
        let verdict: Value = serde_json::from_slice(
            &std::fs::read(&path)
                .unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), text(&output))),
        )
        .unwrap();
        for file in ["junit.xml", "summary.md", "report.html"] {
            assert!(runs.join("latest").join(file).is_file(), "{file} is missing");
        }
        (output.status.code().unwrap_or(-1), verdict["experiments"][0].clone())
    }

    fn planned_changes(&self) -> Option<i32> {
        self.tool("stack", &["plan"]).status.code()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let output = self.tool("stack", &["down"]);
        if !output.status.success() {
            eprintln!("stack down failed:\n{}", text(&output));
        }
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the release binaries and Terraform: `make test` runs it"]
async fn a_stack_comes_up_is_judged_catches_a_broken_worker_and_goes_down() {
    let stack = Stack::up();
    the_description_names_every_part(&stack.description());
    assert_eq!(stack.planned_changes(), Some(0), "the second plan must be empty");
    bad_input_gets_a_typed_problem(&stack).await;
    contract::holds(&stack.description()).await;
    the_stock_service_passes(&stack);
    a_worker_that_drops_tasks_is_caught(&stack).await;
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
    let token = token(&description);
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

fn token(description: &Value) -> String {
    let auth = |key: &str| description["auth"][key].as_str().unwrap().to_owned();
    let pem = std::fs::read_to_string(auth("private_key_path")).unwrap();
    let minter = loadtest::token::Minter::new(&pem, auth("issuer"), auth("audience")).unwrap();
    minter.token("bad-input", std::time::Duration::from_secs(600))
}

fn the_stock_service_passes(stack: &Stack) {
    let (code, entry) = stack.experiment("baseline", "7");
    assert_eq!((code, &entry["verdict"]), (0, &json!("PASS")), "{entry:#}");
    assert_eq!(entry["lost"], json!(0));
    assert_eq!(entry["dlq_expected"], entry["dlq_found"]);
    assert!(
        entry["dlq_found"].as_u64().unwrap() > 0,
        "one task in fifty is poison: an empty DLQ proves nothing"
    );
}

/// The positive control: the oracle must see what a worker that acknowledges one task in twenty undone does.
async fn a_worker_that_drops_tasks_is_caught(stack: &Stack) {
    let worker = Worker::of(&stack.description());
    let stock = std::fs::read(stack.root.join("target/lambda/process-task.zip")).unwrap();
    let broken = std::fs::read(stack.root.join("target/lambda/process-task-sabotaged.zip")).unwrap();
    worker.sabotage(Some("drop:20")).await;
    worker.replace(broken).await;
    let (code, entry) = stack.experiment("baseline", "8");
    worker.replace(stock).await;
    worker.sabotage(None).await;
    assert_eq!((code, &entry["verdict"]), (1, &json!("FAIL")), "{entry:#}");
    assert!(entry["lost"].as_u64().unwrap() > 0, "{entry:#}");
    let ids = entry["lost_ids"].as_array().unwrap();
    assert!(!ids.is_empty(), "the lost tasks must be named: {entry:#}");
    let counterexample = &entry["counterexample"];
    assert!(ids.contains(&counterexample["task_id"]), "{counterexample:#}");
    assert!(!counterexample["timeline"].as_array().unwrap().is_empty(), "{counterexample:#}");
}

/// The worker function, through the ordinary Lambda API.
struct Worker {
    lambda: aws_sdk_lambda::Client,
    name: String,
}

impl Worker {
    fn of(description: &Value) -> Self {
        let config = aws_sdk_lambda::Config::builder()
            .behavior_version(aws_sdk_lambda::config::BehaviorVersion::latest())
            .region(aws_sdk_lambda::config::Region::new(description["region"].as_str().unwrap().to_owned()))
            .endpoint_url(description["endpoint"].as_str().unwrap())
            .credentials_provider(aws_sdk_lambda::config::Credentials::new(
                "test", "test", None, None, "static",
            ))
            .build();
        let name = description["functions"]["process-task"]["name"].as_str().unwrap().to_owned();
        Self { lambda: aws_sdk_lambda::Client::from_conf(config), name }
    }

    /// Sets or removes the variable that only the sabotaged binary reads.
    async fn sabotage(&self, mode: Option<&str>) {
        let now = self.lambda.get_function_configuration().function_name(&self.name).send().await.unwrap();
        let mut variables = now.environment.and_then(|environment| environment.variables).unwrap_or_default();
        match mode {
            Some(mode) => variables.insert("TASKS_SABOTAGE".to_owned(), mode.to_owned()),
            None => variables.remove("TASKS_SABOTAGE"),
        };
        let environment = Environment::builder().set_variables(Some(variables)).build();
        let update = self.lambda.update_function_configuration().function_name(&self.name);
        update.environment(environment).send().await.unwrap();
        self.settled().await;
    }

    async fn replace(&self, zip: Vec<u8>) {
        let update = self.lambda.update_function_code().function_name(&self.name).zip_file(Blob::new(zip));
        update.send().await.unwrap();
        self.settled().await;
    }

    async fn settled(&self) {
        let updated = self.lambda.wait_until_function_updated_v2().function_name(&self.name);
        updated.wait(UPDATE_LIMIT).await.unwrap();
    }
}

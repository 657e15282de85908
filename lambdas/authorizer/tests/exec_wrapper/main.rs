//! The exec-wrapper shim on a real binary, with a stand-in for the extension of AWS FIS: a wrapper script that points the
//! function at a proxy of the Runtime API, which delays, fails and rewrites as the extension does.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

mod runtime_api;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use runtime_api::{Fault, Proxy, RuntimeApi};

/// HTTP API, format 2.0, without a token.
const EVENT: &str = r#"{"headers":{}}"#;
const GENUINE: &str = r#"{"isAuthorized":false}"#;
const WITHOUT_WRAPPER: &str = "AWS_LAMBDA_EXEC_WRAPPER does not work";

struct Function {
    child: Child,
}

impl Drop for Function {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Function {
    fn start(api: &RuntimeApi, wrapper: &str, proxy: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_authorizer"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("AWS_LAMBDA_RUNTIME_API", &api.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "authorizer")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_EXEC_WRAPPER", wrapper)
            .env("PROXY", proxy)
            .env("TOKEN_ISSUER", "i")
            .env("TOKEN_AUDIENCE", "a")
            .env(
                "TOKEN_JWKS",
                r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
            )
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Ends it, and gives what it wrote to its log.
    fn log(mut self) -> String {
        self.child.kill().unwrap();
        std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap()
    }
}

/// Says nothing of what it does, as the vendor's script.
fn wrapper(name: &str, body: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn pointing_at_the_proxy(name: &str) -> String {
    wrapper(name, "AWS_LAMBDA_RUNTIME_API=\"$PROXY\"\nexport AWS_LAMBDA_RUNTIME_API\nexec \"$@\"")
}

#[test]
fn a_wrapper_stands_between_the_function_and_the_runtime_api() {
    let api = RuntimeApi::start();
    let proxy = Proxy::start(&api, Fault::None);
    let function = Function::start(&api, &pointing_at_the_proxy("plain"), &proxy.address);
    api.invoke("r-1", EVENT);
    assert_eq!(api.answer(), ("/2018-06-01/runtime/invocation/r-1/response".to_owned(), GENUINE.to_owned()));
    assert_eq!(proxy.seen(), [GENUINE]);
    assert!(!function.log().contains(WITHOUT_WRAPPER));
}

#[test]
fn a_delay_reaches_the_function() {
    const DELAY: Duration = Duration::from_millis(300);
    let api = RuntimeApi::start();
    let proxy = Proxy::start(&api, Fault::Delay(DELAY));
    let _function = Function::start(&api, &pointing_at_the_proxy("delay"), &proxy.address);
    let began = Instant::now();
    api.invoke("r-1", EVENT);
    assert_eq!(api.answer().1, GENUINE);
    assert!(began.elapsed() >= DELAY, "answered after {:?}", began.elapsed());
}

#[test]
fn an_error_takes_the_place_of_the_invocation() {
    let api = RuntimeApi::start();
    let proxy = Proxy::start(&api, Fault::Error);
    let _function = Function::start(&api, &pointing_at_the_proxy("error"), &proxy.address);
    api.invoke("r-1", EVENT);
    let (path, body) = api.answer();
    assert!(path.ends_with("/invocation/r-1/error") && body.contains("FaultInjected"), "{path} {body}");
    assert!(proxy.seen().is_empty(), "the function was to see nothing of it");
}

#[test]
fn a_rewritten_answer_takes_the_place_of_the_functions_own() {
    const REWRITTEN: &str = r#"{"statusCode":503}"#;
    let api = RuntimeApi::start();
    let proxy = Proxy::start(&api, Fault::Rewrite(REWRITTEN));
    let _function = Function::start(&api, &pointing_at_the_proxy("rewrite"), &proxy.address);
    api.invoke("r-1", EVENT);
    assert_eq!(api.answer().1, REWRITTEN);
    assert_eq!(proxy.seen(), [GENUINE], "the function did its work");
}

/// The function answers through the true Runtime API, and its log says why in one line.
fn runs_unwrapped(wrapper: &str, proxy: &str, reason: &str) {
    let api = RuntimeApi::start();
    let function = Function::start(&api, wrapper, proxy);
    api.invoke("r-1", EVENT);
    assert_eq!(api.answer().1, GENUINE);
    let log = function.log();
    let loud: Vec<&str> = log.lines().filter(|line| line.contains(WITHOUT_WRAPPER)).collect();
    assert_eq!(loud.len(), 1, "{log}");
    assert!(loud[0].contains(reason) && loud[0].contains(r#""level":"ERROR""#), "{log}");
}

#[test]
fn without_its_wrapper_the_function_runs_unwrapped_and_says_so() {
    runs_unwrapped("/opt/aws-fis/missing", "127.0.0.1:1", "it cannot be started");
}

#[test]
fn with_a_broken_wrapper_the_function_runs_unwrapped_and_says_so() {
    runs_unwrapped(&wrapper("fails", "exit 1"), "127.0.0.1:1", "it ended without starting the function");
    runs_unwrapped(
        &wrapper("does-nothing", "exit 0"),
        "127.0.0.1:1",
        "it ended without starting the function",
    );
}

#[test]
fn with_a_wrapper_that_is_too_slow_the_function_runs_unwrapped_and_says_so() {
    runs_unwrapped(&wrapper("slow", "exec sleep 60"), "127.0.0.1:1", "it did not start the function within");
}

/// Port 1 of the loopback takes no connections: as an extension that died.
#[test]
fn with_a_wrapper_that_points_nowhere_the_function_runs_unwrapped_and_says_so() {
    runs_unwrapped(&pointing_at_the_proxy("nowhere"), "127.0.0.1:1", "takes no connections");
}

//! Up, plan, down.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use loadtest::token::{KeyPair, Minter};
use serde_json::{Value, json};

use crate::emulator::{self, Ready};
use crate::error::StackError;
use crate::package;
use crate::steps::Steps;
use crate::terraform::Terraform;
use crate::workdir::Workdir;

/// Where stacks on this machine take the zips of the functions from.
pub(crate) const ZIPS: &str = "target/lambda";
const TOKEN_ISSUER: &str = "issuer";
const TOKEN_AUDIENCE: &str = "audience";
/// The owner of the token that `up` prints.
const PRINTED_OWNER: &str = "you";
/// How long that token lasts.
const PRINTED_TOKEN_LIFE: std::time::Duration = std::time::Duration::from_secs(12 * 3600);

/// `make up`: what was started stays, unless something failed on the way.
pub(crate) fn up_and_stay(steps: &Steps, workdir: &Workdir) -> Result<ExitCode, StackError> {
    let stack = up(steps, workdir)?;
    say_how_to_try(&stack, workdir);
    Ok(ExitCode::SUCCESS)
}

/// `make plan`.
pub(crate) fn plan(steps: &Steps, workdir: &Workdir) -> Result<ExitCode, StackError> {
    live(workdir)?;
    // What was built since is among what would change.
    packed(steps)?;
    let terraform = Terraform::prepare(steps, workdir)?;
    let code = terraform.plan()?;
    let log = terraform.log().display();
    println!("{}", if code == 0 { "nothing would change".to_owned() } else { format!("changes: see {log}") });
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// `make down`. Where the emulator is gone, its whole account is gone with it and there is nothing to destroy.
pub(crate) fn down(steps: &Steps, workdir: &Workdir) -> Result<ExitCode, StackError> {
    if !workdir.path().exists() {
        println!("no stack is up");
        return Ok(ExitCode::SUCCESS);
    }
    destroy(steps, workdir).map_err(|error| or_still_up(error, workdir))?;
    Ok(ExitCode::SUCCESS)
}

/// After Ctrl-C what is left of the stack runs on. Its emulator is not ended with it: who interrupts may want to look.
fn or_still_up(error: StackError, workdir: &Workdir) -> StackError {
    match (error, Ready::read(workdir)) {
        (StackError::Interrupted, Some(ready)) if ready.is_of(workdir) => {
            StackError::StillUp { dir: workdir.path().to_path_buf(), pid: ready.pid }
        }
        (error, _) => error,
    }
}

/// Emulator, zips, key pair, `terraform apply`, `stack.json`. After a failure nothing keeps running that was started here; a
/// stack that was up before does.
pub(crate) fn up(steps: &Steps, workdir: &Workdir) -> Result<Value, StackError> {
    let ready = start(steps, workdir)?;
    packed(steps).and_then(|zips| apply(steps, workdir, &ready, &zips)).inspect_err(|_| abandon(workdir))
}

fn packed(steps: &Steps) -> Result<PathBuf, StackError> {
    steps.of("package the functions", |_| zips())
}

/// The folder of the functions' zips, made anew.
pub(crate) fn zips() -> Result<PathBuf, StackError> {
    package::functions(Path::new(ZIPS))
}

/// An emulator in an empty directory.
pub(crate) fn start(steps: &Steps, workdir: &Workdir) -> Result<Ready, StackError> {
    // One that runs and does not answer at this moment would be left without its files.
    if Ready::read(workdir).is_some_and(|ready| ready.is_healthy() || ready.is_of(workdir)) {
        return Err(StackError::AlreadyUp(workdir.path().to_path_buf()));
    }
    workdir.remove()?;
    workdir.create()?;
    emulator::start(steps, workdir)
}

/// The local environment on a running emulator; returns the stack's description, which is also written.
pub(crate) fn apply(
    steps: &Steps,
    workdir: &Workdir,
    ready: &Ready,
    zips: &Path,
) -> Result<Value, StackError> {
    let keys = make_keys(workdir)?;
    let terraform = Terraform::prepare(steps, workdir)?;
    terraform.write_variables(ready, zips, &keys.jwks().to_string())?;
    terraform.apply()?;
    let stack = describe(terraform.stack_output()?, ready, workdir);
    workdir.write_description(&stack)?;
    Ok(stack)
}

pub(crate) fn destroy(steps: &Steps, workdir: &Workdir) -> Result<(), StackError> {
    workdir.must_be_a_stack()?;
    if let Some(ready) = Ready::read(workdir) {
        if ready.is_healthy() {
            // Another stack has resources of the same names.
            must_be_ours(&ready, workdir)?;
            Terraform::prepare(steps, workdir)?.destroy()?;
        }
        steps.of("stop the emulator", |_| {
            ready.stop(workdir);
            Ok(())
        })?;
    }
    workdir.remove()
}

fn must_be_ours(ready: &Ready, workdir: &Workdir) -> Result<(), StackError> {
    if ready.is_of(workdir) {
        return Ok(());
    }
    let (endpoint, dir) = (ready.endpoint.clone(), workdir.path().to_path_buf());
    Err(StackError::NotOurs { endpoint, dir, pid: ready.pid })
}

/// After a failure on the way up: nothing keeps running. The logs stay, for the message that names them.
pub(crate) fn abandon(workdir: &Workdir) {
    if let Some(ready) = Ready::read(workdir) {
        ready.stop(workdir);
        drop(std::fs::remove_file(workdir.ready_file()));
    }
}

fn live(workdir: &Workdir) -> Result<Ready, StackError> {
    Ready::read(workdir)
        .filter(Ready::is_healthy)
        .ok_or_else(|| StackError::NotUp(workdir.path().to_path_buf()))
}

/// A key pair per stack, readable by its user only and never part of the repository.
fn make_keys(workdir: &Workdir) -> Result<KeyPair, StackError> {
    let failed = |error: loadtest::token::TokenError| StackError::Unreadable {
        what: "the token key pair",
        reason: error.to_string(),
    };
    let keys = KeyPair::generate().map_err(failed)?;
    let path = workdir.token_key();
    let mut file = std::fs::File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(StackError::io("create", &path))?;
    std::io::Write::write_all(&mut file, keys.to_pem().as_bytes()).map_err(StackError::io("write", &path))?;
    Ok(keys)
}

/// What the modules say of the stack, and what only this machine knows.
fn describe(mut stack: Value, ready: &Ready, workdir: &Workdir) -> Value {
    stack["endpoint"] = json!(ready.endpoint);
    stack["auth"]["private_key_path"] = json!(workdir.token_key());
    if let Some(faults) = stack["fault_injection"].as_object_mut() {
        faults.insert("at_once".to_owned(), json!(!workdir.fis_ramps()));
    }
    stack
}

fn say_how_to_try(stack: &Value, workdir: &Workdir) {
    let text = |key: &str| stack[key].as_str().unwrap_or_default().to_owned();
    println!("\n  HTTP API       {}", text("http_url"));
    println!("  WebSocket API  {}", text("websocket_url"));
    println!("  described in   {}", workdir.stack_file().display());
    match token(stack, workdir) {
        Ok(token) => println!(
            "\n  export TASKS_TOKEN={token}\n  curl -i {}/tasks -H \"authorization: Bearer $TASKS_TOKEN\" \
             -H 'content-type: application/json' -d '{{\"kind\":\"digest\",\"payload\":{{\"text\":\"hello\"}}}}'\n",
            text("http_url")
        ),
        Err(error) => eprintln!("  no token could be made: {error}"),
    }
}

fn token(stack: &Value, workdir: &Workdir) -> Result<String, Box<dyn std::error::Error>> {
    let pem = std::fs::read_to_string(workdir.token_key())?;
    let claim = |key: &str| stack["auth"][key].as_str().unwrap_or_default().to_owned();
    let minter = Minter::new(&pem, claim(TOKEN_ISSUER), claim(TOKEN_AUDIENCE))?;
    Ok(minter.token(PRINTED_OWNER, PRINTED_TOKEN_LIFE))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_down_that_is_interrupted_says_what_still_runs() {
        let root = tempfile::tempdir().unwrap();
        let workdir = Workdir::at(&root.path().join("stack")).unwrap();
        workdir.create().unwrap();
        // Like an emulator it has the name of its file in its command line.
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo up; read line", "sh"]).arg(workdir.ready_file());
        let mut emulator = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // Until it runs it has no command line.
        let up = BufReader::new(emulator.stdout.take().unwrap()).lines().next();
        assert_eq!(up.unwrap().unwrap(), "up");
        let ready = json!({"endpoint": "http://127.0.0.1:1", "pid": emulator.id()});
        std::fs::write(workdir.ready_file(), ready.to_string()).unwrap();
        let told = or_still_up(StackError::Interrupted, &workdir);
        emulator.kill().unwrap();
        emulator.wait().unwrap();
        assert_eq!(told.code(), 130);
        let told = told.to_string();
        assert!(told.contains(&format!("process {}", emulator.id())) && told.contains("make down"), "{told}");
        let told = or_still_up(StackError::Interrupted, &workdir);
        assert!(matches!(told, StackError::Interrupted), "{told}");
    }
}

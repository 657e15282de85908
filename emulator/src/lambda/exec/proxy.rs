//! What the AWS FIS extension does inside an environment.
//!
//! On AWS the extension is a layer whose wrapper script points the runtime at a proxy of the Runtime API. Here the layer's
//! part is played by a second listener and a generated wrapper: a process that does not run the wrapper that
//! `AWS_LAMBDA_EXEC_WRAPPER` names never reaches this listener and is never faulted, as on AWS.

use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rand::RngExt;
use serde_json::json;
use tokio::net::TcpListener;

use super::environment::{Ending, Environment, Job, Sandbox};
use super::host::{Host, Spec};
use crate::iam::{Ask, Context};
use crate::lambda::faults::{Fault, FaultKind, Invoked, applying};
use crate::lambda::model::FunctionConfig;

/// The newest that AWS has published.
pub(crate) const EXTENSION_VERSION: &str = "1.0.6";
/// Where the layer's wrapper lies on AWS.
const WRAPPER_ON_AWS: &str = "/opt/aws-fis/bootstrap";
const LAYER_NAME: &str = "aws-fis-extension";
const LOCATION: &str = "AWS_FIS_CONFIGURATION_LOCATION";
/// Where an ARN that names a version or an alias has it: `arn:aws:lambda:{region}:{account}:function:{name}:{qualifier}`.
const QUALIFIER_PART: usize = 7;

/// The second listener, and the wrapper that leads to it.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) listener: TcpListener,
    pub(crate) wrapper: PathBuf,
}

/// The layer is there and knows where its configuration lies (an S3 ARN, not an `s3://` URL).
pub(crate) fn is_attached(config: &FunctionConfig) -> bool {
    config.layers.iter().any(|arn| arn.contains(LAYER_NAME))
        && variable(config, LOCATION).is_some_and(|location| location.starts_with("arn:aws:s3:::"))
}

pub(super) fn variable<'a>(config: &'a FunctionConfig, name: &str) -> Option<&'a str> {
    config.environment.as_ref()?.get(name).map(String::as_str)
}

/// None for a function that is not wired.
pub(crate) async fn open(spec: &Spec, sandbox: &Sandbox) -> std::io::Result<Option<Proxy>> {
    let wrapped = variable(&spec.config, "AWS_LAMBDA_EXEC_WRAPPER") == Some(WRAPPER_ON_AWS);
    if !wrapped || !is_attached(&spec.config) {
        return Ok(None);
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?.to_string();
    let wrapper = sandbox.scratch.with_extension("wrapper");
    write_wrapper(&wrapper, &address)?;
    Ok(Some(Proxy { listener, wrapper }))
}

fn write_wrapper(path: &Path, address: &str) -> std::io::Result<()> {
    std::fs::write(
        path,
        format!("#!/bin/sh\nAWS_LAMBDA_RUNTIME_API={address}\nexport AWS_LAMBDA_RUNTIME_API\nexec \"$@\"\n"),
    )?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

/// Applies the active faults to one event. Break: this is its answer, the function must not see it.
pub(crate) async fn intercept(environment: &Environment, job: &Job) -> ControlFlow<Ending> {
    let spec = &environment.spec;
    let host = &spec.host;
    let known = known_faults(environment);
    let invoked = Invoked { qualifier: job.arn.split(':').nth(QUALIFIER_PART), version: &spec.version };
    let hit = applying(&known, invoked).into_iter().filter(|fault| falls_on(host, fault));
    let hit: Vec<&Fault> = hit.collect();
    for fault in &hit {
        if let FaultKind::Delay { delay_ms } = fault.kind {
            let message = format!("adding {delay_ms} milliseconds of latency to function invocation");
            environment.lines.extension(&message, Some(&job.request_id));
            injected(environment, fault);
            host.settings.clock.sleep_until(host.settings.clock.now_ms() + delay_ms).await;
        }
    }
    let deciding = hit.into_iter().find_map(|fault| Some((fault, decided(&fault.kind)?)));
    let Some((fault, (ending, prevent_execution))) = deciding else { return ControlFlow::Continue(()) };
    environment.lines.extension("modifying the function response", Some(&job.request_id));
    injected(environment, fault);
    if prevent_execution {
        return ControlFlow::Break(ending);
    }
    environment.replace(&job.request_id, ending);
    ControlFlow::Continue(())
}

/// What the extension of this environment knows of, after its poll if one is due.
fn known_faults(environment: &Environment) -> Vec<Fault> {
    let spec = &environment.spec;
    let now_ms = spec.host.settings.clock.now_ms();
    let find = || {
        let published = spec.host.faults.published(&spec.name, now_ms);
        if published.is_empty() || may_read_faults(spec) { published } else { Vec::new() }
    };
    environment.poll.known(now_ms, find, |any| note_change(environment, any))
}

/// The extension lists and reads the active faults in S3 in the name of the function's role. Where that is not allowed it
/// finds none, and the experiment completes without having had an effect, as on AWS.
pub(crate) fn may_read_faults(spec: &Spec) -> bool {
    let iam = &spec.host.settings.iam;
    if !iam.is_enforced() {
        return true;
    }
    let Some(location) = variable(&spec.config, LOCATION) else { return false };
    let (bucket, prefix) = location.split_once('/').unwrap_or((location, ""));
    let pairs = [("s3:prefix", prefix)];
    let context = Context::with(spec.host.settings.clock.now_ms(), &pairs);
    let object = format!("{location}{}", spec.name);
    let may = |action, resource| {
        iam.check_role(&spec.config.role, &spec.name, &Ask { action, resource, context }).is_ok()
    };
    may("s3:ListBucket", bucket) && may("s3:GetObject", &object)
}

/// The extension says so once when faults appear and once when they are gone.
fn note_change(environment: &Environment, any: bool) {
    environment.lines.extension(if any { "found active faults" } else { "no active faults found" }, None);
}

fn falls_on(host: &Host, fault: &Fault) -> bool {
    fault.percentage >= 100
        || host.settings.random.with(|random| random.random_range(0..100) < fault.percentage)
}

fn decided(kind: &FaultKind) -> Option<(Ending, bool)> {
    match kind {
        FaultKind::Delay { .. } => None,
        FaultKind::Error { prevent_execution } => {
            let body = json!({"errorMessage": "Fault injected by AWS FIS", "errorType": "FaultInjected"});
            Some((Ending::Error(Bytes::from(body.to_string())), *prevent_execution))
        }
        FaultKind::HttpResponse { prevent_execution, status_code, content_type } => {
            let body = json!({
                "statusCode": status_code, "headers": {"Content-Type": content_type}, "body": "", "isBase64Encoded": false,
            });
            Some((Ending::Response(Bytes::from(body.to_string())), *prevent_execution))
        }
    }
}

/// "AWS_FIS_EXTENSION_METRICS: all | none", none by default. The extension writes its metric into the function's log in the
/// Embedded Metric Format: a function that may not write its log has no metric either.
fn injected(environment: &Environment, fault: &Fault) {
    let spec = &environment.spec;
    if variable(&spec.config, "AWS_FIS_EXTENSION_METRICS") != Some("all") {
        return;
    }
    let line = json!({
        "_aws": {
            "Timestamp": spec.host.settings.clock.now_ms(),
            "CloudWatchMetrics": [{
                "Namespace": LAYER_NAME,
                "Dimensions": [["FaultId", "Invocation"]],
                "Metrics": [{"Name": "FaultInjected", "Unit": "Count"}],
            }],
        },
        "FaultId": fault.action_id,
        "Invocation": spec.name,
        "FaultInjected": 1,
    });
    environment.lines.put(&format!("{line}\n"));
}

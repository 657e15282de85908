//! Which calls are kept and made again: all that change what Terraform and the SDKs configure.
//!
//! Messages and items have stores of their own. What only runs (invocations, experiments, metrics, log events) is not kept.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::cloudwatch;
use crate::iam::{form_value, is_form};
use crate::lambda::segments;
use crate::wire::AwsRequest;

/// Of the services that name their operation: what is kept.
const NAMED: &[(&str, &[&str])] = &[
    (
        "sqs",
        &[
            "CreateQueue",
            "DeleteQueue",
            "SetQueueAttributes",
            "TagQueue",
            "UntagQueue",
            "AddPermission",
            "RemovePermission",
        ],
    ),
    (
        "monitoring",
        &[
            "PutMetricAlarm",
            "PutCompositeAlarm",
            "DeleteAlarms",
            "EnableAlarmActions",
            "DisableAlarmActions",
            "PutDashboard",
            "DeleteDashboards",
            "TagResource",
            "UntagResource",
        ],
    ),
    (
        "logs",
        &[
            "CreateLogGroup",
            "DeleteLogGroup",
            "PutRetentionPolicy",
            "DeleteRetentionPolicy",
            "PutLogGroupDeletionProtection",
            "AssociateKmsKey",
            "DisassociateKmsKey",
            "TagResource",
            "UntagResource",
            "TagLogGroup",
            "UntagLogGroup",
            "PutMetricFilter",
            "DeleteMetricFilter",
        ],
    ),
    (
        "ssm",
        &[
            "PutParameter",
            "DeleteParameter",
            "DeleteParameters",
            "LabelParameterVersion",
            "UnlabelParameterVersion",
            "AddTagsToResource",
            "RemoveTagsFromResource",
        ],
    ),
];

/// Operations of IAM that only read.
const IAM_READS: &[&str] = &["Get", "List", "Simulate", "Generate"];

/// Things of IAM that the engine names anew each time, so that no later call about one could be made again.
const IAM_NAMED_BY_THE_ENGINE: &[&str] =
    &["SSHPublicKey", "ServiceSpecificCredential", "SigningCertificate", "MFADevice"];

/// The services whose method tells.
const BY_METHOD: &[&str] = &["lambda", "apigateway", "scheduler", "fis", "s3"];

/// Whether a restart must know of this call.
#[must_use]
pub fn is_kept(request: &AwsRequest) -> bool {
    let service = request.service.as_str();
    if service == "iam" {
        return operation(request).is_some_and(|name| {
            !IAM_READS.iter().any(|read| name.starts_with(read))
                && !IAM_NAMED_BY_THE_ENGINE.iter().any(|thing| name.contains(thing))
        });
    }
    if let Some((_, kept)) = NAMED.iter().find(|(name, _)| *name == service) {
        return operation(request).is_some_and(|name| kept.contains(&&*name));
    }
    BY_METHOD.contains(&service) && changes(request)
}

fn changes(request: &AwsRequest) -> bool {
    if matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    let path = request.path.as_str();
    match request.service.as_str() {
        "lambda" => configures_functions(request),
        // An experiment ends with its process.
        "fis" => {
            let of_experiment =
                percent_decode_str(path).decode_utf8().is_ok_and(|path| path.contains(":experiment/"));
            let parts = ["/experimentTemplates", "/safetyLevers", "/tags"];
            parts.iter().any(|part| path.starts_with(part)) && !of_experiment
        }
        "s3" => !is_part_of_upload(request),
        _ => true,
    }
}

/// By the segments that Lambda itself goes by: an invocation in another spelling would run again at every start.
fn configures_functions(request: &AwsRequest) -> bool {
    let segments = segments(&request.path);
    let [_, functions, _, operation] = segments.as_slice() else { return true };
    match operation.as_str() {
        "invocations" | "invoke-async" | "response-streaming-invocations" => functions != "functions",
        "code" => !is_dry_run(&request.body),
        _ => true,
    }
}

fn is_dry_run(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Input {
        #[serde(default, rename = "DryRun")]
        dry_run: bool,
    }
    serde_json::from_slice(body).is_ok_and(|Input { dry_run }| dry_run)
}

/// The engine names each upload anew. What is kept is the whole object, once it is complete ([`is_complete_upload`]).
fn is_part_of_upload(request: &AwsRequest) -> bool {
    let begins = request.query.split('&').any(|word| matches!(word, "uploads" | "uploads="));
    begins || (names_upload(request) && request.method != Method::POST)
}

/// An object that was uploaded in parts is one from now on.
#[must_use]
pub(super) fn is_complete_upload(request: &AwsRequest) -> bool {
    request.service == "s3" && request.method == Method::POST && names_upload(request)
}

fn names_upload(request: &AwsRequest) -> bool {
    request.query.split('&').any(|word| word.starts_with("uploadId="))
}

/// The operation, where the protocol names it: in a header, or in the form. CloudWatch, which has three, says itself.
#[must_use]
pub fn operation(request: &AwsRequest) -> Option<String> {
    let service = request.service.as_str();
    if service == "monitoring" {
        return cloudwatch::operation(request);
    }
    // Their bodies are no forms, and may be large.
    if BY_METHOD.contains(&service) {
        return None;
    }
    match request.header("x-amz-target").filter(|_| !is_form(request)) {
        Some(target) => target.rsplit('.').next().map(str::to_owned),
        None => form_value(request, "Action"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(service: &str, operation: &str) -> AwsRequest {
        target_of(service, &format!("Any.{operation}"))
    }

    fn target_of(service: &str, target: &str) -> AwsRequest {
        let mut request = AwsRequest::unsigned(service, Method::POST, "/", "{}");
        request.headers.insert("x-amz-target", target.parse().unwrap());
        request
    }

    /// A call that names one operation in its path and another in its header: the service goes by the path.
    fn two_operations(by_path: &str, by_header: &str) -> AwsRequest {
        let mut request = cloudwatch::cbor_call(by_path, &serde_json::json!({}));
        let target = format!("GraniteServiceVersion20100801.{by_header}");
        request.headers.insert("x-amz-target", target.parse().unwrap());
        request
    }

    /// A form in the URL and in the body, which a header calls by another name.
    fn form(service: &str, query: &str, body: &str, target: Option<&'static str>) -> AwsRequest {
        let mut request = AwsRequest::unsigned(service, Method::POST, "/", body);
        query.clone_into(&mut request.query);
        if let Some(target) = target {
            request.headers.insert("x-amz-target", http::HeaderValue::from_static(target));
        }
        request
    }

    fn upload(method: Method, query: &str) -> AwsRequest {
        AwsRequest { query: query.to_owned(), ..AwsRequest::unsigned("s3", method, "/bucket/key", "") }
    }

    #[test]
    fn what_configures_is_kept_whatever_its_protocol() {
        let kept = [
            target("sqs", "CreateQueue"),
            AwsRequest::unsigned("sqs", Method::POST, "/", "Version=2012-11-05&Action=SetQueueAttributes"),
            AwsRequest::unsigned("iam", Method::POST, "/", "Action=CreateRole&Version=2010-05-08"),
            form("iam", "", "%41ction=CreateUser&UserName=u", None),
            form("iam", "Action=CreateAccessKey&UserName=u", "", None),
            form("iam", "", "Action=CreateUser&UserName=u", Some("Any.GetUser")),
            form("iam", "", "Action=GetUser&Action=Create%55ser", None),
            form("sqs", "", "%41ction=CreateQueue&QueueName=q", None),
            cloudwatch::cbor_call("PutMetricAlarm", &serde_json::json!({})),
            target_of("monitoring", "GraniteServiceVersion20100801.PutMetricAlarm"),
            AwsRequest::unsigned("monitoring", Method::POST, "/", "Action=PutMetricAlarm&AlarmName=a"),
            two_operations("PutMetricAlarm", "GetMetricData"),
            target("logs", "PutRetentionPolicy"),
            target("logs", "PutLogGroupDeletionProtection"),
            target("logs", "PutMetricFilter"),
            target("logs", "AssociateKmsKey"),
            target("logs", "DisassociateKmsKey"),
            target("ssm", "LabelParameterVersion"),
            target("ssm", "UnlabelParameterVersion"),
            AwsRequest::unsigned("lambda", Method::POST, "/2015-03-31/functions", ""),
            AwsRequest::unsigned("lambda", Method::PUT, "/2017-10-31/functions/f/concurrency", ""),
            AwsRequest::unsigned("lambda", Method::DELETE, "/2015-03-31/functions/invocations", ""),
            AwsRequest::unsigned("lambda", Method::PUT, "/2015-03-31/functions/f/code", "{}"),
            AwsRequest::unsigned("apigateway", Method::PATCH, "/v2/apis/abc", ""),
            AwsRequest::unsigned("fis", Method::POST, "/experimentTemplates", ""),
            AwsRequest::unsigned("s3", Method::PUT, "/bucket/key", ""),
            AwsRequest::unsigned("scheduler", Method::POST, "/schedules/s", ""),
            AwsRequest::unsigned("fis", Method::PATCH, "/safetyLevers/default/state", ""),
            upload(Method::POST, "uploadId=u"),
        ];
        for request in kept {
            assert!(is_kept(&request), "{request:?}");
        }
    }

    #[test]
    fn what_reads_or_only_runs_is_not() {
        let not_kept = [
            target("sqs", "SendMessage"),
            target("sqs", "GetQueueAttributes"),
            AwsRequest::unsigned("iam", Method::POST, "/", "Action=GetRole&Version=2010-05-08"),
            form("iam", "", "Action=GetUser&UserName=u", Some("Any.CreateUser")),
            form("iam", "Action=CreateUser", "%41ction=GetUser&UserName=u", None),
            AwsRequest::unsigned("sts", Method::POST, "/", "Action=AssumeRole"),
            target("logs", "PutLogEvents"),
            target("logs", "TestMetricFilter"),
            two_operations("GetMetricData", "PutMetricAlarm"),
            cloudwatch::cbor_call("PutMetricData", &serde_json::json!({})),
            target_of("monitoring", "GraniteServiceVersion20100801.PutMetricData"),
            AwsRequest::unsigned("lambda", Method::POST, "/2015-03-31/functions/f/invocations", ""),
            AwsRequest::unsigned("lambda", Method::GET, "/2015-03-31/functions/f", ""),
            AwsRequest::unsigned("fis", Method::POST, "/experiments", ""),
            target("dynamodb", "CreateTable"),
            AwsRequest::unsigned("iam", Method::POST, "/", "Action=UploadSSHPublicKey&Version=2010-05-08"),
            AwsRequest::unsigned("fis", Method::POST, "/tags/arn%3Aaws%3Afis%3Ar%3A1%3Aexperiment%2FEXP", ""),
            AwsRequest::unsigned("lambda", Method::PUT, "/2015-03-31/functions/f/code", r#"{"DryRun":true}"#),
            upload(Method::POST, "uploads"),
            upload(Method::PUT, "partNumber=1&uploadId=u"),
            upload(Method::DELETE, "uploadId=u"),
        ];
        for request in not_kept {
            assert!(!is_kept(&request), "{request:?}");
        }
    }

    #[test]
    fn an_invocation_is_one_however_its_path_is_written() {
        for path in [
            "/2015-03-31/functions/f/invocations/",
            "//2015-03-31/functions/f/invocations",
            "/2015-03-31/functions/f/%69nvocations",
            "/2014-11-13/functions/f/invoke-async/",
            "/2021-11-15/functions/f/response-streaming-invocations/",
        ] {
            assert!(!is_kept(&AwsRequest::unsigned("lambda", Method::POST, path, "{}")), "{path}");
        }
        let dry = AwsRequest::unsigned(
            "lambda",
            Method::PUT,
            "/2015-03-31/functions/f/code/",
            r#"{"DryRun":true}"#,
        );
        assert!(!is_kept(&dry));
    }
}

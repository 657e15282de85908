//! What is in an account, by asking each service for a list: after a destroy there must be nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use loadtest::loopback::client_for;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use crate::calls;
use crate::error::StackError;

const LIMIT: Duration = Duration::from_secs(10);
const WHAT: &str = "what is in the account";

/// One kind of resource.
struct Kind {
    name: &'static str,
    /// The name that a call of its service is signed for.
    service: &'static str,
    list: List,
    entry: Entry,
}

/// The call that lists all of a kind.
enum List {
    Path(&'static str),
    Target(&'static str),
    Form(&'static str),
}

/// What an answer has where there is one of the kind.
enum Entry {
    /// An array that is not empty.
    Json(&'static str),
    Xml(&'static str),
}

const fn kind(name: &'static str, service: &'static str, list: List, entry: Entry) -> Kind {
    Kind { name, service, list, entry }
}

/// Nothing is invoked, so that no function makes a log group of its own.
const KINDS: [Kind; 15] = [
    kind("functions", "lambda", List::Path("/2015-03-31/functions"), Entry::Json("Functions")),
    kind(
        "event source mappings",
        "lambda",
        List::Path("/2015-03-31/event-source-mappings"),
        Entry::Json("EventSourceMappings"),
    ),
    kind("queues", "sqs", List::Target("AmazonSQS.ListQueues"), Entry::Json("QueueUrls")),
    kind("tables", "dynamodb", List::Target("DynamoDB_20120810.ListTables"), Entry::Json("TableNames")),
    kind("APIs", "apigateway", List::Path("/v2/apis"), Entry::Json("items")),
    kind(
        "alarms",
        "monitoring",
        List::Target("GraniteServiceVersion20100801.DescribeAlarms"),
        Entry::Json("MetricAlarms"),
    ),
    kind(
        "dashboards",
        "monitoring",
        List::Target("GraniteServiceVersion20100801.ListDashboards"),
        Entry::Json("DashboardEntries"),
    ),
    kind("log groups", "logs", List::Target("Logs_20140328.DescribeLogGroups"), Entry::Json("logGroups")),
    kind(
        "metric filters",
        "logs",
        List::Target("Logs_20140328.DescribeMetricFilters"),
        Entry::Json("metricFilters"),
    ),
    kind("schedules", "scheduler", List::Path("/schedules"), Entry::Json("Schedules")),
    kind(
        "experiment templates",
        "fis",
        List::Path("/experimentTemplates"),
        Entry::Json("experimentTemplates"),
    ),
    kind("parameters", "ssm", List::Target("AmazonSSM.DescribeParameters"), Entry::Json("Parameters")),
    kind("roles", "iam", List::Form("Action=ListRoles&Version=2010-05-08"), Entry::Xml("<RoleName>")),
    kind(
        "policies",
        "iam",
        List::Form("Action=ListPolicies&Version=2010-05-08&Scope=Local"),
        Entry::Xml("<PolicyName>"),
    ),
    kind("buckets", "s3", List::Path("/"), Entry::Xml("<Bucket>")),
];

/// The kinds of which there is at least one.
pub(super) fn found(endpoint: &str) -> Result<BTreeSet<&'static str>, StackError> {
    calls::runtime(WHAT)?.block_on(look(endpoint)).map_err(StackError::unreadable(WHAT))
}

/// A list that never showed anything would find nothing left whatever there is.
pub(super) fn check_all_seen(seen: &BTreeSet<&'static str>) -> Result<(), StackError> {
    let unseen: Vec<&str> = KINDS.iter().map(|kind| kind.name).filter(|name| !seen.contains(name)).collect();
    if unseen.is_empty() {
        return Ok(());
    }
    let reason = format!("before the destroy no list showed {}", unseen.join(", "));
    Err(StackError::Unreadable { what: WHAT, reason })
}

async fn look(endpoint: &str) -> Result<BTreeSet<&'static str>, String> {
    let client = client_for(endpoint).timeout(LIMIT).build().map_err(|error| error.to_string())?;
    let mut found = BTreeSet::new();
    for kind in &KINDS {
        if kind.is_there(&client, endpoint).await? {
            found.insert(kind.name);
        }
    }
    Ok(found)
}

impl Kind {
    async fn is_there(&self, client: &Client, endpoint: &str) -> Result<bool, String> {
        let failed = |reason: String| format!("{}: {reason}", self.name);
        // The emulator checks no signature; it reads from it which service is meant.
        let credential =
            format!("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{}/aws4_request", self.service);
        let request = self.list.request(client, endpoint).header("authorization", credential);
        let answer = request.send().await.map_err(|error| failed(error.to_string()))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| failed(error.to_string()))?;
        if !status.is_success() {
            return Err(failed(format!("{status} {text}")));
        }
        Ok(self.entry.is_in(&text))
    }
}

impl List {
    fn request(&self, client: &Client, endpoint: &str) -> RequestBuilder {
        match self {
            Self::Path(path) => client.get(format!("{endpoint}{path}")),
            Self::Target(target) => client.post(endpoint).header("x-amz-target", *target).body("{}"),
            Self::Form(form) => {
                client.post(endpoint).header("content-type", "application/x-www-form-urlencoded").body(*form)
            }
        }
    }
}

impl Entry {
    fn is_in(&self, answer: &str) -> bool {
        match self {
            Self::Json(member) => serde_json::from_str::<Value>(answer)
                .is_ok_and(|answer| answer[*member].as_array().is_some_and(|entries| !entries.is_empty())),
            Self::Xml(tag) => answer.contains(tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_seen_in_either_form() {
        let json = Entry::Json("TableNames");
        assert!(json.is_in(r#"{"TableNames":["a"]}"#));
        assert!(!json.is_in(r#"{"TableNames":[]}"#) && !json.is_in("{}") && !json.is_in("<"));
        let xml = Entry::Xml("<Bucket>");
        assert!(xml.is_in("<Buckets><Bucket><Name>a</Name></Bucket></Buckets>"));
        assert!(!xml.is_in("<Buckets></Buckets>"));
    }

    #[test]
    fn a_list_that_showed_nothing_is_not_believed() {
        let all: BTreeSet<&'static str> = KINDS.iter().map(|kind| kind.name).collect();
        assert!(check_all_seen(&all).is_ok());
        let most = all.into_iter().filter(|name| *name != "roles").collect();
        assert!(check_all_seen(&most).unwrap_err().to_string().contains("roles"));
    }
}

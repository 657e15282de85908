//! Services whose first protocol was the query protocol: CloudWatch, IAM, STS.

use serde_json::Value;

use super::{Need, Place, form_value};
use crate::cloudwatch;
use crate::wire::AwsRequest;

/// Metrics have no resources; alarms are not told apart by name here, but for their tags, so their policies must allow `*` of
/// them. Composite alarms are made and shown only to who may do it anywhere: "You can't create a composite alarm if your
/// cloudwatch:PutCompositeAlarm permission has a narrower scope."
pub(super) fn cloudwatch(request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let Some(operation) = cloudwatch::operation(request) else { return Vec::new() };
    let action = format!("cloudwatch:{operation}");
    let resource = match operation.as_str() {
        "PutCompositeAlarm" => "*".to_owned(),
        "DescribeAlarms" | "DescribeAlarmHistory" if cloudwatch::may_show_composite_alarms(request) => {
            "*".to_owned()
        }
        "DescribeAlarms"
        | "DescribeAlarmHistory"
        | "PutMetricAlarm"
        | "DeleteAlarms"
        | "SetAlarmState"
        | "EnableAlarmActions"
        | "DisableAlarmActions" => place.arn("cloudwatch", "alarm:*"),
        "PutDashboard" | "GetDashboard" | "DeleteDashboards" => {
            return of_dashboards(&action, &cloudwatch::input(request), place);
        }
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            cloudwatch::input(request)["ResourceARN"].as_str().unwrap_or("*").to_owned()
        }
        _ => "*".to_owned(),
    };
    vec![Need::new(action, resource)]
}

/// Whichever member the operation reads. A call that names no dashboard must not pass for one that needs nothing.
fn of_dashboards(action: &str, input: &Value, place: Place<'_>) -> Vec<Need> {
    let need = |name: &str| {
        let arn = format!("arn:aws:cloudwatch::{}:dashboard/{name}", place.account_id);
        Need::new(action.to_owned(), arn)
    };
    let single = input["DashboardName"].as_str();
    let many = input["DashboardNames"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let needs: Vec<Need> = single.into_iter().chain(many).map(need).collect();
    if needs.is_empty() { vec![need("*")] } else { needs }
}

/// What IAM has by name.
struct Kind {
    /// By which the names of operations tell it.
    word: &'static str,
    /// What one has, and operations name instead.
    parts: &'static [&'static str],
    /// In ARNs.
    kind: &'static str,
    member: &'static str,
}

/// In the order in which the name of an operation tells: AddRoleToInstanceProfile is about the profile, AddUserToGroup about
/// the group.
const KINDS: [Kind; 4] = [
    Kind { word: "InstanceProfile", parts: &[], kind: "instance-profile", member: "InstanceProfileName" },
    Kind { word: "Group", parts: &[], kind: "group", member: "GroupName" },
    Kind { word: "Role", parts: &[], kind: "role", member: "RoleName" },
    Kind {
        word: "User",
        parts: &[
            "AccessKey",
            "LoginProfile",
            "MFADevice",
            "SSHPublicKey",
            "ServiceSpecificCredential",
            "SigningCertificate",
        ],
        kind: "user",
        member: "UserName",
    },
];

/// Operations that are called like those about one thing and read no member that names it.
const ABOUT_NOTHING_NAMED: [&str; 20] = [
    "ListInstanceProfiles",
    "ListGroups",
    "ListRoles",
    "ListUsers",
    "CreateServiceLinkedRole",
    "GetServiceLinkedRoleDeletionStatus",
    "GetAccessKeyLastUsed",
    "CreateVirtualMFADevice",
    "DeleteVirtualMFADevice",
    "ListVirtualMFADevices",
    "TagMFADevice",
    "UntagMFADevice",
    "ListMFADeviceTags",
    "GetAccountPasswordPolicy",
    "UpdateAccountPasswordPolicy",
    "DeleteAccountPasswordPolicy",
    "SimulateCustomPolicy",
    "SimulatePrincipalPolicy",
    "GetContextKeysForCustomPolicy",
    "GetContextKeysForPrincipalPolicy",
];

pub(super) fn iam(request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let Some(action) = form_value(request, "Action") else { return Vec::new() };
    let resource = iam_resource(request, &action, place);
    vec![Need::new(format!("iam:{action}"), resource.unwrap_or_else(|| "*".to_owned()))]
}

/// By the member that the operation reads: one that it does not read must not decide what it is judged on.
fn iam_resource(request: &AwsRequest, action: &str, place: Place<'_>) -> Option<String> {
    if ABOUT_NOTHING_NAMED.contains(&action) {
        return None;
    }
    let named = |word: &str, kind: &str, member: &str| {
        let name = form_value(request, member)?;
        // What is made gets this path; that of what is there, no call names.
        let path = form_value(request, "Path").filter(|_| action.strip_prefix("Create") == Some(word));
        let path = path.as_deref().unwrap_or("/");
        Some(format!("arn:aws:iam::{}:{kind}{path}{name}", place.account_id))
    };
    // ListGroupsForUser is about the user.
    let about = action.rsplit_once("For").map_or(action, |(_, about)| about);
    let is_about =
        |kind: &&Kind| about.contains(kind.word) || kind.parts.iter().any(|part| about.contains(part));
    if let Some(kind) = KINDS.iter().find(is_about) {
        return named(kind.word, kind.kind, kind.member);
    }
    match action {
        "CreatePolicy" => named("Policy", "policy", "PolicyName"),
        _ if about.contains("Policy") => form_value(request, "PolicyArn"),
        _ => None,
    }
}

/// "No permissions are required to perform" GetCallerIdentity, and "No permissions are required for a user to get a session token".
pub(super) const FREE: [&str; 2] = ["GetCallerIdentity", "GetSessionToken"];

pub(super) fn sts(request: &AwsRequest) -> Vec<Need> {
    match form_value(request, "Action").as_deref() {
        None => Vec::new(),
        Some(action) if FREE.contains(&action) => Vec::new(),
        Some(action) => {
            let role = form_value(request, "RoleArn").unwrap_or_else(|| "*".to_owned());
            let keys = [("sts:rolesessionname", "RoleSessionName"), ("sts:externalid", "ExternalId")];
            let keys = keys.into_iter().filter_map(|(key, name)| Some((key, form_value(request, name)?)));
            vec![Need { context: keys.collect(), ..Need::new(format!("sts:{action}"), role) }]
        }
    }
}

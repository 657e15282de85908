//! What the role of an experiment must allow. FIS does everything in its name.

use super::Fis;
use super::experiment::{Failure, Resolved};
use super::template::Template;
use crate::iam::{Ask, Context};

const SERVICE: &str = "fis.amazonaws.com";
/// How FIS names its session of the role.
const SESSION: &str = "FISExperiment";

/// The role must trust FIS, for this experiment of this account, and let it look at the alarms that may stop it.
///
/// # Errors
/// `AuthorizationFailure`.
pub(crate) fn check_start(fis: &Fis, template: &Template, experiment: &str) -> Result<(), Failure> {
    let settings = &fis.inner.settings;
    let arn = format!("arn:aws:fis:{}:{}:experiment/{experiment}", settings.region, settings.account_id);
    let pairs = [("aws:sourceaccount", &*settings.account_id), ("aws:sourcearn", arn.as_str())];
    let context = Context::with(fis.now_ms(), &pairs);
    if !settings.iam.may_assume(&template.role_arn, SERVICE, context) {
        let reason = format!("FIS is not authorized to assume the role {}.", template.role_arn);
        return Err(failure("", reason));
    }
    if template.stop_conditions.iter().any(|condition| condition.value.is_some()) {
        check_alarms(fis, template, "")?;
    }
    Ok(())
}

/// "s3:PutObject, s3:DeleteObject" of where the function reads its faults, and "lambda:GetFunction" of the function.
///
/// # Errors
/// `AuthorizationFailure`.
pub(crate) fn check_fault(
    fis: &Fis,
    template: &Template,
    action: &str,
    function: &Resolved,
    location: &str,
) -> Result<(), Failure> {
    let object = format!("{location}{}", function.name);
    check(fis, &template.role_arn, action, "lambda:GetFunction", &function.arn)?;
    check(fis, &template.role_arn, action, "s3:PutObject", &object)?;
    check(fis, &template.role_arn, action, "s3:DeleteObject", &object)
}

/// # Errors
/// `AuthorizationFailure`.
pub(crate) fn check_alarms(fis: &Fis, template: &Template, location: &str) -> Result<(), Failure> {
    let settings = &fis.inner.settings;
    let alarms = format!("arn:aws:cloudwatch:{}:{}:alarm:*", settings.region, settings.account_id);
    check(fis, &template.role_arn, location, "cloudwatch:DescribeAlarms", &alarms)
}

/// # Errors
/// `AuthorizationFailure`, with AWS's words for the denial.
pub(crate) fn check(
    fis: &Fis,
    role_arn: &str,
    location: &str,
    action: &str,
    resource: &str,
) -> Result<(), Failure> {
    let ask = Ask { action, resource, context: Context::at(fis.now_ms()) };
    let checked = fis.inner.settings.iam.check_role(role_arn, SESSION, &ask);
    checked.map_err(|denied| failure(location, denied.to_string()))
}

fn failure(location: &str, reason: String) -> Failure {
    Failure { code: "AuthorizationFailure", location: location.to_owned(), reason }
}

//! What alarms do when they enter a state: they invoke functions. All other actions are executed and do nothing.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::history::{AlarmKind, History, Item, Outcome};
use super::reason::iso;
use crate::cloudwatch::failure::Failure;
use crate::cloudwatch::protocol::drop_absent;
use crate::lambda::Lambda;
use crate::repeatable;
use crate::settings::Settings;

const SERVICE: &str = "lambda.alarms.cloudwatch.amazonaws.com";
const PARTITION: &str = "aws";
/// Whose response plans are of no Region: `arn:aws:ssm-incidents::123456789012:responseplan/name`.
const WITHOUT_REGION: &str = "ssm-incidents";

/// What AWS says of a function whose policy does not let alarms in.
const NOT_AUTHORIZED: &str = "CloudWatch Alarms is not authorized to perform: lambda:InvokeFunction on the resource because \
                              no resource-based policy allows the lambda:InvokeFunction action";

/// What alarms invoke: Lambda, or a stand-in of a test.
pub trait Functions: Send + Sync + 'static {
    /// An asynchronous invocation for an alarm, by the policy of the function itself: taken is delivered.
    ///
    /// # Errors
    /// Why the event is not taken.
    fn invoke(&self, function_arn: &str, alarm_arn: &str, payload: Bytes) -> Result<(), String>;
}

impl Functions for Lambda {
    fn invoke(&self, function_arn: &str, alarm_arn: &str, payload: Bytes) -> Result<(), String> {
        self.invoke_event_by_policy(function_arn, SERVICE, alarm_arn, payload).map_err(|(code, message)| {
            let is_denied = code == "AccessDeniedException";
            if is_denied { NOT_AUTHORIZED.to_owned() } else { message }
        })
    }
}

/// None before the functions of the account are known.
#[derive(Clone, Default)]
pub(super) struct Invoker(pub(super) Option<Arc<dyn Functions>>);

impl fmt::Debug for Invoker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invoker").field("is_set", &self.0.is_some()).finish()
    }
}

/// Which alarm acts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Actor<'a> {
    pub(super) kind: AlarmKind,
    pub(super) name: &'a str,
    pub(super) arn: &'a str,
}

/// Where alarms change: what they reach, and who remembers.
pub(super) struct Scene<'a> {
    pub(super) settings: &'a Settings,
    pub(super) invoker: &'a Invoker,
    pub(super) history: &'a mut History,
}

impl Scene<'_> {
    /// `data` is of the event: the states and the configuration. Calls that are made again have had their actions.
    pub(super) fn act(&mut self, actor: Actor<'_>, actions: &[String], at_ms: i64, data: &Value) {
        if repeatable::is_repeated() {
            return;
        }
        for action in actions {
            let outcome = self.execute(actor, action, at_ms, data);
            self.history.push(Item::action(actor.kind, actor.name, at_ms, action, &outcome));
        }
    }

    pub(super) fn suppress(&mut self, actor: Actor<'_>, actions: &[String], at_ms: i64) {
        for action in actions {
            self.history.push(Item::action(actor.kind, actor.name, at_ms, action, &Outcome::Suppressed));
        }
    }

    fn execute(&self, actor: Actor<'_>, action: &str, at_ms: i64, data: &Value) -> Outcome {
        let Some(functions) = self.invoker.0.as_ref().filter(|_| is_function(action)) else {
            return Outcome::Succeeded;
        };
        if !self.is_here(action) {
            return Outcome::Failed(format!("Function not found: {action}"));
        }
        let event = self.event(actor, at_ms, data);
        match functions.invoke(action, actor.arn, Bytes::from(event.to_string())) {
            Ok(()) => Outcome::Succeeded,
            Err(message) => {
                tracing::warn!(
                    alarm.arn = actor.arn,
                    action,
                    message,
                    "an alarm could not invoke a function"
                );
                Outcome::Failed(message)
            }
        }
    }

    fn is_here(&self, function_arn: &str) -> bool {
        let mut place = function_arn.split(':').skip(3);
        place.next() == Some(&*self.settings.region) && place.next() == Some(&*self.settings.account_id)
    }

    fn event(&self, actor: Actor<'_>, at_ms: i64, data: &Value) -> Value {
        let mut data = data.clone();
        drop_absent(&mut data);
        if let Some(members) = data.as_object_mut() {
            members.insert("alarmName".to_owned(), json!(actor.name));
        }
        json!({
            "source": "aws.cloudwatch", "alarmArn": actor.arn, "accountId": &*self.settings.account_id,
            "time": iso(at_ms), "region": &*self.settings.region, "alarmData": data,
        })
    }
}

/// An alarm acts in its own partition and Region alone.
pub(super) fn check_action(action: &str, region: &str) -> Result<(), Failure> {
    let parts: Vec<&str> = action.splitn(6, ':').collect();
    let (partition, service, of_region) = match parts.as_slice() {
        ["arn", partition, service, of_region, _, resource] if !resource.is_empty() => {
            (*partition, *service, *of_region)
        }
        _ => return Err(Failure::validation(format!("Invalid arn syntax: {action}"))),
    };
    let refuse = |what: &str, given: &str, supported: &str| {
        Err(Failure::validation(format!("Invalid {what} {given} specified. Only {supported} is supported.")))
    };
    if partition != PARTITION {
        return refuse("partition", partition, PARTITION);
    }
    let has_none = service == WITHOUT_REGION && of_region.is_empty();
    if of_region == region || has_none { Ok(()) } else { refuse("region", of_region, region) }
}

fn is_function(action: &str) -> bool {
    let mut parts = action.split(':');
    parts.next() == Some("arn") && parts.nth(1) == Some("lambda")
}

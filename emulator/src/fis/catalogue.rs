//! The actions that this stack can use, with the parameters that AWS documents.

use serde_json::{Value, json};

/// One documented parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) form: Form,
}

/// What the string must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Duration,
    Number {
        low: i64,
        high: i64,
    },
    Bool,
    Text,
    /// ARNs, separated by commas.
    Alarms,
    /// States, separated by commas.
    AlarmStates,
    /// `ec2` and `kinesis` only: anything else is rejected in AWS's words.
    InjectableService,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Action {
    pub(crate) id: &'static str,
    pub(crate) description: &'static str,
    /// Target key and resource type.
    pub(crate) target: Option<(&'static str, &'static str)>,
    pub(crate) parameters: &'static [Parameter],
}

const fn required(name: &'static str, form: Form) -> Parameter {
    Parameter { name, required: true, form }
}

const fn optional(name: &'static str, form: Form) -> Parameter {
    Parameter { name, required: false, form }
}

/// AWS: the most alarms in one assertion.
const ALARMS_MAX: usize = 5;
const ALARM_STATES: [&str; 3] = ["OK", "ALARM", "INSUFFICIENT_DATA"];

const PERCENT: Form = Form::Number { low: 1, high: 100 };
const FUNCTIONS: Option<(&str, &str)> = Some(("Functions", "aws:lambda:function"));
const ROLES: Option<(&str, &str)> = Some(("Roles", "aws:iam:role"));
const API_FAULT: &[Parameter] = &[
    required("duration", Form::Duration),
    required("service", Form::InjectableService),
    required("percentage", PERCENT),
    required("operations", Form::Text),
];

pub(crate) const DELAY: &str = "aws:lambda:invocation-add-delay";
pub(crate) const ERROR: &str = "aws:lambda:invocation-error";
pub(crate) const HTTP_RESPONSE: &str = "aws:lambda:invocation-http-integration-response";
pub(crate) const WAIT: &str = "aws:fis:wait";
pub(crate) const ASSERT_ALARM: &str = "aws:cloudwatch:assert-alarm-state";

pub(crate) const ACTIONS: &[Action] = &[
    Action {
        id: ASSERT_ALARM,
        description: "Asserts that the CloudWatch alarms are in the expected states.",
        target: None,
        parameters: &[required("alarmArns", Form::Alarms), required("alarmStates", Form::AlarmStates)],
    },
    Action {
        id: "aws:fis:inject-api-internal-error",
        description: "Injects internal errors into API requests of the target role.",
        target: ROLES,
        parameters: API_FAULT,
    },
    Action {
        id: "aws:fis:inject-api-throttle-error",
        description: "Injects throttling errors into API requests of the target role.",
        target: ROLES,
        parameters: API_FAULT,
    },
    Action {
        id: "aws:fis:inject-api-unavailable-error",
        description: "Injects unavailable errors into API requests of the target role.",
        target: ROLES,
        parameters: API_FAULT,
    },
    Action {
        id: WAIT,
        description: "Waits for the given duration.",
        target: None,
        parameters: &[required("duration", Form::Duration)],
    },
    Action {
        id: DELAY,
        description: "Adds a delay to the start of the function.",
        target: FUNCTIONS,
        parameters: &[
            required("duration", Form::Duration),
            optional("invocationPercentage", PERCENT),
            optional("startupDelayMilliseconds", Form::Number { low: 0, high: 900_000 }),
        ],
    },
    Action {
        id: ERROR,
        description: "Marks invocations of the function as failed.",
        target: FUNCTIONS,
        parameters: &[
            required("duration", Form::Duration),
            optional("invocationPercentage", PERCENT),
            required("preventExecution", Form::Bool),
        ],
    },
    Action {
        id: HTTP_RESPONSE,
        description: "Replaces the function's answer with an HTTP integration response.",
        target: FUNCTIONS,
        parameters: &[
            required("duration", Form::Duration),
            required("contentTypeHeader", Form::Text),
            optional("invocationPercentage", PERCENT),
            required("preventExecution", Form::Bool),
            required("statusCode", Form::Number { low: 0, high: 999 }),
        ],
    },
];

/// Resource types and their own parameters.
pub(crate) const RESOURCE_TYPES: &[(&str, &str, &[&str])] = &[
    ("aws:iam:role", "An IAM role", &[]),
    ("aws:lambda:function", "A Lambda function", &["functionQualifier"]),
];

pub(crate) fn find(id: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.id == id)
}

/// Added to the refusal of an action: AWS has some fifty, and whoever asks for one of the others must not think that it has
/// not.
pub(crate) fn emulated() -> String {
    let ids: Vec<&str> = ACTIONS.iter().map(|action| action.id).collect();
    format!("Of AWS's actions only these are emulated: {}", ids.join(", "))
}

/// AWS: at least a minute, at most twelve hours. Milliseconds; None when it is no such duration.
pub(crate) fn duration_ms(text: &str) -> Option<i64> {
    let (mut rest, mut total_seconds) = (text.strip_prefix("PT")?, 0_i64);
    for (unit, seconds) in [('H', 3_600), ('M', 60), ('S', 1)] {
        if let Some((number, after)) = rest.split_once(unit) {
            let number: u32 = number.parse().ok()?;
            total_seconds = total_seconds.checked_add(i64::from(number).checked_mul(seconds)?)?;
            rest = after;
        }
    }
    (rest.is_empty() && (60..=43_200).contains(&total_seconds)).then_some(total_seconds * 1_000)
}

/// What is wrong with a parameter's value, if anything.
pub(crate) fn fault_of(form: Form, value: &str) -> Option<&'static str> {
    let sound = match form {
        Form::Duration => duration_ms(value).is_some(),
        Form::Number { low, high } => value.parse::<i64>().is_ok_and(|number| (low..=high).contains(&number)),
        Form::Bool => matches!(value, "true" | "false"),
        Form::Text => !value.is_empty(),
        Form::Alarms => value.split(',').count() <= ALARMS_MAX && value.split(',').all(is_alarm),
        Form::AlarmStates => value.split(',').all(|state| ALARM_STATES.contains(&state)),
        Form::InjectableService => {
            return (!matches!(value, "ec2" | "kinesis"))
                .then_some("The service parameter value is not supported for the action");
        }
    };
    (!sound).then_some("The parameter value is not valid for the action")
}

fn is_alarm(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(7, ':').collect();
    matches!(parts.as_slice(), ["arn", _, "cloudwatch", _, _, "alarm", name] if !name.is_empty())
}

pub(crate) fn describe(action: &Action, region: &str, account: &str) -> Value {
    let mut parameters = json!({});
    for parameter in action.parameters {
        parameters[parameter.name] = json!({"description": parameter.name, "required": parameter.required});
    }
    let mut out = summary(action, region, account);
    out["parameters"] = parameters;
    out
}

pub(crate) fn summary(action: &Action, region: &str, account: &str) -> Value {
    let mut targets = json!({});
    if let Some((key, resource_type)) = action.target {
        targets[key] = json!({"resourceType": resource_type});
    }
    json!({
        "id": action.id,
        "arn": format!("arn:aws:fis:{region}:{account}:action/{}", action.id),
        "description": action.description,
        "targets": targets,
        "tags": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_iso_8601_between_a_minute_and_twelve_hours() {
        assert_eq!(duration_ms("PT1M"), Some(60_000));
        assert_eq!(duration_ms("PT90S"), Some(90_000));
        assert_eq!(duration_ms("PT1H30M"), Some(5_400_000));
        assert_eq!(duration_ms("PT12H"), Some(43_200_000));
        for refused in ["", "PT", "PT59S", "PT12H1S", "1M", "PT1M1H", "P1D", "PTM", "PT-1M"] {
            assert_eq!(duration_ms(refused), None, "{refused}");
        }
    }

    #[test]
    fn an_assertion_names_at_most_five_alarms_and_states_that_alarms_have() {
        let alarm = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:customers";
        let alarms = |count: usize| vec![alarm; count].join(",");
        for sound in [alarms(1), alarms(5), format!("{alarm}:of-a-name-with-a-colon")] {
            assert_eq!(fault_of(Form::Alarms, &sound), None, "{sound}");
        }
        let metric = "arn:aws:cloudwatch:us-east-1:123456789012:dashboard:customers";
        for refused in [alarms(6), format!("{alarm},"), "customers".to_owned(), metric.to_owned()] {
            assert!(fault_of(Form::Alarms, &refused).is_some(), "{refused}");
        }
        for sound in ["OK", "ALARM,INSUFFICIENT_DATA"] {
            assert_eq!(fault_of(Form::AlarmStates, sound), None, "{sound}");
        }
        for refused in ["", "ok", "OK,", "OK,BROKEN"] {
            assert!(fault_of(Form::AlarmStates, refused).is_some(), "{refused}");
        }
    }

    #[test]
    fn api_faults_on_queues_and_tables_are_refused_as_on_aws() {
        for service in ["sqs", "dynamodb", "lambda"] {
            assert_eq!(
                fault_of(Form::InjectableService, service),
                Some("The service parameter value is not supported for the action")
            );
        }
        assert_eq!(fault_of(Form::InjectableService, "ec2"), None);
    }
}

//! The attributes of a queue: what may be set, within which range, and how it reads back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};

use super::error::{ErrorKind, SqsError};
use super::policy::Policy;

/// AWS quota, raised from 256 KiB in August 2025.
pub const MESSAGE_BYTES_MAX: usize = 1_048_576;
const MESSAGE_BYTES_LIMIT_MIN: usize = 1_024;
/// AWS quota: 15 minutes.
pub const DELAY_SECONDS_MAX: i64 = 900;
/// AWS quota: 12 hours.
pub const VISIBILITY_SECONDS_MAX: i64 = 43_200;
/// AWS quota: a receive waits at most 20 seconds.
pub const WAIT_SECONDS_MAX: i64 = 20;
const RETENTION_SECONDS: std::ops::RangeInclusive<i64> = 60..=1_209_600;
const KMS_REUSE_SECONDS: std::ops::RangeInclusive<i64> = 60..=86_400;
const KMS_REUSE_SECONDS_DEFAULT: i64 = 300;
const RECEIVES_MAX: std::ops::RangeInclusive<i64> = 1..=1_000;
/// AWS quota: sources that a RedriveAllowPolicy may name.
const REDRIVE_SOURCES_MAX: usize = 10;
const FIFO_SCOPED: [&str; 2] = ["DeduplicationScope", "FifoThroughputLimit"];

/// What the caller may set, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributes {
    pub delay_seconds: i64,
    pub message_bytes_max: usize,
    pub retention_seconds: i64,
    pub wait_seconds: i64,
    pub visibility_seconds: i64,
    pub managed_sse: bool,
    pub kms_key: Option<String>,
    pub kms_reuse_seconds: i64,
    pub policy: Option<Policy>,
    pub redrive: Option<RedrivePolicy>,
    pub redrive_allow: Option<RedriveAllowPolicy>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            delay_seconds: 0,
            message_bytes_max: MESSAGE_BYTES_MAX,
            retention_seconds: 345_600,
            wait_seconds: 0,
            visibility_seconds: 30,
            managed_sse: true,
            kms_key: None,
            kms_reuse_seconds: KMS_REUSE_SECONDS_DEFAULT,
            policy: None,
            redrive: None,
            redrive_allow: None,
        }
    }
}

/// Where messages go that were received too often.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RedrivePolicy {
    #[serde(rename = "deadLetterTargetArn")]
    pub target_arn: String,
    #[serde(rename = "maxReceiveCount", deserialize_with = "number_or_text")]
    pub receives_max: i64,
}

impl RedrivePolicy {
    fn parse(text: &str) -> Result<Self, SqsError> {
        let refuse = |reason: &str| SqsError::parameter("RedrivePolicy", text, reason);
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|_| refuse("Redrive policy is not a valid JSON map."))?;
        for key in ["deadLetterTargetArn", "maxReceiveCount"] {
            if value.get(key).is_none() {
                return Err(refuse(&format!("Redrive policy does not contain mandatory attribute: {key}.")));
            }
        }
        let range = || {
            let given = &value["maxReceiveCount"];
            refuse(&format!(
                "Invalid value for maxReceiveCount: {given}, valid values are from 1 to 1000 both inclusive."
            ))
        };
        let parsed = Self::deserialize(&value).map_err(|_| range())?;
        if RECEIVES_MAX.contains(&parsed.receives_max) { Ok(parsed) } else { Err(range()) }
    }

    /// As AWS gives it back: compact, the number as a number, the target first.
    #[must_use]
    pub fn render(&self) -> String {
        let target = serde_json::Value::from(self.target_arn.as_str());
        format!(r#"{{"deadLetterTargetArn":{target},"maxReceiveCount":{}}}"#, self.receives_max)
    }

    #[must_use]
    pub fn receives_max(&self) -> u32 {
        u32::try_from(self.receives_max).unwrap_or(u32::MAX)
    }
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    number.ok_or_else(|| serde::de::Error::custom("neither a number nor a numeric string"))
}

/// Which queues may use this one as their dead letter queue.
#[derive(Clone, Debug)]
pub struct RedriveAllowPolicy {
    /// Returned exactly as it was set.
    text: String,
    rule: RedriveRule,
}

/// Two are the same when they allow the same, whatever the spacing and the order of keys and sources.
impl PartialEq for RedriveAllowPolicy {
    fn eq(&self, other: &Self) -> bool {
        self.rule == other.rule
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum RedriveRule {
    AllowAll,
    DenyAll,
    BySource(BTreeSet<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedriveAllowWire {
    redrive_permission: String,
    source_queue_arns: Option<Vec<String>>,
}

impl RedriveAllowPolicy {
    fn parse(text: &str) -> Result<Self, SqsError> {
        let refuse = |reason: &str| SqsError::parameter("RedriveAllowPolicy", text, reason);
        let wire: RedriveAllowWire = serde_json::from_str(text).map_err(|_| {
            refuse("Amazon SQS can't create the redrive allow policy, as it's in an unsupported format.")
        })?;
        let rule = match (wire.redrive_permission.as_str(), wire.source_queue_arns) {
            ("allowAll", None) => RedriveRule::AllowAll,
            ("denyAll", None) => RedriveRule::DenyAll,
            ("byQueue", Some(sources)) if (1..=REDRIVE_SOURCES_MAX).contains(&sources.len()) => {
                RedriveRule::BySource(sources.into_iter().collect())
            }
            ("byQueue", _) => {
                return Err(refuse("byQueue needs sourceQueueArns with 1 to 10 queue ARNs."));
            }
            ("allowAll" | "denyAll", Some(_)) => {
                return Err(refuse("sourceQueueArns may be given only with redrivePermission byQueue."));
            }
            _ => return Err(refuse("redrivePermission must be one of allowAll, denyAll, byQueue.")),
        };
        Ok(Self { text: text.to_owned(), rule })
    }

    #[must_use]
    pub fn allows(&self, source_arn: &str) -> bool {
        match &self.rule {
            RedriveRule::AllowAll => true,
            RedriveRule::DenyAll => false,
            RedriveRule::BySource(sources) => sources.contains(source_arn),
        }
    }
}

impl Attributes {
    /// These attributes with `changes` made, or the first change that is refused.
    ///
    /// # Errors
    /// `InvalidAttributeName`, `InvalidAttributeValue`, `InvalidParameterValue`.
    pub fn with(&self, changes: &BTreeMap<String, String>) -> Result<Self, SqsError> {
        let kms = changes.get("KmsMasterKeyId").is_some_and(|key| !key.is_empty());
        if kms && changes.get("SqsManagedSseEnabled").is_some_and(|value| value == "true") {
            return Err(SqsError::new(
                ErrorKind::InvalidAttributeName,
                "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.",
            ));
        }
        let mut next = self.clone();
        for (name, value) in changes {
            next.set(name, value)?;
        }
        Ok(next)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SqsError> {
        let number = |range| number_within(name, value, range);
        match name {
            "DelaySeconds" => self.delay_seconds = number(0..=DELAY_SECONDS_MAX)?,
            "MaximumMessageSize" => self.message_bytes_max = message_bytes(name, value)?,
            "MessageRetentionPeriod" => self.retention_seconds = number(RETENTION_SECONDS)?,
            "ReceiveMessageWaitTimeSeconds" => self.wait_seconds = number(0..=WAIT_SECONDS_MAX)?,
            "VisibilityTimeout" => self.visibility_seconds = number(0..=VISIBILITY_SECONDS_MAX)?,
            "SqsManagedSseEnabled" => self.set_managed_sse(boolean(name, value)?),
            "KmsMasterKeyId" => self.set_kms_key(value),
            "KmsDataKeyReusePeriodSeconds" => self.kms_reuse_seconds = number(KMS_REUSE_SECONDS)?,
            "Policy" => self.policy = unless_empty(value, Policy::parse)?,
            "RedrivePolicy" => self.redrive = unless_empty(value, RedrivePolicy::parse)?,
            "RedriveAllowPolicy" => self.redrive_allow = unless_empty(value, RedriveAllowPolicy::parse)?,
            _ => return Err(refused_name(name)),
        }
        Ok(())
    }

    fn set_managed_sse(&mut self, on: bool) {
        self.managed_sse = on;
        if on {
            self.kms_key = None;
        }
    }

    fn set_kms_key(&mut self, value: &str) {
        self.kms_key = Some(value.to_owned()).filter(|key| !key.is_empty());
        if self.kms_key.is_some() {
            self.managed_sse = false;
        }
    }

    /// Name and value of every attribute that is set, as the API gives them.
    #[must_use]
    pub fn render(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("DelaySeconds", self.delay_seconds.to_string()),
            ("MaximumMessageSize", self.message_bytes_max.to_string()),
            ("MessageRetentionPeriod", self.retention_seconds.to_string()),
            ("ReceiveMessageWaitTimeSeconds", self.wait_seconds.to_string()),
            ("SqsManagedSseEnabled", self.managed_sse.to_string()),
            ("VisibilityTimeout", self.visibility_seconds.to_string()),
        ];
        if let Some(key) = &self.kms_key {
            all.push(("KmsMasterKeyId", key.clone()));
            all.push(("KmsDataKeyReusePeriodSeconds", self.kms_reuse_seconds.to_string()));
        }
        all.extend(self.policy.as_ref().map(|policy| ("Policy", policy.text().to_owned())));
        all.extend(self.redrive.as_ref().map(|redrive| ("RedrivePolicy", redrive.render())));
        all.extend(self.redrive_allow.as_ref().map(|allow| ("RedriveAllowPolicy", allow.text.clone())));
        all
    }

    /// The first of `wanted` on which these attributes differ, for the idempotency of CreateQueue.
    ///
    /// # Errors
    /// As [`Attributes::with`].
    pub fn difference(&self, wanted: &BTreeMap<String, String>) -> Result<Option<String>, SqsError> {
        for (name, value) in wanted {
            let one = BTreeMap::from([(name.clone(), value.clone())]);
            if self.with(&one)? != *self {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }
}

fn refused_name(name: &str) -> SqsError {
    if FIFO_SCOPED.contains(&name) {
        let message = format!("You can specify the {name} only when FifoQueue is set to true.");
        return SqsError::new(ErrorKind::InvalidAttributeName, message);
    }
    SqsError::unknown_attribute(name)
}

fn number_within(name: &str, value: &str, range: std::ops::RangeInclusive<i64>) -> Result<i64, SqsError> {
    value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| SqsError::attribute_value(name))
}

fn message_bytes(name: &str, value: &str) -> Result<usize, SqsError> {
    let bytes =
        value.parse().ok().filter(|bytes| (MESSAGE_BYTES_LIMIT_MIN..=MESSAGE_BYTES_MAX).contains(bytes));
    bytes.ok_or_else(|| SqsError::attribute_value(name))
}

fn boolean(name: &str, value: &str) -> Result<bool, SqsError> {
    value.to_ascii_lowercase().parse().map_err(|_| SqsError::attribute_value(name))
}

/// An attribute set to the empty string is removed.
fn unless_empty<T>(
    value: &str,
    parse: impl FnOnce(&str) -> Result<T, SqsError>,
) -> Result<Option<T>, SqsError> {
    if value.is_empty() { Ok(None) } else { parse(value).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn ranges_are_those_of_aws() {
        let cases = [
            ("DelaySeconds", "0", "900", "901"),
            ("MaximumMessageSize", "1024", "1048576", "1023"),
            ("MessageRetentionPeriod", "60", "1209600", "59"),
            ("ReceiveMessageWaitTimeSeconds", "0", "20", "21"),
            ("VisibilityTimeout", "0", "43200", "-1"),
            ("KmsDataKeyReusePeriodSeconds", "60", "86400", "x"),
        ];
        for (name, low, high, bad) in cases {
            assert!(Attributes::default().with(&one(name, low)).is_ok(), "{name}={low}");
            assert!(Attributes::default().with(&one(name, high)).is_ok(), "{name}={high}");
            let error = Attributes::default().with(&one(name, bad)).unwrap_err();
            assert_eq!(error, SqsError::attribute_value(name));
        }
    }

    #[test]
    fn names_of_fifo_queues_are_refused_in_the_words_of_aws() {
        for (name, message) in [
            ("FifoQueue", "Unknown Attribute FifoQueue."),
            ("ContentBasedDeduplication", "Unknown Attribute ContentBasedDeduplication."),
            (
                "DeduplicationScope",
                "You can specify the DeduplicationScope only when FifoQueue is set to true.",
            ),
            ("Foobar", "Unknown Attribute Foobar."),
        ] {
            let error = Attributes::default().with(&one(name, "true")).unwrap_err();
            assert_eq!((error.kind, error.message.as_str()), (ErrorKind::InvalidAttributeName, message));
        }
    }

    #[test]
    fn a_redrive_policy_is_normalised_and_its_faults_are_named() {
        let text = r#"{"maxReceiveCount":"3","deadLetterTargetArn":"arn:aws:sqs:r:1:dlq"}"#;
        let set = Attributes::default().with(&one("RedrivePolicy", text)).unwrap();
        let expected = r#"{"deadLetterTargetArn":"arn:aws:sqs:r:1:dlq","maxReceiveCount":3}"#;
        assert_eq!(set.redrive.as_ref().unwrap().render(), expected);
        assert_eq!(set.with(&one("RedrivePolicy", "")).unwrap().redrive, None);
        for (bad, part) in [
            ("nonsense", "not a valid JSON map"),
            (r#"{"maxReceiveCount":3}"#, "deadLetterTargetArn"),
            (r#"{"deadLetterTargetArn":"a"}"#, "maxReceiveCount"),
            (r#"{"deadLetterTargetArn":"a","maxReceiveCount":0}"#, "from 1 to 1000"),
            (r#"{"deadLetterTargetArn":"a","maxReceiveCount":"1001"}"#, "from 1 to 1000"),
        ] {
            let error = Attributes::default().with(&one("RedrivePolicy", bad)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParameterValue);
            assert!(error.message.contains(part), "{}", error.message);
        }
    }

    #[test]
    fn a_redrive_allow_policy_names_its_sources_or_all_or_none() {
        let by = r#"{"redrivePermission":"byQueue","sourceQueueArns":["a"]}"#;
        let policy = RedriveAllowPolicy::parse(by).unwrap();
        assert!(policy.allows("a") && !policy.allows("b"));
        assert!(!RedriveAllowPolicy::parse(r#"{"redrivePermission":"denyAll"}"#).unwrap().allows("a"));
        let one = r#"{"redrivePermission":"byQueue","sourceQueueArns":["a","b"]}"#;
        let other = r#"{ "sourceQueueArns": ["b", "a"], "redrivePermission": "byQueue" }"#;
        let [one, other] = [one, other].map(|text| RedriveAllowPolicy::parse(text).unwrap());
        assert_eq!(one, other);
        assert_ne!(one, policy);
        for bad in [
            "x",
            r#"{"redrivePermission":"byQueue"}"#,
            r#"{"redrivePermission":"byQueue","sourceQueueArns":[]}"#,
            r#"{"redrivePermission":"allowAll","sourceQueueArns":["a"]}"#,
            r#"{"redrivePermission":"some"}"#,
        ] {
            assert!(RedriveAllowPolicy::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_kind_of_encryption_at_a_time() {
        let kms = Attributes::default().with(&one("KmsMasterKeyId", "key")).unwrap();
        assert!(!kms.managed_sse);
        assert!(kms.render().contains(&("KmsDataKeyReusePeriodSeconds", "300".to_owned())));
        assert_eq!(kms.with(&one("SqsManagedSseEnabled", "true")).unwrap().kms_key, None);
        let mut both = one("KmsMasterKeyId", "key");
        both.insert("SqsManagedSseEnabled".to_owned(), "true".to_owned());
        assert_eq!(Attributes::default().with(&both).unwrap_err().kind, ErrorKind::InvalidAttributeName);
    }

    #[test]
    fn only_the_first_difference_is_named() {
        let current = Attributes::default();
        assert_eq!(current.difference(&one("DelaySeconds", "0")).unwrap(), None);
        let mut wanted = one("DelaySeconds", "1");
        wanted.insert("VisibilityTimeout".to_owned(), "31".to_owned());
        assert_eq!(current.difference(&wanted).unwrap(), Some("DelaySeconds".to_owned()));
    }
}

//! Configuration from environment variables, parsed once at the start.

use std::fmt::Display;
use std::str::FromStr;

use task_core::DurationMs;

/// Where variables come from: the process, or a map in tests.
pub trait Env {
    fn get(&self, key: &'static str) -> Option<String>;
}

#[derive(Clone, Copy, Debug)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn get(&self, key: &'static str) -> Option<String> {
        std::env::var(key).ok()
    }
}

impl Env for std::collections::HashMap<&'static str, &'static str> {
    fn get(&self, key: &'static str) -> Option<String> {
        Self::get(self, key).map(ToString::to_string)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{key} is not set")]
    Missing { key: &'static str },
    #[error("{key}={value:?}: {expected}")]
    Invalid { key: &'static str, value: String, expected: String },
}

/// A variable that must be set and not empty.
pub fn required(env: &impl Env, key: &'static str) -> Result<String, ConfigError> {
    env.get(key).filter(|value| !value.is_empty()).ok_or(ConfigError::Missing { key })
}

/// A number within bounds.
pub fn number<N>(
    env: &impl Env,
    key: &'static str,
    bounds: std::ops::RangeInclusive<N>,
) -> Result<N, ConfigError>
where
    N: FromStr + PartialOrd + Display,
{
    let value = required(env, key)?;
    match value.parse() {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => {
            let expected = format!("expected a whole number from {} to {}", bounds.start(), bounds.end());
            Err(ConfigError::Invalid { key, value, expected })
        }
    }
}

/// `true` or `false`; `false` when absent.
pub fn flag(env: &impl Env, key: &'static str) -> Result<bool, ConfigError> {
    match env.get(key).as_deref() {
        None | Some("" | "false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => {
            Err(ConfigError::Invalid { key, value: other.into(), expected: "expected true or false".into() })
        }
    }
}

/// An absolute `http` or `https` URL, without a slash at its end.
pub fn url(env: &impl Env, key: &'static str) -> Result<String, ConfigError> {
    let value = required(env, key)?;
    if !(value.starts_with("https://") || value.starts_with("http://")) {
        let expected = "expected a URL that begins with https:// or http://".into();
        return Err(ConfigError::Invalid { key, value, expected });
    }
    Ok(value.trim_end_matches('/').to_owned())
}

pub const ENV_TASKS_TABLE: &str = "TASKS_TABLE";
pub const ENV_CONNECTIONS_TABLE: &str = "CONNECTIONS_TABLE";
pub const ENV_OWNER_INDEX_SHARDS: &str = "OWNER_INDEX_SHARDS";
pub const ENV_TASKS_QUEUE_URL: &str = "TASKS_QUEUE_URL";
pub const ENV_DEAD_LETTER_QUEUE_URL: &str = "DEAD_LETTER_QUEUE_URL";
pub const ENV_MAX_RECEIVE_COUNT: &str = "MAX_RECEIVE_COUNT";
pub const ENV_QUEUE_VISIBILITY_SECONDS: &str = "QUEUE_VISIBILITY_SECONDS";
pub const ENV_WEBSOCKET_MANAGEMENT_ENDPOINT: &str = "WEBSOCKET_MANAGEMENT_ENDPOINT";
pub const ENV_TASKS_IN_FLIGHT_PER_OWNER_MAX: &str = "TASKS_IN_FLIGHT_PER_OWNER_MAX";
pub const ENV_ALLOW_TEST_TASKS: &str = "ALLOW_TEST_TASKS";

/// Shards of the owner index. Raising the number keeps older tasks listed only if their shards stay within it.
pub fn owner_index_shards(env: &impl Env) -> Result<u16, ConfigError> {
    number(env, ENV_OWNER_INDEX_SHARDS, 1..=task_core::limits::OWNER_INDEX_SHARDS_MAX)
}

/// Visibility timeout of the tasks queue. With 0 every message would be delivered again at once.
pub fn queue_visibility(env: &impl Env) -> Result<DurationMs, ConfigError> {
    number(env, ENV_QUEUE_VISIBILITY_SECONDS, 1..=task_core::limits::VISIBILITY_SECONDS_MAX)
        .map(DurationMs::from_seconds)
}

pub fn tasks_in_flight_per_owner_max(env: &impl Env) -> Result<u32, ConfigError> {
    number(env, ENV_TASKS_IN_FLIGHT_PER_OWNER_MAX, 1..=task_core::limits::TASKS_IN_FLIGHT_PER_OWNER_MAX)
}

pub fn kinds_allowed(env: &impl Env) -> Result<task_core::kind::KindsAllowed, ConfigError> {
    Ok(if flag(env, ENV_ALLOW_TEST_TASKS)? {
        task_core::kind::KindsAllowed::WithTestTasks
    } else {
        task_core::kind::KindsAllowed::Production
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn an_error_names_the_key_the_value_and_what_was_expected() {
        let env = HashMap::from([(ENV_OWNER_INDEX_SHARDS, "65"), (ENV_ALLOW_TEST_TASKS, "yes")]);
        assert_eq!(
            owner_index_shards(&env).unwrap_err().to_string(),
            r#"OWNER_INDEX_SHARDS="65": expected a whole number from 1 to 64"#
        );
        assert_eq!(
            kinds_allowed(&env).unwrap_err().to_string(),
            r#"ALLOW_TEST_TASKS="yes": expected true or false"#
        );
        assert_eq!(required(&env, ENV_TASKS_TABLE).unwrap_err().to_string(), "TASKS_TABLE is not set");
    }

    #[test]
    fn a_url_loses_its_last_slash_and_nothing_else() {
        let key = ENV_TASKS_QUEUE_URL;
        assert_eq!(
            url(&HashMap::from([(key, "http://127.0.0.1:1/a/")]), key).unwrap(),
            "http://127.0.0.1:1/a"
        );
        assert!(url(&HashMap::from([(key, "127.0.0.1:1")]), key).is_err());
    }
}

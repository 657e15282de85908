//! The units of values.

use serde_json::Value;

use super::failure::Failure;
use super::request::text;
pub(super) use crate::metrics::STANDARD_UNITS;
use crate::repeatable;

/// The `Unit` of an input, if it has one. `refuse` is how the operation refuses what is none.
pub(super) fn unit(input: &Value, refuse: impl FnOnce(&str) -> Failure) -> Result<Option<&str>, Failure> {
    let Some(unit) = text(input, "Unit") else { return Ok(None) };
    // Earlier versions took any, and an alarm that one of them took is made again.
    let is_taken = STANDARD_UNITS.contains(&unit) || repeatable::is_repeated();
    if is_taken { Ok(Some(unit)) } else { Err(refuse(unit)) }
}

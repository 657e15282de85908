//! Dashboards: kept and read back, never drawn.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::failure::Failure;
use super::request::{required_text, text, texts};
use super::times::from_ms;
use crate::settings::Settings;

/// "The maximum size of a dashboard body is 1 MB."
const BODY_BYTES_MAX: usize = 1024 * 1024;
const NAME_CHARS_MAX: usize = 255;
/// The default quota of an account.
const DASHBOARDS_MAX: usize = 5_000;

#[derive(Debug)]
struct Dashboard {
    arn: String,
    body: String,
    modified_ms: i64,
}

/// The dashboards of the account, by name.
#[derive(Debug, Default)]
pub(super) struct Dashboards(BTreeMap<String, Dashboard>);

impl Dashboards {
    pub(super) fn put(&mut self, settings: &Settings, input: &Value) -> Result<Value, Failure> {
        let (name, body) = (required_text(input, "DashboardName")?, required_text(input, "DashboardBody")?);
        let is_name = name.len() <= NAME_CHARS_MAX
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !is_name {
            let message = "The value for field DashboardName contains invalid characters. It can only contain \
                           alphanumerics, dash (-) and underscore (_).\n";
            return Err(Failure::invalid(message));
        }
        if body.len() > BODY_BYTES_MAX
            || !serde_json::from_str::<Value>(body).is_ok_and(|body| body.is_object())
        {
            return Err(Failure::bad_dashboard("The field DashboardBody must be a valid JSON object"));
        }
        if self.0.len() >= DASHBOARDS_MAX && !self.0.contains_key(name) {
            return Err(Failure::limit(format!("An account has at most {DASHBOARDS_MAX} dashboards.")));
        }
        let arn = format!("arn:aws:cloudwatch::{}:dashboard/{name}", settings.account_id);
        let dashboard = Dashboard { arn, body: body.to_owned(), modified_ms: settings.clock.now_ms() };
        self.0.insert(name.to_owned(), dashboard);
        Ok(json!({"DashboardValidationMessages": []}))
    }

    pub(super) fn get(&self, input: &Value) -> Result<Value, Failure> {
        let name = required_text(input, "DashboardName")?;
        let dashboard = self.0.get(name).ok_or_else(|| Failure::dashboard_not_found(name))?;
        Ok(json!({"DashboardArn": dashboard.arn, "DashboardBody": dashboard.body, "DashboardName": name}))
    }

    /// "If you specify more than one, either all are deleted or none is."
    pub(super) fn delete(&mut self, input: &Value) -> Result<Value, Failure> {
        let names = texts(input, "DashboardNames");
        if let Some(unknown) = names.iter().find(|name| !self.0.contains_key(*name)) {
            return Err(Failure::dashboard_not_found(unknown));
        }
        self.0.retain(|name, _| !names.contains(name));
        Ok(json!({}))
    }

    pub(super) fn list(&self, input: &Value) -> Result<Value, Failure> {
        let prefix = text(input, "DashboardNamePrefix").unwrap_or_default();
        let entries: Vec<Value> = self
            .0
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, dashboard)| {
                json!({"DashboardName": name, "DashboardArn": dashboard.arn, "Size": dashboard.body.len(),
                       "LastModified": from_ms(dashboard.modified_ms)})
            })
            .collect();
        Ok(json!({"DashboardEntries": entries}))
    }
}

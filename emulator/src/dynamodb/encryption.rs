//! Encryption at rest. The engine takes it when a table is made and never changes it; it encrypts nothing, as nothing here does.

use dynoxide::DynoxideError;
use dynoxide::streams::{LOCAL_ACCOUNT, LOCAL_REGION};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Failure;

/// The key that AWS manages for DynamoDB is the same one for all tables of an account.
const MANAGED_KEY_ID: &str = "2f1c6f5e-6d0b-4f3a-9a55-d1a0db5e0c11";
const MANAGED_KEY_ALIAS: &str = "alias/aws/dynamodb";
/// The only type that there is.
const KMS: &str = "KMS";

/// What was asked for last; nothing leaves the table as the engine has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Encryption(Option<Specification>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Specification {
    #[serde(rename = "Enabled", default)]
    enabled: bool,
    #[serde(rename = "KMSMasterKeyId")]
    key: Option<String>,
}

impl Encryption {
    /// What a request asks for.
    ///
    /// # Errors
    /// When it names a key and wants none, or cannot be read.
    pub(super) fn asked(request: &Value) -> Result<Self, Failure> {
        let Some(asked) = request.get("SSESpecification").filter(|asked| !asked.is_null()) else {
            return Ok(Self::default());
        };
        let asked = Specification::deserialize(asked)
            .map_err(|error| DynoxideError::SerializationException(error.to_string()))?;
        if asked.key.is_some() && !asked.enabled {
            let why = "SSESpecification KMSMasterKeyId cannot be specified when SSE is disabled";
            return Err(Failure::invalid_value(why));
        }
        Ok(Self(Some(asked)))
    }

    pub(super) fn changed(self, asked: Self) -> Self {
        Self(asked.0.or(self.0))
    }

    /// Writes `SSEDescription` into the description of a table: none of one that is encrypted with a key that AWS owns.
    pub(super) fn show(&self, table: &mut Map<String, Value>) {
        let Some(specification) = &self.0 else { return };
        if specification.enabled {
            let arn = key_arn(specification.key.as_deref());
            let description = json!({"Status": "ENABLED", "SSEType": KMS, "KMSMasterKeyArn": arn});
            table.insert("SSEDescription".to_owned(), description);
        } else {
            table.remove("SSEDescription");
        }
    }
}

/// In the engine's account, as all ARNs of a description are until they go to the caller.
fn key_arn(key: Option<&str>) -> String {
    match key {
        Some(arn) if arn.starts_with("arn:") => arn.to_owned(),
        Some(alias) if alias.starts_with("alias/") && alias != MANAGED_KEY_ALIAS => of_engine(alias),
        Some(id) if id != MANAGED_KEY_ALIAS => of_engine(&format!("key/{id}")),
        _ => of_engine(&format!("key/{MANAGED_KEY_ID}")),
    }
}

fn of_engine(resource: &str) -> String {
    format!("arn:aws:kms:{LOCAL_REGION}:{LOCAL_ACCOUNT}:{resource}")
}

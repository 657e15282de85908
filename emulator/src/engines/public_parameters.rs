//! Parameters that AWS publishes under `/aws/service/`, in front of the account's own.

use http::StatusCode;
use serde_json::{Value, json};

use super::parameters::Parameters;
use crate::settings::Settings;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// The account that publishes the layers of the FIS extension here; AWS's own differs by region.
const LAYER_ACCOUNT: &str = "211125607513";

/// Where AWS publishes the ARN of the FIS extension for Lambda, by architecture.
const FIS_EXTENSION: [(&str, &str); 2] = [
    ("/aws/service/fis/lambda-extension/AWS-FIS-extension-x86_64/1.x.x", "aws-fis-extension-x86_64"),
    ("/aws/service/fis/lambda-extension/AWS-FIS-extension-arm64/1.x.x", "aws-fis-extension-arm64"),
];

/// SSM with the public parameters.
pub(super) struct PublicParameters {
    own: Parameters,
    settings: Settings,
    published_at_ms: i64,
}

impl PublicParameters {
    pub(super) fn new(settings: &Settings, own: Parameters) -> Self {
        Self { own, settings: settings.clone(), published_at_ms: settings.clock.now_ms() }
    }

    fn get(&self, request: &AwsRequest) -> Option<AwsResponse> {
        if request.header("x-amz-target")? != "AmazonSSM.GetParameter" {
            return None;
        }
        let body: Value = serde_json::from_slice(&request.body).ok()?;
        let name = body.get("Name")?.as_str()?;
        let (name, layer) = FIS_EXTENSION.iter().find(|(public, _)| *public == name)?;
        let answer = json!({ "Parameter": self.parameter(name, layer) });
        Some(AwsResponse::new(StatusCode::OK, "application/x-amz-json-1.1", answer.to_string()))
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch fit 2^53 for 280,000 years")]
    fn parameter(&self, name: &str, layer: &str) -> Value {
        let region = &self.settings.region;
        json!({
            "Name": name,
            "Type": "String",
            "Value": format!("arn:aws:lambda:{region}:{LAYER_ACCOUNT}:layer:{layer}:1"),
            "Version": 1,
            "LastModifiedDate": self.published_at_ms as f64 / 1e3,
            "ARN": format!("arn:aws:ssm:{region}::parameter{name}"),
            "DataType": "text",
        })
    }
}

impl Service for PublicParameters {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            match self.get(&request) {
                Some(answer) => answer,
                None => self.own.handle(request).await,
            }
        })
    }
}

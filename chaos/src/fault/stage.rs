//! The HTTP API's throttle, on the whole stage or on one route: above it clients get 429.

use aws_sdk_apigatewayv2::operation::delete_route_settings::DeleteRouteSettingsError;
use aws_sdk_apigatewayv2::operation::get_stage::GetStageOutput;
use aws_sdk_apigatewayv2::types::RouteSettings;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, Setting, call};
use crate::cloud::{CallError, Cloud};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpThrottle {
    pub api_id: String,
    pub stage: String,
    /// `None`: every route of the stage.
    pub route: Option<String>,
    pub rate_per_second: f64,
    pub burst: i32,
}

impl HttpThrottle {
    async fn stage(&self, cloud: &Cloud) -> Result<GetStageOutput, CallError> {
        let call = cloud.apigateway.get_stage().api_id(&self.api_id).stage_name(&self.stage);
        call.send().await.map_err(CallError::of_read("apigateway:GET"))
    }

    async fn delete_route_settings(&self, cloud: &Cloud, route: &str) -> Result<(), CallError> {
        let call = cloud.apigateway.delete_route_settings().api_id(&self.api_id).stage_name(&self.stage);
        match call.route_key(route).send().await {
            Ok(_) => Ok(()),
            // Of a route without settings: what is to be gone is gone, and the read-back tells whether it is.
            Err(error)
                if error.as_service_error().is_some_and(DeleteRouteSettingsError::is_not_found_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(CallError::of("apigateway:DELETE")(error)),
        }
    }
}

impl Setting for HttpThrottle {
    async fn read(&self, cloud: &Cloud) -> Result<Value, CallError> {
        let stage = self.stage(cloud).await?;
        let settings = match &self.route {
            None => stage.default_route_settings(),
            Some(route) => stage.route_settings().and_then(|routes| routes.get(route)),
        };
        Ok(settings.map_or(Value::Null, settings_value))
    }

    fn faulted(&self, prior: &Value) -> Result<Value, CallError> {
        // UpdateStage replaces the whole object: what is not about throttling must be sent again.
        let mut value = if prior.is_object() { prior.clone() } else { json!({}) };
        value["rate_per_second"] = json!(self.rate_per_second);
        value["burst"] = json!(self.burst);
        Ok(value)
    }

    fn is_left(&self, prior: &Value, found: &Value) -> bool {
        self.faulted(prior).is_ok_and(|faulted| said(&faulted) == said(found))
    }

    async fn write(&self, cloud: &Cloud, value: &Value) -> Result<(), CallError> {
        if let (Some(route), Value::Null) = (&self.route, value) {
            return self.delete_route_settings(cloud, route).await;
        }
        let update = cloud.apigateway.update_stage().api_id(&self.api_id).stage_name(&self.stage);
        let update = match &self.route {
            None => update.default_route_settings(settings_of(value)),
            Some(route) => update.route_settings(route, settings_of(value)),
        };
        update.send().await.map(drop).map_err(CallError::of("apigateway:PATCH"))
    }

    fn calls(&self) -> Vec<Call> {
        // By its path: its partition and Region are the stack's.
        let stage = format!("/apis/{}/stages/{}", self.api_id, self.stage);
        // The settings of a route are a resource of their own, whose key may hold a blank and a slash.
        let routes =
            self.route.is_some().then(|| call("apigateway:DELETE", format!("{stage}/routesettings/*")));
        let of_stage = ["apigateway:GET", "apigateway:PATCH"].map(|action| call(action, &stage));
        of_stage.into_iter().chain(routes).collect()
    }
}

fn settings_value(settings: &RouteSettings) -> Value {
    json!({
        "rate_per_second": settings.throttling_rate_limit(),
        "burst": settings.throttling_burst_limit(),
        "detailed_metrics": settings.detailed_metrics_enabled(),
    })
}

fn settings_of(value: &Value) -> RouteSettings {
    let burst = value["burst"].as_i64().and_then(|burst| i32::try_from(burst).ok());
    RouteSettings::builder()
        .set_throttling_rate_limit(value["rate_per_second"].as_f64())
        .set_throttling_burst_limit(burst)
        .set_detailed_metrics_enabled(value["detailed_metrics"].as_bool())
        .build()
}

/// Metrics that nobody spoke of are off, and AWS may say so.
fn said(settings: &Value) -> (&Value, &Value, bool) {
    let are_metrics_detailed = settings["detailed_metrics"].as_bool().unwrap_or_default();
    (&settings["rate_per_second"], &settings["burst"], are_metrics_detailed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_throttle_left_is_told_from_one_that_somebody_changed_since() {
        let throttle = HttpThrottle {
            api_id: "api".into(),
            stage: "$default".into(),
            route: Some("POST /tasks".into()),
            rate_per_second: 10.0,
            burst: 5,
        };
        let reads = |rate: f64, metrics: Option<bool>| json!({"rate_per_second": rate, "burst": 5, "detailed_metrics": metrics});
        let measured = json!({"rate_per_second": 100.0, "burst": 50, "detailed_metrics": true});
        for (prior, found, is_left) in [
            (&Value::Null, reads(10.0, None), true),
            (&Value::Null, reads(10.0, Some(false)), true),
            (&Value::Null, reads(10.0, Some(true)), false),
            (&Value::Null, reads(20.0, None), false),
            (&measured, reads(10.0, Some(true)), true),
            (&measured, reads(10.0, Some(false)), false),
            (&measured, Value::Null, false),
        ] {
            assert_eq!(throttle.is_left(prior, &found), is_left, "{prior} and {found}");
        }
    }
}

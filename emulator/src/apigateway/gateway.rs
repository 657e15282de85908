//! The service as the server sees it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::connections::Cause;
use super::error::ApiError;
use super::management;
use super::plane::Plane;
use super::state::State;
use super::to_the_end::ToTheEnd;
use crate::invoke::Invoke;
use crate::settings::Settings;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, DataPlane, Service};

/// Management API (signing name `apigateway`) and data planes in one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    state: Arc<Mutex<State>>,
    plane: Arc<Plane>,
}

impl Gateway {
    #[must_use]
    pub fn new(settings: &Settings, invoke: Arc<dyn Invoke>) -> Self {
        let plane = Plane::new(settings.clone(), invoke);
        let state = State::new(settings.clone(), plane.live.clone());
        Self { state: Arc::new(Mutex::new(state)), plane: Arc::new(plane) }
    }

    fn manage(&self, request: &AwsRequest) -> AwsResponse {
        let answer = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            management::handle(&mut state, request)
        };
        if request.method == Method::DELETE {
            let live = &self.plane.live;
            self.plane
                .connections
                .close_where(Cause::Orphaned, |open| live.stage(&open.api_id, &open.stage).is_none());
        }
        match answer {
            Ok(answer) => answer.into(),
            Err(error) => {
                if error == ApiError::UnknownOperation {
                    tracing::warn!(method = %request.method, path = request.path, "unsupported API Gateway call");
                }
                error.into()
            }
        }
    }
}

impl Service for Gateway {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move { self.manage(&request) })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.plane.connections.stop())
    }
}

impl DataPlane for Gateway {
    fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> BoxFuture<'_, Response<Full<Bytes>>> {
        // A client that hangs up is logged and measured like any other, and what it connected ends with `$disconnect`.
        Box::pin(ToTheEnd::new(Arc::clone(&self.plane).answer(request, peer)))
    }
}

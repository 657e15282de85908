//! What both data planes share, and which of them a request is for.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::connections::Connections;
use super::jwt::KeyCache;
use super::model::Protocol;
use super::reply::Reply;
use super::state::Live;
use super::throttle::{ACCOUNT_BURST, ACCOUNT_RATE_PER_SECOND, NEW_CONNECTIONS_PER_SECOND};
use super::{MOUNT, at_connections, http_plane, websocket};
use crate::invoke::Invoke;
use crate::request_body::discard;
use crate::settings::Settings;
use crate::token_bucket::TokenBucket;

pub(super) struct Plane {
    pub(super) settings: Settings,
    pub(super) invoke: Arc<dyn Invoke>,
    pub(super) live: Live,
    /// Shared by all APIs of the account.
    pub(super) requests: TokenBucket,
    pub(super) new_connections: TokenBucket,
    pub(super) connections: Connections,
    /// Of the issuers of JWT authorizers.
    pub(super) keys: KeyCache,
}

impl Plane {
    pub(super) fn new(settings: Settings, invoke: Arc<dyn Invoke>) -> Self {
        let now_ms = settings.clock.now_ms();
        Self {
            settings,
            invoke,
            live: Live::default(),
            requests: TokenBucket::new(ACCOUNT_RATE_PER_SECOND, ACCOUNT_BURST, now_ms),
            new_connections: TokenBucket::new(NEW_CONNECTIONS_PER_SECOND, NEW_CONNECTIONS_PER_SECOND, now_ms),
            connections: Connections::default(),
            keys: KeyCache::default(),
        }
    }

    /// `{MOUNT}{apiId}/…`: the rest is what AWS would see as the path.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let Some(rest) = path.strip_prefix(MOUNT) else { return not_found(request).await };
        let (api_id, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let Some(api) = self.live.api(api_id) else { return not_found(request).await };
        match api.protocol {
            Protocol::Http => http_plane::answer(&self, &api, path, request, peer).await.into(),
            Protocol::WebSocket => match at_connections::split(path) {
                Some(target) => {
                    at_connections::answer(&self, &api, api_id, target, request, peer).await.into()
                }
                None => websocket::answer(self, &api, path, request, peer).await,
            },
        }
    }
}

async fn not_found(mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    discard(request.body_mut()).await;
    Reply::not_found().into()
}

impl std::fmt::Debug for Plane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plane")
            .field("live", &self.live)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

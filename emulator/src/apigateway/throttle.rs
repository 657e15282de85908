//! The account's limits. "API Gateway uses the token bucket algorithm, where a token counts for a request."

/// Across all APIs of a region: 10,000 requests per second with a burst of 5,000.
pub(super) const ACCOUNT_RATE_PER_SECOND: f64 = 10_000.0;
pub(super) const ACCOUNT_BURST: f64 = 5_000.0;
/// "New connections per second per account (across all WebSocket APIs) per Region: 500".
pub(super) const NEW_CONNECTIONS_PER_SECOND: f64 = 500.0;

//! What is on this machine: it is never asked through a proxy, and it alone is given what is meant for the emulator.

use std::net::IpAddr;

/// A client for this URL. A proxy that the environment names would look for what is on this machine on its own.
pub fn client_for(url: &str) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder();
    if is_loopback(url) { builder.no_proxy() } else { builder }
}

pub fn is_loopback(url: &str) -> bool {
    let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_only_asked_for_what_is_elsewhere() {
        let may_ask = |url| format!("{:?}", client_for(url).build().unwrap()).contains("proxies");
        assert!(!may_ask("http://127.0.0.1:4566/_aws/execute-api/abc"));
        assert!(may_ask("https://iam.amazonaws.com"));
    }
}

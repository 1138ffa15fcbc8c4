//! Addresses and requests of the commands that connect to a running gateway.
//!
//! - `http`: one HTTP request. `websocket`: the client's handshake.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use actix_http::{StatusCode, Uri};

use self::http::{HttpError, OutgoingRequest};
use super::Failure;
use crate::settings::{one_line, plain_io};

pub(super) mod http;
pub(super) mod websocket;

/// The maximum time until a gateway answers.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The address at which a process on the same machine reaches a gateway that listens on `address`: loopback if the
/// gateway listens on all interfaces.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Checks the value of `--url` and completes it with a path. `example` begins with the scheme of the command.
pub(super) fn gateway_url(given: &str, example: &str) -> Result<String, Failure> {
    let scheme = example.split("://").next().unwrap_or_default();
    let refused = |reason: String| Err(Failure::Other(format!("--url {}: {reason}", one_line(given))));
    let uri = given.parse::<Uri>().ok();
    let parts = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?, uri)));
    match parts {
        Some((given, authority, uri)) if given == scheme => {
            let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            Ok(format!("{scheme}://{authority}{}{query}", uri.path()))
        }
        Some(("https" | "wss", ..)) => {
            refused(format!("this command does not speak TLS; use {scheme}:// inside the network"))
        }
        _ => refused(format!("it must begin with {scheme}://, such as {example}")),
    }
}

/// The URL of the admin port, from `--url` or from the settings.
pub(super) fn admin_url(given: Option<&str>, settings: SocketAddr) -> Result<String, Failure> {
    let url = match given {
        Some(given) => gateway_url(given, "http://127.0.0.1:8081")?,
        None => format!("http://{}", reachable(settings)),
    };
    Ok(url.trim_end_matches('/').to_owned())
}

/// Sends a request to the gateway at `url`; returns the status and the body of the response.
pub(super) fn send(
    url: &str,
    request: Result<OutgoingRequest, HttpError>,
) -> Result<(StatusCode, String), Failure> {
    let answer = actix_rt::System::new().block_on(async { request?.send().await });
    answer.map_err(|error| Failure::Other(format!("{url}: {}", plain_io(error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_on_all_interfaces_is_reached_on_loopback() {
        for (listens, reached) in [
            ("0.0.0.0:8081", "127.0.0.1:8081"),
            ("[::]:8081", "[::1]:8081"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("192.0.2.7:1", "192.0.2.7:1"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), reached);
        }
    }
}

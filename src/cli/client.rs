//! What the commands that talk to a running gateway have in common.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::Failure;

/// How long a gateway may take to answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a process on the same machine reaches a gateway that listens on `address`: one that listens
/// everywhere is reached on loopback.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// An HTTP client with a deadline.
pub(super) fn http() -> awc::Client {
    awc::Client::builder().timeout(ANSWER_TIMEOUT).finish()
}

/// The text of an error, without the error number that Rust appends.
pub(super) fn plain(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}

/// An answer's status and body.
pub(super) async fn read(
    sent: awc::SendClientRequest,
    url: &str,
) -> Result<(awc::http::StatusCode, String), Failure> {
    let mut answer = sent.await.map_err(|error| Failure::Other(format!("{url}: {}", plain(error))))?;
    let body = answer.body().await.map_err(|error| Failure::Other(format!("{url}: {}", plain(error))))?;
    Ok((answer.status(), String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_listens_everywhere_is_reached_on_loopback() {
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

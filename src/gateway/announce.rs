//! What the log says of a gateway that starts.

use std::net::SocketAddr;

use crate::settings::{AuthKind, Profile, Settings, mask_url};

/// Logs one line with the facts an operator needs first, and warnings about missing production settings.
pub(super) fn announce(settings: &Settings, workers: usize, public: SocketAddr, admin: SocketAddr) {
    let (version, profile) = (env!("CARGO_PKG_VERSION"), settings.profile);
    let broker = mask_url(&settings.broker.url);
    log::info!(
        "emagine-gateway {version}: profile {profile}, broker {broker}, console {}",
        console_url(admin)
    );
    log::info!("public: listening on {public} with {workers} workers");
    log::info!("admin: listening on {admin}");
    if settings.auth.kind == AuthKind::Insecure {
        log::info!(
            "auth.kind is insecure: the token is accepted as the user id without verification (development only)"
        );
    }
    for warning in warnings(settings) {
        log::warn!("{warning}");
    }
}

/// A sentence for each valid but questionable setting.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let unbound = is_unbound(settings).then(|| {
        "neither auth.audience nor auth.issuer is set: a token that the same key has signed for another service is \
         accepted"
            .to_owned()
    });
    settings.warnings.iter().cloned().chain(unbound).collect()
}

/// Whether production takes every token of its key. Signed tokens carry neither claim.
fn is_unbound(settings: &Settings) -> bool {
    let auth = &settings.auth;
    settings.profile == Profile::Production
        && auth.kind == AuthKind::Jwt
        && auth.audience.is_none()
        && auth.issuer.is_none()
}

/// Where a browser on this machine finds the console.
fn console_url(admin: SocketAddr) -> String {
    let host = if admin.ip().is_unspecified() || admin.ip().is_loopback() {
        "localhost".to_owned()
    } else {
        SocketAddr::new(admin.ip(), 0).to_string().trim_end_matches(":0").to_owned()
    };
    format!("http://{host}:{}/console", admin.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_s_url_can_be_opened() {
        for (admin, url) in [
            ("127.0.0.1:8081", "http://localhost:8081/console"),
            ("0.0.0.0:8081", "http://localhost:8081/console"),
            ("[::]:8081", "http://localhost:8081/console"),
            ("192.0.2.7:8081", "http://192.0.2.7:8081/console"),
            ("[2001:db8::1]:8081", "http://[2001:db8::1]:8081/console"),
        ] {
            assert_eq!(console_url(admin.parse().unwrap()), url);
        }
    }
}

//! Log lines and warnings at the start of a gateway.

use std::net::SocketAddr;

use crate::settings::{AuthKind, Profile, Settings, mask_url};

/// Logs version, broker and addresses, and the warnings.
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

/// One sentence for each valid but questionable setting.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let unbound = is_unbound(settings).then(|| {
        "neither auth.audience nor auth.issuer is set: tokens that the same key signed for another service are \
         accepted"
            .to_owned()
    });
    settings.warnings.iter().cloned().chain(unbound).collect()
}

/// Whether a production gateway accepts every token of its key. Signed tokens have neither claim.
fn is_unbound(settings: &Settings) -> bool {
    let auth = &settings.auth;
    settings.profile == Profile::Production
        && auth.kind == AuthKind::Jwt
        && auth.audience.is_none()
        && auth.issuer.is_none()
}

/// The URL of the console for a browser on this machine.
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
    fn console_url_can_be_opened() {
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

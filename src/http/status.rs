//! Reports the state of this replica in one response for the console.

use std::net::SocketAddr;
use std::time::Instant;

use actix_web::http::header::HOST;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::auth::host_name;
use super::{AdminState, ApiError};
use crate::auth::ReloadableAuthenticator;
use crate::settings::{AuthKind, Profile};

/// Facts that do not change while the process runs.
#[derive(Debug, Clone)]
pub struct InstanceInfo {
    /// The profile of the settings.
    pub profile: Profile,
    /// How tokens are verified.
    pub auth: AuthKind,
    /// `memory` or `redis`.
    pub broker: &'static str,
    /// The address for clients.
    pub public_addr: SocketAddr,
    /// The URL of the console's socket, if `admin.socket_url` is set.
    pub socket_url: Option<String>,
    /// Has the keys for minting tokens. `None`: this process mints no tokens.
    pub minting: Option<ReloadableAuthenticator>,
    /// When the process started to serve.
    pub started: Instant,
}

impl InstanceInfo {
    /// The URL of the socket for a page that this request loads.
    pub(super) fn socket_url(&self, request: &HttpRequest) -> String {
        if let Some(url) = &self.socket_url {
            return url.clone();
        }
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).map(host_name);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        match host.filter(|host| !host.is_empty() && host.bytes().all(is_plain)) {
            Some(host) if self.public_addr.ip().is_unspecified() => {
                format!("ws://{host}:{}/gateway", self.public_addr.port())
            }
            _ => format!("ws://{}/gateway", self.public_addr),
        }
    }
}

/// `GET /v1/status`. Counters start with the process; times are in milliseconds.
pub(super) async fn status(
    admin: web::Data<AdminState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let (instance, metrics) = (&admin.instance, &admin.metrics);
    let reasons = admin.readiness.reasons();
    Ok(HttpResponse::Ok().json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "replica": admin.broker.replica(),
        "profile": instance.profile.to_string(),
        "auth": instance.auth,
        "broker": instance.broker,
        "public_addr": instance.public_addr.to_string(),
        "socket_url": instance.socket_url(&request),
        "minting": instance.minting.is_some(),
        "uptime_ms": instance.started.elapsed().as_millis() as u64,
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "notes": admin.readiness.notes(),
        "draining": admin.readiness.drain.is_draining(),
        "link": {
            "up": admin.readiness.broker.health().is_ready,
            "history": metrics.history_available.get() == 1,
            "probe_ms": metrics.latest_probe().map(|latency| latency.as_secs_f64() * 1_000.0),
        },
        "connections": metrics.connections.get(),
        "sessions": metrics.sessions.get(),
        "users": metrics.users.get(),
        "channels": metrics.channels.get(),
        "subscriptions": metrics.subscriptions.get(),
        "publications_received": metrics.publications_received.get(),
        "publications_delivered": metrics.publications_delivered.get(),
        "client_messages": metrics.client_messages.get(),
        "outbound_queued_bytes": metrics.outbound_queued_bytes.get(),
        "hub_inbox_bytes": metrics.hub_inbox_bytes.get(),
    })))
}

#[cfg(test)]
impl InstanceInfo {
    pub(super) fn for_tests() -> Self {
        Self {
            profile: Profile::Development,
            auth: AuthKind::Insecure,
            broker: "memory",
            public_addr: SocketAddr::from(([127, 0, 0, 1], 8080)),
            socket_url: None,
            minting: None,
            started: Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_console_socket_url_is_where_clients_connect() {
        let url = |public: &str, set: Option<&str>, host: &str| {
            let instance = InstanceInfo {
                public_addr: public.parse().unwrap(),
                socket_url: set.map(str::to_owned),
                ..InstanceInfo::for_tests()
            };
            instance.socket_url(&TestRequest::get().insert_header((HOST, host)).to_http_request())
        };
        assert_eq!(url("127.0.0.1:8080", None, "localhost:8081"), "ws://127.0.0.1:8080/gateway");
        assert_eq!(url("0.0.0.0:8080", None, "box:8081"), "ws://box:8080/gateway");
        assert_eq!(url("[::]:8080", None, "[2001:db8::1]:8081"), "ws://[2001:db8::1]:8080/gateway");
        assert_eq!(url("0.0.0.0:8080", None, "box; script-src *"), "ws://0.0.0.0:8080/gateway");
        assert_eq!(url("0.0.0.0:8080", Some("wss://rt.example.com"), "box"), "wss://rt.example.com");
    }
}

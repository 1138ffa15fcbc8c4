//! The admin port: publishing for backends without Redis access, sessions, health, metrics, and the console. No sockets.
//!
//! All routes stand in one function, `routes`.

mod api_error;
mod auth;
mod body;
mod console;
mod health;
mod openapi;
mod publish;
mod sessions;
mod status;
mod token;
mod unread_body;

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::{Server, Service as _};
use actix_web::http::ConnectionType;
use actix_web::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpServer, Resource, Route};

use self::api_error::ApiError;
pub use self::auth::{ApiKey, CurrentKey};
pub use self::health::Readiness;
pub use self::status::InstanceInfo;
use self::unread_body::{ResponseBody, UnreadBody};
use crate::broker::Broker;
use crate::hub::Hubs;
use crate::metrics::{AdminRequest, Metrics};

/// What the admin routes work with.
#[derive(Debug, Clone)]
pub struct AdminState {
    /// Where publications go.
    pub broker: Broker,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// What `/readyz` answers from.
    pub readiness: Readiness,
    /// Where the sessions are.
    pub hubs: Hubs,
    /// What this process is, for the console.
    pub instance: InstanceInfo,
    /// Who may use the API.
    pub key: CurrentKey,
    /// The longest message, in bytes.
    pub max_payload_bytes: usize,
    /// How many connections may be open; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long the first head of a connection may take, and each body.
    pub request_timeout: Duration,
}

impl AdminState {
    /// Whether more than half of the connections are taken.
    fn is_crowded(&self) -> bool {
        self.metrics.admin_connections.get() > self.max_connections as i64 / 2
    }
}

/// How many connections may wait to be accepted. Few: whoever asks for health behind a crowd that says nothing waits
/// until all of it has timed out.
pub const BACKLOG: i32 = 128;

/// How many messages one batch may have.
pub const MAX_BATCH: usize = 1_000;
/// The longest request body: a full batch of short messages, or one of the longest with room for its frame.
fn body_limit(max_payload_bytes: usize) -> usize {
    max_payload_bytes.saturating_mul(2).max(1_048_576)
}

/// Every route of the admin port.
fn routes(admin: &AdminState) -> impl Fn(&mut ServiceConfig) + use<> {
    let admin = admin.clone();
    move |config| {
        config
            .app_data(web::PayloadConfig::new(body_limit(admin.max_payload_bytes)))
            .app_data(web::Data::new(admin.clone()))
            .service(resource("/livez", web::get().to(health::livez)))
            .service(resource("/readyz", web::get().to(health::readyz)))
            .service(resource("/metrics", web::get().to(health::metrics)))
            .service(resource("/v1/publish", web::post().to(publish::one)))
            .service(resource("/v1/publish/batch", web::post().to(publish::batch)))
            .service(resource("/v1/openapi.json", web::get().to(openapi::document)))
            .service(resource("/v1/status", web::get().to(status::status)))
            .service(resource("/v1/sessions", web::get().to(sessions::list)))
            .service(resource("/v1/sessions/{id}/disconnect", web::post().to(sessions::disconnect_one)))
            .service(resource("/v1/users/{user}/disconnect", web::post().to(sessions::disconnect_user)))
            .service(resource("/v1/token", web::post().to(token::mint)))
            .service(resource("/", web::get().to(console::redirect)))
            .service(resource("/console", web::get().to(console::page)))
            .service(resource("/console/app.js", web::get().to(console::script)))
            .service(resource("/console/app.css", web::get().to(console::style)))
            .default_service(web::to(|| async { ApiError::NotFound }));
    }
}

/// One path with its one method; another method is told so.
fn resource(path: &str, route: Route) -> Resource {
    web::resource(path).route(route).default_service(web::to(|| async { ApiError::MethodNotAllowed }))
}

/// An open connection of the admin port, counted until dropped.
struct OpenConnection(Metrics);

impl OpenConnection {
    fn new(metrics: &Metrics) -> Self {
        metrics.admin_connections.inc();
        Self(metrics.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.admin_connections.dec();
    }
}

/// Serves the admin routes from `listener` on a thread of their own. Signals are the caller's.
pub fn serve(listener: TcpListener, admin: AdminState) -> io::Result<Server> {
    let (max_connections, request_timeout) = (admin.max_connections, admin.request_timeout);
    let counted = admin.metrics.clone();
    let server = HttpServer::new(move || {
        let crowd = admin.clone();
        // Answers must not be cached, and browsers must not guess their type.
        let headers =
            DefaultHeaders::new().add((X_CONTENT_TYPE_OPTIONS, "nosniff")).add((CACHE_CONTROL, "no-store"));
        App::new().configure(routes(&admin)).wrap(headers).wrap_fn(move |mut request, service| {
            let unread = UnreadBody::take(&mut request);
            let answered = service.call(request);
            let is_crowded = crowd.is_crowded();
            let metrics = crowd.metrics.clone();
            async move {
                let mut response = answered.await?;
                let request = AdminRequest::new(
                    response.request().match_pattern().as_deref(),
                    response.status().as_u16(),
                );
                metrics.admin_requests.get_or_create(&request).inc();
                // Only a connection's first request has a deadline for its head. So those that live on may not
                // take all places.
                if is_crowded {
                    response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
                }
                Ok(response.map_body(|_, body| ResponseBody { body: Box::pin(body), _unread: unread }))
            }
        })
    })
    .workers(1)
    .max_connections(max_connections)
    .client_request_timeout(request_timeout)
    .h1_allow_half_closed(false)
    .on_connect(move |_, data| {
        data.insert(OpenConnection::new(&counted));
    })
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?;
    Ok(server.run())
}

#[cfg(test)]
mod tests;

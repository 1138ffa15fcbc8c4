//! The admin port: publishing for backends without Redis access, health, metrics. No sockets.
//!
//! All routes stand in one function, `routes`.

mod api_error;
mod health;
mod key;
mod publish;

use std::io;
use std::net::TcpListener;

use actix_web::dev::Server;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpServer, Resource, Route};

use self::api_error::ApiError;
pub use self::health::Readiness;
pub use self::key::ApiKey;
use crate::broker::Broker;
use crate::metrics::Metrics;

/// What the admin routes work with.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where publications go.
    pub broker: Broker,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// What `/readyz` answers from.
    pub readiness: Readiness,
    /// Who may publish.
    pub key: ApiKey,
    /// The longest message, in bytes.
    pub max_payload_bytes: usize,
}

/// How many messages one batch may have.
pub const MAX_BATCH: usize = 1_000;
/// The longest request body: a full batch of short messages, or one of the longest with room for its frame.
fn body_limit(max_payload_bytes: usize) -> usize {
    max_payload_bytes.saturating_mul(2).max(1_048_576)
}

/// Every route of the admin port.
fn routes(admin: &Admin) -> impl Fn(&mut ServiceConfig) + use<> {
    let admin = admin.clone();
    move |config| {
        config
            .app_data(web::PayloadConfig::new(body_limit(admin.max_payload_bytes)))
            .app_data(web::Data::new(admin.clone()))
            .service(at("/livez", web::get().to(health::livez)))
            .service(at("/readyz", web::get().to(health::readyz)))
            .service(at("/metrics", web::get().to(health::metrics)))
            .service(at("/v1/publish", web::post().to(publish::one)))
            .service(at("/v1/publish/batch", web::post().to(publish::batch)))
            .default_service(web::to(|| async { ApiError::NotFound }));
    }
}

/// One path with its one method; another method is told so.
fn at(path: &str, route: Route) -> Resource {
    web::resource(path).route(route).default_service(web::to(|| async { ApiError::MethodNotAllowed }))
}

/// Serves the admin routes from `listener` on a thread of their own. Signals are the caller's.
pub fn serve(listener: TcpListener, admin: Admin) -> io::Result<Server> {
    let routes = move || routes(&admin);
    let server = HttpServer::new(move || App::new().configure(routes()))
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .listen(listener)?;
    Ok(server.run())
}

#[cfg(test)]
mod tests;

//! The admin port. The function `routes` lists its routes.
//!
//! # Layout
//! - `publish`: publishing, for backends without Redis access
//! - `publish_connection`: a connection, which serves plain requests to publish itself
//! - `plain_publish`: recognizes such requests
//! - `presence`: which users are online
//! - `channels`: which channels are in use, and which users are in a room
//! - `history`: pages of the history of a channel
//! - `control`: commands to every replica
//! - `sessions`: short forms of commands
//! - `session_page`: pages of sessions
//! - `replicas`: the replicas of the deployment, for the console
//! - `status`: the state of this replica, for the console
//! - `token`: mints tokens in development
//! - `inbox`: reads and deletes the messages of clients
//! - `health`: liveness, readiness and metrics
//! - `console`, `openapi`: the console and the API document
//! - `auth`: authorization by key or origin
//! - `body`: reads the body of an authorized request
//! - `unread_body`: keeps the unread rest of a body until the response is written
//! - `api_error`: the errors of the API

mod api_error;
mod auth;
mod body;
mod channels;
mod console;
mod control;
mod health;
mod history;
mod inbox;
mod openapi;
mod plain_publish;
mod presence;
mod publish;
mod publish_connection;
mod query;
mod replicas;
mod session_page;
mod sessions;
mod status;
mod token;
mod unread_body;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use actix_http::{HttpService, Protocol};
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{ServiceFactory, fn_factory, fn_service, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Service, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, Resource, Route};

use self::api_error::ApiError;
pub use self::auth::{ApiKey, CurrentKey};
pub use self::control::{DEFAULT_LISTED, worker_timeout_detail};
pub use self::health::Readiness;
use self::publish_connection::{OtherStream, PublishConnection};
pub use self::replicas::{ReplicaReport, ReplicaReporter};
pub use self::session_page::SessionPage;
pub use self::status::InstanceInfo;
use self::unread_body::{ResponseBody, UnreadBody};
use crate::broker::Broker;
use crate::hub::Hubs;
use crate::metrics::{AdminRequest, Metrics};

/// The state that the handlers share.
#[derive(Debug, Clone)]
pub struct AdminState {
    /// Publishes, and reports its health.
    pub broker: Broker,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// The state that `/readyz` reports.
    pub readiness: Readiness,
    /// The workers with the sessions.
    pub hubs: Hubs,
    /// Facts about this process for the console.
    pub instance: InstanceInfo,
    /// How requests are authorized.
    pub key: CurrentKey,
    /// The longest message, in bytes; bounds the body of a request.
    pub max_payload_bytes: usize,
    /// Open connections. More wait in the queue of the kernel.
    pub max_connections: usize,
    /// The time for the first head of a connection, and for each body.
    pub request_timeout: Duration,
}

impl AdminState {
    /// Whether more than half of the connections are in use.
    fn is_crowded(&self) -> bool {
        self.metrics.admin_connections.get() > self.max_connections as i64 / 2
    }
}

/// Connections that may wait to be accepted. The number is small, because a health check waits until all silent
/// connections before it have timed out.
pub const BACKLOG: i32 = 128;

/// How long a connection may be idle between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The most messages of one batch.
pub const MAX_BATCH: usize = 1_000;
/// The most users of one request about presence.
pub const MAX_USERS: usize = 1_000;
/// The most entries of a page of channels or members.
pub const MAX_PAGE: usize = 1_000;

/// The longest request body, in bytes: a full batch of short messages, or one message of the maximum length in JSON.
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
            .service(
                web::resource("/v1/inbox")
                    .route(web::get().to(inbox::list))
                    .route(web::delete().to(inbox::delete))
                    .default_service(web::to(|| async { ApiError::MethodNotAllowed })),
            )
            .service(resource("/v1/status", web::get().to(status::status)))
            .service(resource("/v1/replicas", web::get().to(replicas::list)))
            .service(resource("/v1/control", web::post().to(control::control)))
            .service(resource("/v1/sessions", web::get().to(sessions::list)))
            .service(resource("/v1/sessions/{id}/disconnect", web::post().to(sessions::disconnect_one)))
            .service(resource("/v1/presence", web::post().to(presence::users)))
            .service(resource("/v1/users/{user}", web::get().to(presence::user)))
            .service(resource("/v1/channels", web::get().to(channels::list)))
            .service(resource("/v1/channels/{channel}", web::get().to(channels::channel)))
            .service(resource("/v1/channels/{channel}/members", web::get().to(channels::members)))
            .service(resource("/v1/channels/{channel}/history", web::get().to(history::history)))
            .service(resource("/v1/users/{user}/disconnect", web::post().to(sessions::disconnect_user)))
            .service(resource("/v1/token", web::post().to(token::mint)))
            .service(resource("/", web::get().to(console::redirect)))
            .service(resource("/console", web::get().to(console::page)))
            .service(resource("/console/app.js", web::get().to(console::script)))
            .service(resource("/console/app.css", web::get().to(console::style)))
            .default_service(web::to(|| async { ApiError::NotFound }));
    }
}

/// A path with one method. Other methods get `method_not_allowed`.
fn resource(path: &str, route: Route) -> Resource {
    web::resource(path).route(route).default_service(web::to(|| async { ApiError::MethodNotAllowed }))
}

/// Counts an open connection of the admin port until dropped.
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

/// The routes with what all responses have.
fn application(
    admin: AdminState,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    // Responses must not be cached, and browsers must not guess their type.
    let headers =
        DefaultHeaders::new().add((X_CONTENT_TYPE_OPTIONS, "nosniff")).add((CACHE_CONTROL, "no-store"));
    App::new().configure(routes(&admin)).wrap(headers).wrap_fn(move |mut request, service| {
        let unread = UnreadBody::take(&mut request);
        let answered = service.call(request);
        let is_crowded = admin.is_crowded();
        let metrics = admin.metrics.clone();
        async move {
            let mut response = answered.await?;
            let request =
                AdminRequest::new(response.request().match_pattern().as_deref(), response.status().as_u16());
            metrics.admin_requests.get_or_create(&request).inc();
            // Only the first request of a connection has a deadline for its head, so idle connections must not
            // use up all connections.
            if is_crowded {
                response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
            }
            Ok(response.map_body(|_, body| ResponseBody { body: Box::pin(body), _unread: unread }))
        }
    })
}

/// Serves a connection: plain requests to publish by itself, and from the first other request on by the HTTP server.
async fn serve_connection<S>(admin: &AdminState, http: &S, stream: TcpStream) -> Result<(), S::Error>
where
    S: Service<(OtherStream, Protocol, Option<SocketAddr>), Response = ()>,
{
    let _open = OpenConnection::new(&admin.metrics);
    let peer = stream.peer_addr().ok();
    match PublishConnection::new(admin, stream).serve().await {
        Some(stream) => http.call((stream, Protocol::Http1, peer)).await,
        None => Ok(()),
    }
}

/// Serves the admin routes from `listener` on a separate thread. The caller handles signals.
pub fn serve(listener: TcpListener, admin: AdminState) -> io::Result<Server> {
    let max_connections = admin.max_connections;
    let factory = move || {
        let admin = admin.clone();
        fn_factory(move || {
            let http = HttpService::build()
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(admin.request_timeout)
                .client_disconnect_timeout(Duration::from_secs(1))
                .h1_allow_half_closed(false)
                .finish(map_config(application(admin.clone()), |_| AppConfig::default()))
                .new_service(());
            let admin = Rc::new(admin.clone());
            async move {
                let http = Rc::new(http.await?);
                Ok::<_, ()>(fn_service(move |stream: TcpStream| {
                    let (admin, http) = (Rc::clone(&admin), Rc::clone(&http));
                    async move { serve_connection(&admin, &*http, stream).await }
                }))
            }
        })
    };
    let server = Server::build()
        .workers(1)
        .max_concurrent_connections(max_connections)
        .disable_signals()
        .shutdown_timeout(1)
        .listen("admin", listener, factory)?;
    Ok(server.run())
}

#[cfg(test)]
mod tests;

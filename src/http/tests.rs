//! Tests of the routes, with a broker in memory.

use std::sync::{Arc, Mutex};

use actix_web::http::StatusCode;
use actix_web::{App, test};
use serde_json::{Value, json};

use super::*;
use crate::auth::ReloadableAuthenticator;
use crate::broker::{HistoryOptions, HubEvent, Inbox, InboxFull};
use crate::session::admission::DrainSwitch;
use crate::session::staleness::Staleness;
use crate::settings::{ControlSettings, Settings, Sources, WhenStale};
use crate::socket::fd_limit::FdLimit;
use crate::socket::limits::ConnectionLimiter;
use protocol::channel::ChannelName;

#[derive(Default)]
struct RecordingInbox(Mutex<Vec<String>>);

impl Inbox for RecordingInbox {
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
        if let HubEvent::Publication(publication) = event {
            self.0.lock().unwrap().push(format!("{} {}", publication.channel(), publication.message()));
        }
        Ok(())
    }
}

fn admin(key: ApiKey) -> AdminState {
    let metrics = Metrics::default();
    let broker = Broker::memory(1_000, HistoryOptions::of_size(10), None, Duration::from_secs(60), &metrics);
    let settings = ControlSettings { max_stale: Duration::from_secs(60), when_stale: WhenStale::Accept };
    let readiness = Readiness {
        opaque: None,
        broker: broker.clone(),
        tokens: ReloadableAuthenticator::new(&Settings::load(&Sources::default()).unwrap().auth).unwrap(),
        staleness: Staleness::new(broker.clone(), settings),
        drain: DrainSwitch::default(),
        connections: ConnectionLimiter::default(),
        max_connections: 0,
        fd_limit: FdLimit::default(),
    };
    AdminState {
        broker,
        metrics,
        readiness,
        hubs: Hubs::default(),
        instance: InstanceInfo::for_tests(),
        key: CurrentKey::new(key),
        max_payload_bytes: 1_000,
        max_connections: 10,
        request_timeout: Duration::from_secs(5),
    }
}

/// Sends one request; returns its status and JSON.
async fn send(admin: &AdminState, request: test::TestRequest) -> (StatusCode, Value) {
    let app = test::init_service(App::new().configure(routes(admin))).await;
    let response = test::call_service(&app, request.to_request()).await;
    let status = response.status();
    let body = test::read_body(response).await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn post(path: &str, body: &str) -> test::TestRequest {
    test::TestRequest::post().uri(path).set_payload(body.to_owned())
}

#[actix_web::test]
async fn a_publication_keeps_its_bytes() {
    let admin = admin(ApiKey::Open);
    let inbox = Arc::new(RecordingInbox::default());
    let hub = admin.broker.attach(Arc::clone(&inbox) as _);
    admin.broker.subscribe(hub, 1, vec![ChannelName::parse("room:7").unwrap()], false);
    let body = r#"{"channel":"room:7","message":{"id": 5306328986810385677, "a":1.0}}"#;
    assert_eq!(send(&admin, post("/v1/publish", body)).await, (StatusCode::OK, json!({"replicas": 1})));
    assert_eq!(*inbox.0.lock().unwrap(), [r#"room:7 {"id": 5306328986810385677, "a":1.0}"#]);
    assert_eq!(admin.metrics.publications_accepted.get(), 1);
}

#[actix_web::test]
async fn a_durable_publication_is_answered_with_its_position() {
    let admin = admin(ApiKey::Open);
    let body = r#"{"channel":"room:7","message":1,"durable":true,"idempotency_key":"order-1"}"#;
    let (status, first) = send(&admin, post("/v1/publish", body)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(first["position"].as_str().unwrap().ends_with("-1"), "{first}");
    assert_eq!(send(&admin, post("/v1/publish", body)).await.1, first);
    let other = body.replace("order-1", "order-2");
    let batch = format!(r#"{{"messages":[{body},{other},{{"channel":"room:7","message":1}}]}}"#);
    let (_, response) = send(&admin, post("/v1/publish/batch", &batch)).await;
    assert_eq!(response["results"][0], first);
    assert!(response["results"][1]["position"].as_str().unwrap().ends_with("-2"));
    assert_eq!(response["results"][2], json!({"replicas": 0}));
}

#[actix_web::test]
async fn every_refusal_has_its_status_and_code() {
    let admin = admin(ApiKey::Open);
    let big = format!(r#"{{"channel":"room:7","message":"{}"}}"#, "x".repeat(1_000));
    for (body, status, code) in [
        ("", StatusCode::BAD_REQUEST, "bad_body"),
        (r#"{"channel":"room:7"}"#, StatusCode::BAD_REQUEST, "bad_body"),
        (r#"{"channel":"room:7","message":1,"durabel":true}"#, StatusCode::BAD_REQUEST, "bad_body"),
        (r#"{"channel":"room","message":1}"#, StatusCode::BAD_REQUEST, "bad_channel"),
        (
            r#"{"channel":"room:7","message":1,"idempotency_key":"k"}"#,
            StatusCode::BAD_REQUEST,
            "key_without_durable",
        ),
        (
            r#"{"channel":"room:7","message":1,"durable":true,"idempotency_key":""}"#,
            StatusCode::BAD_REQUEST,
            "bad_idempotency_key",
        ),
        (
            r#"{"channel":"room:7","message":1,"durable":true,"idempotency_key":"push"}"#,
            StatusCode::BAD_REQUEST,
            "bad_idempotency_key",
        ),
        (big.as_str(), StatusCode::PAYLOAD_TOO_LARGE, "too_big"),
    ] {
        let (found, response) = send(&admin, post("/v1/publish", body)).await;
        assert_eq!((found, response["error"]["code"].as_str()), (status, Some(code)), "{body}");
        assert!(response["error"]["detail"].is_string());
    }
}

#[actix_web::test]
async fn a_batch_gives_each_message_its_own_result() {
    let admin = admin(ApiKey::Open);
    let body = r#"{"messages":[{"channel":"room:7","message":1},{"channel":"room","message":1}]}"#;
    let (status, response) = send(&admin, post("/v1/publish/batch", body)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(response["results"][0], json!({"replicas": 0}));
    assert_eq!(response["results"][1]["error"]["code"], "bad_channel");
    let many = vec![r#"{"channel":"room:7","message":1}"#; MAX_BATCH + 1].join(",");
    let (status, response) =
        send(&admin, post("/v1/publish/batch", &format!(r#"{{"messages":[{many}]}}"#))).await;
    assert_eq!(
        (status, response["error"]["code"].as_str()),
        (StatusCode::BAD_REQUEST, Some("batch_too_long"))
    );
}

#[actix_web::test]
async fn publishing_needs_the_key_and_health_does_not() {
    let body = r#"{"channel":"room:7","message":1}"#;
    let closed = admin(ApiKey::Closed);
    assert_eq!(send(&closed, post("/v1/publish", body)).await.0, StatusCode::FORBIDDEN);
    let admin = admin(ApiKey::Required("key".to_owned().into()));
    for path in ["/v1/publish", "/v1/publish/batch"] {
        assert_eq!(send(&admin, post(path, body)).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    for (header, status) in [
        ("Bearer kex", StatusCode::UNAUTHORIZED),
        ("key", StatusCode::UNAUTHORIZED),
        ("Bearer key", StatusCode::OK),
    ] {
        let request = post("/v1/publish", body).insert_header(("Authorization", header));
        assert_eq!(send(&admin, request).await.0, status, "{header}");
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(send(&admin, test::TestRequest::get().uri(path)).await.0, StatusCode::OK, "{path}");
    }
}

#[actix_web::test]
async fn readyz_gives_its_reasons() {
    let admin = admin(ApiKey::Open);
    let readyz = || test::TestRequest::get().uri("/readyz");
    assert_eq!(send(&admin, readyz()).await, (StatusCode::OK, json!({"ready": true, "reasons": []})));
    admin.readiness.drain.start();
    let (status, response) = send(&admin, readyz()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response, json!({"ready": false, "reasons": ["this replica is draining"]}));
}

#[actix_web::test]
async fn an_unknown_route_is_not_found() {
    let (status, response) = send(&admin(ApiKey::Open), test::TestRequest::get().uri("/nope")).await;
    assert_eq!((status, response["error"]["code"].as_str()), (StatusCode::NOT_FOUND, Some("not_found")));
}

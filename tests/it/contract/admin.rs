//! Checks every path, status and error code of `docs/openapi.yaml` with real requests.

use std::collections::BTreeSet;
use std::thread;

use jsonschema::Draft;
use serde_json::{Value, json};

use super::{channels, control, history, inbox, operators, presence};
use crate::support::contract::{document, resolve, validator};
use crate::support::deadline::eventually;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::http::{self, Answer};
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

pub(super) const KEY: &str = "the-key-of-the-admin-api";
const BODY_ROUTES: [&str; 5] =
    ["/v1/publish", "/v1/publish/batch", "/v1/presence", "/v1/control", "/v1/token"];
const GOOD: &str = r#"{"channel":"user:42","message":1}"#;
const DURABLE: &str = r#"{"channel":"user:42","message":1,"durable":true}"#;

/// The document, and the parts of it that requests have covered.
pub(super) struct Coverage {
    pub(super) document: Value,
    answers: BTreeSet<(String, String)>,
    codes: BTreeSet<String>,
}

impl Coverage {
    pub(super) fn new() -> Self {
        Self { document: document("openapi.yaml"), answers: BTreeSet::new(), codes: BTreeSet::new() }
    }

    #[track_caller]
    pub(super) fn matches(&self, schema: &Value, value: &Value) -> bool {
        validator(&self.document, schema, Draft::Draft202012).is_valid(value)
    }

    /// Returns the documented path template that `path` matches.
    #[track_caller]
    fn documented_path(&self, path: &str) -> String {
        let path = path.split('?').next().unwrap();
        let paths = self.document["paths"].as_object().unwrap().keys();
        let is_of = |template: &&String| {
            let (found, parts) = (path.split('/'), template.split('/'));
            found.clone().count() == parts.clone().count()
                && found.zip(parts).all(|(found, part)| found == part || part.starts_with('{'))
        };
        paths.clone().find(is_of).unwrap_or_else(|| panic!("{path} is not documented")).clone()
    }

    /// Checks an answer against the document and records its path and status.
    #[track_caller]
    pub(super) fn check(&mut self, method: &str, path: &str, body: &str, answer: &Answer) {
        let path = &self.documented_path(path);
        let operation = self.document["paths"][path][method].clone();
        let status = answer.status.to_string();
        let response = resolve(&self.document, &operation["responses"][&status]).clone();
        assert!(
            response.is_object(),
            "{method} {path} answers {status}, which is not documented: {}",
            answer.body
        );
        self.check_response(&format!("{method} {path} {status}"), &response, answer);
        let content = &operation["requestBody"]["content"]["application/json"]["schema"];
        if answer.status == 200 && !content.is_null() {
            assert!(
                self.matches(content, &serde_json::from_str(body).unwrap()),
                "the gateway accepted {body}, which does not match the document"
            );
        }
        self.answers.insert((format!("{method} {path}"), status));
    }

    #[track_caller]
    fn check_response(&mut self, what: &str, response: &Value, answer: &Answer) {
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let value = answer.header(name).unwrap_or_else(|| panic!("{what}: no {name}"));
            assert!(self.matches(&header["schema"], &json!(value)), "{what}: {name}: {value}");
        }
        if response["content"].is_null() {
            return assert_eq!(answer.body, "", "{what}");
        }
        let media = answer.header("content-type").unwrap().split(';').next().unwrap().to_owned();
        let schema = &response["content"][&media]["schema"];
        assert!(!schema.is_null(), "{what}: {media} is not documented");
        let body = if media == "application/json" { answer.json() } else { json!(answer.body) };
        assert!(self.matches(schema, &body), "{what}: {body}");
        let results = body["results"].as_array().into_iter().flatten();
        let codes = results.chain([&body]).filter_map(|result| result["error"]["code"].as_str());
        self.codes.extend(codes.map(str::to_owned));
    }

    #[track_caller]
    pub(super) fn post(&mut self, gateway: &TestGateway, path: &str, body: &str) -> Answer {
        self.post_with(gateway, path, &format!("Bearer {KEY}"), body)
    }

    #[track_caller]
    pub(super) fn post_with(
        &mut self,
        gateway: &TestGateway,
        path: &str,
        authorization: &str,
        body: &str,
    ) -> Answer {
        let answer = post(gateway, path, authorization, body);
        self.check("post", path, body, &answer);
        answer
    }

    /// Publishes a message alone and in a batch.
    #[track_caller]
    fn post_both(&mut self, gateway: &TestGateway, message: &str) {
        self.post(gateway, "/v1/publish", message);
        self.post(gateway, "/v1/publish/batch", &batch([message]));
    }

    #[track_caller]
    pub(super) fn get(&mut self, gateway: &TestGateway, path: &str) -> Answer {
        self.get_with(gateway, path, &format!("authorization: Bearer {KEY}"))
    }

    /// Sends a GET request with a header instead of the key.
    #[track_caller]
    pub(super) fn get_with(&mut self, gateway: &TestGateway, path: &str, header: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\nconnection: close\n{header}");
        let answer = http::request(gateway.admin, &head, "");
        self.check("get", path, "", &answer);
        answer
    }

    /// Requests every route that needs the key, without the key and with a wrong one.
    #[track_caller]
    fn check_locked_routes(&mut self, gateway: &TestGateway, status: u16) {
        for (method, path) in operations(&self.document) {
            if self.document["paths"][&path][&method]["security"].is_null() {
                continue;
            }
            let request_path =
                path.replace("{id}", &"0".repeat(32)).replace("{user}", "42").replace("{channel}", "room:7");
            let head = format!("{} {request_path} HTTP/1.1\nconnection: close", method.to_uppercase());
            for key in ["", "\nauthorization: Bearer wrong"] {
                let answer = http::request(gateway.admin, &format!("{head}{key}"), "");
                assert_eq!(answer.status, status, "{method} {path}");
                self.check(&method, &request_path, "", &answer);
            }
        }
    }

    /// Asserts that the requests have covered the whole document.
    #[track_caller]
    fn assert_complete(&self) {
        let all = operations(&self.document).into_iter().flat_map(|(method, path)| {
            let statuses = self.document["paths"][&path][&method]["responses"].as_object().unwrap().keys();
            statuses.map(move |status| (format!("{method} {path}"), status.clone()))
        });
        assert_eq!(self.answers, all.collect());
        let codes = &self.document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]
            ["enum"];
        let codes: BTreeSet<String> = serde_json::from_value(codes.clone()).unwrap();
        assert_eq!(self.codes, codes);
    }
}

/// Lists the method and the path of each operation.
fn operations(document: &Value) -> Vec<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone()))
    });
    operations.collect()
}

fn post(gateway: &TestGateway, path: &str, authorization: &str, body: &str) -> Answer {
    let head = format!("POST {path} HTTP/1.1\nconnection: close\nauthorization: {authorization}");
    http::request(gateway.admin, &head, body)
}

fn batch<'a>(messages: impl IntoIterator<Item = &'a str>) -> String {
    format!(r#"{{"messages":[{}]}}"#, messages.into_iter().collect::<Vec<_>>().join(","))
}

/// A gateway with a key. Its timeouts are long, because a busy machine may take seconds for a body or a command. Tests of
/// timeouts shorten the one that they need.
pub(super) fn plan() -> Plan {
    TestGateway::with("admin.api_key", KEY).with("admin.request_timeout", "1m")
}

/// For a Redis that works: its answers may be late.
pub(super) fn patient(plan: &Plan) -> TestGateway {
    let gateway = plan.clone().with("broker.response_timeout", "15s").spawn();
    gateway.wait_ready();
    gateway
}

/// For a Redis that is to be stopped: each request to it takes as long as the timeout. A gateway may be ready before it
/// can ask Redis, so this waits until Redis refuses `path`. A probe that times out ends the link, and then requests are
/// refused at once, so there is none in the meantime.
pub(super) fn hasty(coverage: &mut Coverage, plan: &Plan, path: &str) -> TestGateway {
    let plan = plan.clone().with("broker.response_timeout", "500ms");
    let gateway = plan.with("broker.probe_interval", "30s").with("broker.probe_timeout", "1m").spawn();
    eventually(SOON, || (coverage.get(&gateway, path).status == 502).then_some(()));
    gateway.wait_ready();
    gateway
}

/// A body that does not arrive. The requests wait at the same time.
fn exercise_unfinished_bodies(coverage: &mut Coverage) {
    let gateway = plan().with("admin.request_timeout", "2s").spawn();
    let answers = thread::scope(|scope| {
        let threads = BODY_ROUTES.map(|path| {
            let head = format!(
                "POST {path} HTTP/1.1\nconnection: close\nauthorization: Bearer {KEY}\ncontent-length: 10"
            );
            scope.spawn(move || http::request(gateway.admin, &head, ""))
        });
        threads.map(|thread| thread.join().unwrap())
    });
    for (path, answer) in BODY_ROUTES.iter().zip(answers) {
        assert_eq!(answer.status, 408, "{path}");
        coverage.check("post", path, "", &answer);
    }
}

/// Sends requests to a healthy gateway.
fn exercise_healthy_gateway(coverage: &mut Coverage) {
    let gateway = plan().spawn();
    for path in ["/livez", "/readyz", "/metrics", "/v1/openapi.json"] {
        coverage.get(&gateway, path);
    }
    assert_eq!(gateway.get("/v1/openapi.json").json(), coverage.document);
    for message in [GOOD, DURABLE] {
        coverage.post_both(&gateway, message);
    }
    coverage.check_locked_routes(&gateway, 401);
    for bad in [
        "{",
        r#"{"channel":"nowhere","message":1}"#,
        r#"{"channel":"user:42","message":1,"idempotency_key":"k"}"#,
        r#"{"channel":"user:42","message":1,"durable":true,"idempotency_key":""}"#,
        r#"{"channel":"user:42","message":"\ud800"}"#,
    ] {
        assert_eq!(coverage.post(&gateway, "/v1/publish", bad).status, 400, "{bad}");
    }
    for (message, status) in [("1", 200), ("2", 409)] {
        let body = DURABLE.replace(":1,", &format!(r#":{message},"idempotency_key":"k","#));
        assert_eq!(coverage.post(&gateway, "/v1/publish", &body).status, status);
    }
    coverage.post(&gateway, "/v1/publish/batch", &batch(vec![GOOD; 1001]));
    let long = |bytes| format!(r#"{{"channel":"user:42","message":"{}"}}"#, "x".repeat(bytes));
    coverage.post(&gateway, "/v1/publish", &long(1_100_000));
    for path in BODY_ROUTES {
        assert_eq!(coverage.post(&gateway, path, &long(3_000_000)).status, 413);
    }
    for (answer, name) in
        [(gateway.get("/nowhere"), "NotFound"), (gateway.get("/v1/publish"), "MethodNotAllowed")]
    {
        let response = coverage.document["components"]["responses"][name].clone();
        coverage.check_response(name, &response, &answer);
    }
}

/// Sends requests to a gateway whose Redis fails.
fn exercise_redis_faults(coverage: &mut Coverage) {
    let redis = RedisServer::start();
    let with_redis = plan().redis(&redis);
    redis::cmd("SET").arg("gateway:user:42").arg("no history").exec(&mut redis.client()).unwrap();
    assert_eq!(coverage.post(&patient(&with_redis), "/v1/publish", DURABLE).status, 502);
    let gateway = with_redis.with("broker.response_timeout", "2s").spawn();
    gateway.wait_ready();
    redis.stop();
    assert_eq!(coverage.post(&gateway, "/v1/publish", GOOD).status, 504);
    let full = batch(vec![GOOD; 1000]);
    let send = || post(&gateway, "/v1/publish/batch", &format!("Bearer {KEY}"), &full);
    // Three requests at once exceed the queue. On a busy machine they may arrive one after the other.
    eventually(SOON, || {
        let answers = thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(send));
            threads.map(|thread| thread.join().unwrap())
        });
        answers.iter().for_each(|answer| coverage.check("post", "/v1/publish/batch", &full, answer));
        coverage.codes.contains("busy").then_some(())
    });
    redis.cont();
    let old = RedisServer::start_with(&["--rename-command", "FUNCTION", ""]);
    let gateway = patient(&plan().redis(&old));
    coverage.get(&gateway, "/readyz");
    assert_eq!(coverage.post(&gateway, "/v1/publish", DURABLE).status, 503);
    let gateway = plan().redis(&RedisServer::reserve(&[])).spawn();
    coverage.get(&gateway, "/readyz");
    assert_eq!(coverage.post(&gateway, "/v1/publish", GOOD).status, 503);
}

#[test]
fn every_path_status_and_error_code_is_answered_as_documented() {
    let mut coverage = Coverage::new();
    exercise_healthy_gateway(&mut coverage);
    exercise_unfinished_bodies(&mut coverage);
    exercise_redis_faults(&mut coverage);
    let closed = TestGateway::with("auth.kind", "jwt")
        .with("auth.secret", "0123456789abcdef0123456789abcdef")
        .with("server.allowed_origins", "https://app.example.com")
        .with("broker.url", "memory:")
        .variable("GATEWAY_PROFILE", "production")
        .spawn();
    coverage.check_locked_routes(&closed, 403);
    operators::exercise_operator_routes(&mut coverage);
    operators::exercise_cross_origin_requests(&mut coverage);
    #[cfg(target_os = "linux")]
    operators::exercise_stalled_worker(&mut coverage);
    operators::exercise_refused_minting(&mut coverage);
    presence::exercise_presence(&mut coverage);
    presence::exercise_presence_without_redis(&mut coverage);
    channels::exercise_channels(&mut coverage);
    inbox::exercise_inbox(&mut coverage);
    history::exercise_histories(&mut coverage);
    control::exercise_commands(&mut coverage);
    control::exercise_commands_without_redis(&mut coverage);
    coverage.assert_complete();
}

/// The test above would not notice a route that the document does not have.
#[test]
fn every_route_and_error_code_is_documented() {
    let document = document("openapi.yaml");
    let source = include_str!("../../../src/http/mod.rs");
    let routes =
        source.match_indices("resource(\"").map(|(at, _)| source[at + 10..].split('"').next().unwrap());
    let documented = document["paths"].as_object().unwrap().keys().map(String::as_str);
    assert_eq!(routes.collect::<BTreeSet<_>>(), documented.collect());
    let codes = document.pointer("/components/schemas/Error/properties/error/properties/code/enum").unwrap();
    let codes: BTreeSet<&str> = codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    let source = include_str!("../../../src/http/api_error.rs").split("fn code(").nth(1).unwrap();
    let source = source.split("\n    }\n").next().unwrap();
    let given = source.match_indices("=> \"").map(|(at, _)| source[at + 4..].split('"').next().unwrap());
    assert_eq!(given.collect::<BTreeSet<_>>(), codes);
}

#[test]
fn exactly_the_routes_that_need_the_key_document_it() {
    let document = document("openapi.yaml");
    for (method, path) in operations(&document) {
        let operation = &document["paths"][&path][&method];
        let is_locked = !operation["security"].is_null();
        for status in ["401", "403"] {
            assert_eq!(is_locked, !operation["responses"][status].is_null(), "{method} {path} {status}");
        }
    }
}

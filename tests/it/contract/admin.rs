//! The admin port: every path, every status and every error code of `docs/openapi.yaml`, by real requests.

use std::collections::BTreeSet;

use jsonschema::Draft;
use serde_json::{Value, json};

use super::operators;
use crate::support::contract::{document, resolve, validator};
use crate::support::deadline::eventually;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::http::{self, Answer};
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

pub(super) const KEY: &str = "the-key-of-the-admin-api";
const GOOD: &str = r#"{"channel":"user:42","message":1}"#;
const DURABLE: &str = r#"{"channel":"user:42","message":1,"durable":true}"#;

/// The document, and what of it has been seen.
pub(super) struct Seen {
    pub(super) document: Value,
    answers: BTreeSet<(String, String)>,
    codes: BTreeSet<String>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { document: document("openapi.yaml"), answers: BTreeSet::new(), codes: BTreeSet::new() }
    }

    #[track_caller]
    pub(super) fn fits(&self, schema: &Value, value: &Value) -> bool {
        validator(&self.document, schema, Draft::Draft202012).is_valid(value)
    }

    /// The documented path that this one is of.
    #[track_caller]
    fn documented(&self, path: &str) -> String {
        let path = path.split('?').next().unwrap();
        let paths = self.document["paths"].as_object().unwrap().keys();
        let is_of = |template: &&String| {
            let (found, parts) = (path.split('/'), template.split('/'));
            found.clone().count() == parts.clone().count()
                && found.zip(parts).all(|(found, part)| found == part || part.starts_with('{'))
        };
        paths.clone().find(is_of).unwrap_or_else(|| panic!("{path} is not documented")).clone()
    }

    /// Notes an answer to a documented request; it must be as its status says.
    #[track_caller]
    pub(super) fn answered(&mut self, method: &str, path: &str, body: &str, answer: &Answer) {
        let path = &self.documented(path);
        let operation = self.document["paths"][path][method].clone();
        let status = answer.status.to_string();
        let response = resolve(&self.document, &operation["responses"][&status]).clone();
        assert!(
            response.is_object(),
            "{method} {path} answers {status}, which is not documented: {}",
            answer.body
        );
        self.fits_response(&format!("{method} {path} {status}"), &response, answer);
        let content = &operation["requestBody"]["content"]["application/json"]["schema"];
        if answer.status == 200 && !content.is_null() {
            assert!(self.fits(content, &serde_json::from_str(body).unwrap()), "{body} was taken");
        }
        self.answers.insert((format!("{method} {path}"), status));
    }

    #[track_caller]
    fn fits_response(&mut self, what: &str, response: &Value, answer: &Answer) {
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let value = answer.header(name).unwrap_or_else(|| panic!("{what}: no {name}"));
            assert!(self.fits(&header["schema"], &json!(value)), "{what}: {name}: {value}");
        }
        if response["content"].is_null() {
            return assert_eq!(answer.body, "", "{what}");
        }
        let media = answer.header("content-type").unwrap().split(';').next().unwrap().to_owned();
        let schema = &response["content"][&media]["schema"];
        assert!(!schema.is_null(), "{what}: {media} is not documented");
        let body = if media == "application/json" { answer.json() } else { json!(answer.body) };
        assert!(self.fits(schema, &body), "{what}: {body}");
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
        self.answered("post", path, body, &answer);
        answer
    }

    /// Publishes alone and in a batch.
    #[track_caller]
    fn post_both(&mut self, gateway: &TestGateway, message: &str) {
        self.post(gateway, "/v1/publish", message);
        self.post(gateway, "/v1/publish/batch", &batch([message]));
    }

    #[track_caller]
    pub(super) fn get(&mut self, gateway: &TestGateway, path: &str) -> Answer {
        self.get_with(gateway, path, &format!("authorization: Bearer {KEY}"))
    }

    /// With a header of one's own.
    #[track_caller]
    pub(super) fn get_with(&mut self, gateway: &TestGateway, path: &str, header: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\nconnection: close\n{header}");
        let answer = http::request(gateway.admin, &head, "");
        self.answered("get", path, "", &answer);
        answer
    }

    /// Asks for everything that is locked without the key of `gateway`.
    #[track_caller]
    fn is_locked_out(&mut self, gateway: &TestGateway, status: u16) {
        for (method, path) in operations(&self.document) {
            if self.document["paths"][&path][&method]["security"].is_null() {
                continue;
            }
            let asked = path.replace("{id}", &"0".repeat(32)).replace("{user}", "42");
            let head = format!("{} {asked} HTTP/1.1\nconnection: close", method.to_uppercase());
            for key in ["", "\nauthorization: Bearer wrong"] {
                let answer = http::request(gateway.admin, &format!("{head}{key}"), "");
                assert_eq!(answer.status, status, "{method} {path}");
                self.answered(&method, &asked, "", &answer);
            }
        }
    }

    /// Everything that is documented has been there.
    #[track_caller]
    fn has_seen_all(&self) {
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

/// The method and the path of each operation.
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

pub(super) fn plan() -> Plan {
    TestGateway::with("admin.api_key", KEY).with("admin.request_timeout", "500ms")
}

/// Requests of a gateway that is well.
fn what_a_gateway_in_health_answers(seen: &mut Seen) {
    let gateway = plan().spawn();
    for path in ["/livez", "/readyz", "/metrics", "/v1/openapi.json"] {
        seen.get(&gateway, path);
    }
    assert_eq!(gateway.get("/v1/openapi.json").json(), seen.document);
    let key = format!("Bearer {KEY}");
    for message in [GOOD, DURABLE] {
        seen.post_both(&gateway, message);
    }
    seen.is_locked_out(&gateway, 401);
    for bad in [
        "{",
        r#"{"channel":"nowhere","message":1}"#,
        r#"{"channel":"user:42","message":1,"idempotency_key":"k"}"#,
        r#"{"channel":"user:42","message":1,"durable":true,"idempotency_key":""}"#,
        r#"{"channel":"user:42","message":"\ud800"}"#,
    ] {
        assert_eq!(seen.post(&gateway, "/v1/publish", bad).status, 400, "{bad}");
    }
    for (message, status) in [("1", 200), ("2", 409)] {
        let body = DURABLE.replace(":1,", &format!(r#":{message},"idempotency_key":"k","#));
        assert_eq!(seen.post(&gateway, "/v1/publish", &body).status, status);
    }
    seen.post(&gateway, "/v1/publish/batch", &batch(vec![GOOD; 1001]));
    let long = |bytes| format!(r#"{{"channel":"user:42","message":"{}"}}"#, "x".repeat(bytes));
    seen.post(&gateway, "/v1/publish", &long(1_100_000));
    for path in ["/v1/publish", "/v1/publish/batch", "/v1/token"] {
        assert_eq!(seen.post(&gateway, path, &long(3_000_000)).status, 413);
        let head =
            format!("POST {path} HTTP/1.1\nconnection: close\nauthorization: {key}\ncontent-length: 10");
        let unfinished = http::request(gateway.admin, &head, "");
        seen.answered("post", path, "", &unfinished);
    }
    for (answer, name) in
        [(gateway.get("/nowhere"), "NotFound"), (gateway.get("/v1/publish"), "MethodNotAllowed")]
    {
        let response = seen.document["components"]["responses"][name].clone();
        seen.fits_response(name, &response, &answer);
    }
}

/// Requests of a gateway whose Redis is ill.
fn what_a_gateway_answers_whose_redis_is_ill(seen: &mut Seen) {
    let redis = RedisServer::start();
    let gateway = plan().redis(&redis).with("broker.response_timeout", "2s").spawn();
    gateway.wait_ready();
    redis::cmd("SET").arg("gateway:user:42").arg("no history").exec(&mut redis.client()).unwrap();
    assert_eq!(seen.post(&gateway, "/v1/publish", DURABLE).status, 502);
    redis.stop();
    assert_eq!(seen.post(&gateway, "/v1/publish", GOOD).status, 504);
    let full = batch(vec![GOOD; 1000]);
    let send = || post(&gateway, "/v1/publish/batch", &format!("Bearer {KEY}"), &full);
    // Three at once are more than may wait. On a busy machine they may come one after the other.
    eventually(SOON, || {
        let answers = std::thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(send));
            threads.map(|thread| thread.join().unwrap())
        });
        answers.iter().for_each(|answer| seen.answered("post", "/v1/publish/batch", &full, answer));
        seen.codes.contains("busy").then_some(())
    });
    redis.cont();
    let old = RedisServer::start_with(&["--rename-command", "FUNCTION", ""]);
    let gateway = plan().redis(&old).spawn();
    gateway.wait_ready();
    seen.get(&gateway, "/readyz");
    assert_eq!(seen.post(&gateway, "/v1/publish", DURABLE).status, 503);
    let gateway = plan().redis(&RedisServer::reserve(&[])).spawn();
    seen.get(&gateway, "/readyz");
    assert_eq!(seen.post(&gateway, "/v1/publish", GOOD).status, 503);
}

#[test]
fn every_path_status_and_error_code_is_answered_as_documented() {
    let mut seen = Seen::new();
    what_a_gateway_in_health_answers(&mut seen);
    what_a_gateway_answers_whose_redis_is_ill(&mut seen);
    let closed = TestGateway::with("auth.kind", "jwt")
        .with("auth.secret", "0123456789abcdef0123456789abcdef")
        .with("server.allowed_origins", "https://app.example.com")
        .with("broker.url", "memory:")
        .variable("GATEWAY_PROFILE", "production")
        .spawn();
    seen.is_locked_out(&closed, 403);
    operators::what_operators_are_answered(&mut seen);
    operators::what_a_page_from_elsewhere_is_answered(&mut seen);
    #[cfg(target_os = "linux")]
    operators::what_is_answered_while_a_worker_stands_still(&mut seen);
    operators::who_may_not_mint(&mut seen);
    seen.has_seen_all();
}

/// A route without a line in the document would be missed by the test above.
#[test]
fn every_route_and_every_error_code_of_the_source_is_documented() {
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
fn what_asks_for_the_key_says_so_and_nothing_else_does() {
    let document = document("openapi.yaml");
    for (method, path) in operations(&document) {
        let operation = &document["paths"][&path][&method];
        let is_locked = !operation["security"].is_null();
        for status in ["401", "403"] {
            assert_eq!(is_locked, !operation["responses"][status].is_null(), "{method} {path} {status}");
        }
    }
}

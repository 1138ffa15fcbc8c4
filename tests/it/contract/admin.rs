//! The admin port: every path, every status and every error code of `docs/openapi.yaml`, by real requests.

use std::collections::BTreeSet;
use std::sync::Barrier;

use jsonschema::Draft;
use serde_json::{Value, json};

use crate::support::contract::{document, resolve, validator};
use crate::support::gateway::{Plan, TestGateway};
use crate::support::http::{self, Answer};
use crate::support::redis_server::RedisServer;

const KEY: &str = "the-key-of-the-admin-api";
const GOOD: &str = r#"{"channel":"user:42","message":1}"#;
const DURABLE: &str = r#"{"channel":"user:42","message":1,"durable":true}"#;

/// The document, and what of it has been seen.
struct Seen {
    document: Value,
    answers: BTreeSet<(String, String)>,
    codes: BTreeSet<String>,
}

impl Seen {
    fn new() -> Self {
        Self { document: document("openapi.yaml"), answers: BTreeSet::new(), codes: BTreeSet::new() }
    }

    #[track_caller]
    fn fits(&self, schema: &Value, value: &Value) -> bool {
        validator(&self.document, schema, Draft::Draft202012).is_valid(value)
    }

    /// Notes an answer to a documented request; it must be as its status says.
    #[track_caller]
    fn answered(&mut self, method: &str, path: &str, body: &str, answer: &Answer) {
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
    fn post(&mut self, gateway: &TestGateway, path: &str, body: &str) -> Answer {
        self.post_with(gateway, path, &format!("Bearer {KEY}"), body)
    }

    #[track_caller]
    fn post_with(&mut self, gateway: &TestGateway, path: &str, authorization: &str, body: &str) -> Answer {
        let answer = post(gateway, path, authorization, body);
        self.answered("post", path, body, &answer);
        answer
    }

    /// Publishes alone and in a batch.
    #[track_caller]
    fn post_both(&mut self, gateway: &TestGateway, authorization: &str, message: &str) {
        self.post_with(gateway, "/v1/publish", authorization, message);
        self.post_with(gateway, "/v1/publish/batch", authorization, &batch([message]));
    }

    #[track_caller]
    fn get(&mut self, gateway: &TestGateway, path: &str) {
        let answer = gateway.get(path);
        self.answered("get", path, "", &answer);
    }

    /// Everything that is documented has been there.
    #[track_caller]
    fn has_seen_all(&self) {
        let all = self.document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().iter().flat_map(move |(method, operation)| {
                let statuses = operation["responses"].as_object().unwrap().keys();
                statuses.map(move |status| (format!("{method} {path}"), status.clone()))
            })
        });
        assert_eq!(self.answers, all.collect());
        let codes = &self.document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]
            ["enum"];
        let codes: BTreeSet<String> = serde_json::from_value(codes.clone()).unwrap();
        assert_eq!(self.codes, codes);
    }
}

fn post(gateway: &TestGateway, path: &str, authorization: &str, body: &str) -> Answer {
    let head = format!("POST {path} HTTP/1.1\nconnection: close\nauthorization: {authorization}");
    http::request(gateway.admin, &head, body)
}

fn batch<'a>(messages: impl IntoIterator<Item = &'a str>) -> String {
    format!(r#"{{"messages":[{}]}}"#, messages.into_iter().collect::<Vec<_>>().join(","))
}

fn plan() -> Plan {
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
        seen.post_both(&gateway, &key, message);
    }
    seen.post_both(&gateway, "Bearer wrong", GOOD);
    for bad in [
        "{",
        r#"{"channel":"nowhere","message":1}"#,
        r#"{"channel":"user:42","message":1,"idempotency_key":"k"}"#,
        r#"{"channel":"user:42","message":1,"durable":true,"idempotency_key":""}"#,
    ] {
        assert_eq!(seen.post(&gateway, "/v1/publish", bad).status, 400, "{bad}");
    }
    seen.post(&gateway, "/v1/publish/batch", &batch(vec![GOOD; 1001]));
    let long = |bytes| format!(r#"{{"channel":"user:42","message":"{}"}}"#, "x".repeat(bytes));
    seen.post(&gateway, "/v1/publish", &long(1_100_000));
    for path in ["/v1/publish", "/v1/publish/batch"] {
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
    let (full, at_once) = (batch(vec![GOOD; 1000]), Barrier::new(3));
    let send = || {
        at_once.wait();
        post(&gateway, "/v1/publish/batch", &format!("Bearer {KEY}"), &full)
    };
    let answers = std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(send));
        threads.map(|thread| thread.join().unwrap())
    });
    redis.cont();
    answers.iter().for_each(|answer| seen.answered("post", "/v1/publish/batch", &full, answer));
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
    seen.post_both(&closed, "Bearer any", GOOD);
    seen.has_seen_all();
}

/// What the console and operators use besides. It may change with them, and docs/operations.md describes it; what the
/// document has is for programs.
const FOR_THE_CONSOLE: [&str; 9] = [
    "/",
    "/console",
    "/console/app.js",
    "/console/app.css",
    "/v1/status",
    "/v1/sessions",
    "/v1/sessions/{id}/disconnect",
    "/v1/users/{user}/disconnect",
    "/v1/token",
];
const CODES_OF_THE_CONSOLE: [&str; 7] = [
    "foreign_page",
    "minting_off",
    "not_minted",
    "bad_query",
    "bad_user",
    "no_such_session",
    "worker_timeout",
];

/// A route without a line in the document would be missed by the test above.
#[test]
fn every_route_and_every_error_code_of_the_source_is_documented() {
    let document = document("openapi.yaml");
    let routes = include_str!("../../../src/http/mod.rs");
    let mut found = 0;
    for (at, _) in routes.match_indices("at(\"") {
        let path = routes[at + 4..].split('"').next().unwrap();
        let is_documented = document["paths"][path].is_object();
        assert_ne!(is_documented, FOR_THE_CONSOLE.contains(&path), "{path} and docs/openapi.yaml");
        found += 1;
    }
    assert!(found >= 6, "only {found} routes were found");
    let codes = document.pointer("/components/schemas/Error/properties/error/properties/code/enum").unwrap();
    let codes: BTreeSet<&str> = codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    let source = include_str!("../../../src/http/api_error.rs").split("fn code(").nth(1).unwrap();
    let source = source.split("\n    }\n").next().unwrap();
    let given = source.match_indices("=> \"").map(|(at, _)| source[at + 4..].split('"').next().unwrap());
    let (own, given): (BTreeSet<&str>, BTreeSet<&str>) =
        given.partition(|code| CODES_OF_THE_CONSOLE.contains(code));
    assert_eq!(given, codes);
    assert_eq!(own, BTreeSet::from(CODES_OF_THE_CONSOLE));
}

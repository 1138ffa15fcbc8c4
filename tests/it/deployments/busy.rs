//! A server that does not run commands for a moment answers BUSY, which stands for all answers of that kind.

use std::thread;
use std::time::Duration;

use redis::cmd;

use super::plan;
use crate::support::deadline::eventually;
use crate::support::fault_proxy::hold;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

/// Shorter than `broker.response_timeout`.
const BUSY: Duration = Duration::from_millis(400);

/// What backends and operators ask for.
const REQUESTS: [(&str, Option<&str>); 6] = [
    ("/v1/publish", Some(r#"{"channel":"user:42","message":1}"#)),
    ("/v1/publish", Some(r#"{"channel":"user:42","message":2,"durable":true}"#)),
    ("/v1/control", Some(r#"{"disconnect":{"user":"43"}}"#)),
    ("/v1/users/42", None),
    ("/v1/inbox", None),
    ("/v1/channels/user:42/history", None),
];

fn status(gateway: &TestGateway, (path, body): (&str, Option<&str>)) -> (u16, String) {
    let answer = match body {
        Some(body) => gateway.post(path, body),
        None => gateway.get(path),
    };
    (answer.status, answer.body)
}

#[test]
fn every_call_waits_for_a_busy_redis() {
    let redis = RedisServer::start_with(&["--busy-reply-threshold", "1"]);
    let settings = [("presence.enabled", "true"), ("broker.probe_interval", "9s")];
    let plan = settings.into_iter().fold(plan(&redis.url()), |plan, (key, value)| plan.with(key, value));
    let gateway = plan.with("broker.response_timeout", "5s").spawn();
    gateway.wait_ready();
    let (mut busy, mut admin) = (redis.client(), redis.client());
    thread::scope(|scope| {
        scope.spawn(|| cmd("EVAL").arg("while true do end").arg(0).exec(&mut busy).unwrap_err());
        eventually(SOON, || cmd("PING").exec(&mut admin).is_err().then_some(()));
        let gateway = &gateway;
        let asked = REQUESTS.map(|request| (request, scope.spawn(move || status(gateway, request))));
        hold(BUSY);
        cmd("SCRIPT").arg("KILL").exec(&mut admin).unwrap();
        for (request, answer) in asked {
            let (status, body) = answer.join().unwrap();
            assert_eq!(status, 200, "{request:?}: {body}");
        }
    });
    assert!(gateway.get("/readyz").json()["notes"].is_null(), "{}", gateway.get("/readyz").body);
    assert_eq!(gateway.metric("redis_link_up"), 1);
}

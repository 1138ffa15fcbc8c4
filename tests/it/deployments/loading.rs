//! A server that loads its data answers SUBSCRIBE, PUBLISH, TIME and ROLE, and serves no key.

use redis::cmd;

use super::{assert_delivers, lines, plan};
use crate::support::redis_server::{LOADING_SLOWLY, RedisServer};

/// Starts a server that loads its data until it is let.
fn start_loading() -> RedisServer {
    let mut redis = RedisServer::start_with(&LOADING_SLOWLY);
    let mut client = redis.client();
    cmd("DEBUG").arg("POPULATE").arg(100_000).exec(&mut client).unwrap();
    cmd("SAVE").exec(&mut client).unwrap();
    redis.kill();
    redis.start_loading();
    redis
}

#[test]
fn a_link_waits_for_a_server_that_loads_its_data() {
    let redis = start_loading();
    let gateway = plan(&redis.url()).spawn();
    gateway.wait_not_ready("redis: Redis is loading its data (LOADING)");
    let answer = gateway.post("/v1/publish", r#"{"channel":"user:42","message":1,"durable":true}"#);
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (503, Some("broker_unavailable")));
    assert_eq!(lines(&gateway, "LOADING"), 1, "{}", gateway.log());
    assert_eq!(lines(&gateway, "ERROR"), 0, "{}", gateway.log());
    redis.finish_loading();
    gateway.wait_ready();
    gateway.publish_durably("user:42", "1");
    assert!(gateway.get("/readyz").json()["notes"].is_null(), "{}", gateway.get("/readyz").body);
    assert_delivers(&gateway, &mut redis.client());
}

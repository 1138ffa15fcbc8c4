//! Requests about channels and their members to the admin port.

use std::time::Duration;

use serde_json::{Value, json};

use super::admin::{Coverage, hasty, patient, plan};
use crate::presence::replica::Replica;
use crate::support::deadline::eventually_eq;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

const ROUTES: [&str; 3] = ["/v1/channels", "/v1/channels/members:7", "/v1/channels/members:7/members"];

/// A gateway that knows the namespaces of [`Replica`].
fn with_namespaces(redis: &RedisServer) -> Plan {
    plan()
        .redis(redis)
        .with("presence.enabled", "true")
        .with("namespaces.members.presence", "members")
        .with("namespaces.members.occupancy", "true")
        .with("namespaces.occupancy.occupancy", "true")
        .with("namespaces.count.presence", "count")
}

#[track_caller]
pub(super) fn assert_codes(
    coverage: &mut Coverage,
    gateway: &TestGateway,
    paths: &[&str],
    status: u16,
    code: &str,
) {
    for path in paths {
        let answer = coverage.get(gateway, path);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)), "{path}");
    }
}

/// Asks about channels of another replica, and about none.
pub(super) fn exercise_channels(coverage: &mut Coverage) {
    let redis = RedisServer::start();
    let gateway = patient(&with_namespaces(&redis));
    let replica = Replica::start(&redis, Duration::from_secs(60));
    let hub = replica.hub();
    for channel in ["members:7", "occupancy:a/b?c"] {
        hub.occupied(channel, true);
    }
    hub.count("occupancy:a/b?c", 3);
    ["42", "43", "44"].iter().for_each(|user| hub.member("members:7", user, true));
    let mut get = |path: &str| -> Value { coverage.get(&gateway, path).json() };
    let room = json!({"channel": "members:7", "replicas": 1, "count": 3});
    let other = json!({"channel": "occupancy:a/b?c", "replicas": 1, "count": 3});
    eventually_eq(SOON, &json!({"channels": [room, other], "next": null}), || get("/v1/channels"));
    assert_eq!(get("/v1/channels?limit=1"), json!({"channels": [room], "next": "members:7"}));
    assert_eq!(get("/v1/channels?after=members:7"), json!({"channels": [other], "next": null}));
    assert_eq!(get("/v1/channels?namespace=members"), json!({"channels": [room], "next": null}));
    let use_of = |channel: &str, occupied: bool, count: u8| json!({"channel": channel, "occupied": occupied, "replicas": u8::from(occupied), "count": count});
    assert_eq!(get("/v1/channels/members:7"), use_of("members:7", true, 3));
    assert_eq!(get("/v1/channels/occupancy%3Aa%2Fb%3Fc"), use_of("occupancy:a/b?c", true, 3));
    assert_eq!(get("/v1/channels/members:8"), use_of("members:8", false, 0));
    assert_eq!(
        get("/v1/channels/members:7/members?limit=2"),
        json!({"channel": "members:7", "count": 3, "members": ["42", "43"], "next": "43"})
    );
    assert_eq!(
        get("/v1/channels/members:7/members?after=43"),
        json!({"channel": "members:7", "count": 3, "members": ["44"], "next": null})
    );
    for (path, same) in [
        ("/v1/channels?namespace=&after=&limit=", "/v1/channels"),
        ("/v1/channels/members:7/members?after=&limit=", "/v1/channels/members:7/members"),
    ] {
        assert_eq!(get(path), get(same));
    }
    let limits = ["/v1/channels?limit=0", "/v1/channels?limit=1001", "/v1/channels?page=2"];
    assert_codes(coverage, &gateway, &limits, 400, "bad_query");
    let members = "/v1/channels/members:7/members";
    assert_codes(coverage, &gateway, &[&format!("{members}?limit=1001")], 400, "bad_query");
    assert_codes(coverage, &gateway, &[&format!("{members}?after=a%20b")], 400, "bad_user");
    let bad = ["/v1/channels/nowhere", "/v1/channels/nowhere/members", "/v1/channels?after=nowhere"];
    assert_codes(coverage, &gateway, &bad, 400, "bad_channel");
    let off = ["/v1/channels?namespace=count", "/v1/channels/count:7", "/v1/channels/occupancy:7/members"];
    assert_codes(coverage, &gateway, &off, 409, "presence_disabled");
    exercise_faults(coverage, &redis, &gateway);
}

fn exercise_faults(coverage: &mut Coverage, redis: &RedisServer, gateway: &TestGateway) {
    for key in ["in-use", "occupied", "members:members:7"] {
        redis::cmd("SET")
            .arg(format!("gateway:{{presence}}:{key}"))
            .arg("1")
            .exec(&mut redis.client())
            .unwrap();
    }
    assert_codes(coverage, gateway, &ROUTES, 502, "broker_refused");
    let hasty = hasty(coverage, &with_namespaces(redis), "/v1/channels");
    redis.stop();
    assert_codes(coverage, &hasty, &ROUTES, 504, "broker_timeout");
    redis.cont();
    let off = plan().spawn();
    off.wait_ready();
    assert_codes(coverage, &off, &ROUTES, 409, "presence_disabled");
    let gateway = with_namespaces(&RedisServer::reserve(&[])).spawn();
    assert_codes(coverage, &gateway, &ROUTES, 503, "broker_unavailable");
}

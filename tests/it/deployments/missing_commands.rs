//! Commands that an ACL forbids or a managed service disables are told before clients find out.

use redis::cmd;

use super::acl::{as_documented, set_user, user_of_page};
use super::{assert_delivers, lines, plan};
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

const REDIS_PAGE: &str = include_str!("../../../docs/operations/redis.md");

/// Waits until a note has all of these texts.
#[track_caller]
fn wait_note(gateway: &TestGateway, texts: &[&str]) {
    eventually(SOON, || {
        let notes = gateway.get("/readyz").json()["notes"].clone();
        let has_all = |note: &serde_json::Value| {
            note.as_str().is_some_and(|note| texts.iter().all(|text| note.contains(text)))
        };
        notes.as_array()?.iter().any(has_all).then_some(())
    });
}

#[test]
fn each_forbidden_command_is_noted_and_plain_messages_arrive() {
    let redis = RedisServer::start();
    let mut client = redis.client();
    for (right, command, failure) in [
        ("+time", "TIME", "histories cannot be read"),
        ("+xrange", "XRANGE", "histories cannot be read"),
        ("+xrevrange", "XREVRANGE", "histories cannot be read"),
        ("+multi", "MULTI", "histories cannot be read"),
        ("+exec", "EXEC", "histories cannot be read"),
        ("+exists", "EXISTS", "a server that is loading its data is not detected"),
        ("+xinfo|stream", "XINFO STREAM", "durable publishing over HTTP fails"),
        ("+xadd", "XADD", "durable publishing over HTTP fails"),
        ("+fcall", "FCALL", "durable publishing over HTTP fails"),
        ("+zadd", "ZADD", "control fails"),
    ] {
        let mut user = user_of_page(REDIS_PAGE, "gateway");
        user.retain(|rule| rule != right);
        user.insert(1, "reset".to_owned());
        set_user(&mut client, &user);
        let mut gateway = as_documented(&redis).spawn();
        gateway.wait_ready();
        let note = format!("the Redis user may not run {command}: ");
        wait_note(&gateway, &[&note, failure]);
        gateway.wait_for_log(&note);
        assert_delivers(&gateway, &mut client);
    }
}

#[test]
fn a_disabled_command_is_noted_and_plain_messages_arrive() {
    for command in ["TIME", "XRANGE", "MULTI", "EXISTS", "FCALL"] {
        let redis = RedisServer::start_with(&["--rename-command", command, ""]);
        let mut gateway = plan(&redis.url()).spawn();
        gateway.wait_ready();
        let note = format!("this server does not know {command}: ");
        wait_note(&gateway, &[&note]);
        gateway.wait_for_log(&note);
        assert_delivers(&gateway, &mut redis.client());
    }
}

#[test]
fn a_right_that_is_granted_later_ends_its_note() {
    let redis = RedisServer::start();
    let mut client = redis.client();
    let mut user = user_of_page(REDIS_PAGE, "gateway");
    user.retain(|rule| rule != "+xrevrange");
    set_user(&mut client, &user);
    let gateway = as_documented(&redis).spawn();
    gateway.wait_ready();
    wait_note(&gateway, &["may not run XREVRANGE: histories cannot be read"]);
    set_user(&mut client, &["gateway", "+xrevrange"].map(str::to_owned));
    cmd("CLIENT").arg("KILL").arg("USER").arg("gateway").exec(&mut client).unwrap();
    eventually(SOON, || gateway.get("/readyz").json()["notes"].is_null().then_some(()));
    assert_eq!(lines(&gateway, "may not run XREVRANGE"), 1, "{}", gateway.log());
}

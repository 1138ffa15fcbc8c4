//! Redis users and passwords, and the permissions of the gateway's user.

use std::fs;

use redis::{Connection, Value, cmd};
use tempfile::TempDir;

use super::{assert_delivers, lines, plan};
use crate::support::deadline::eventually_eq;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

const REDIS_PAGE: &str = include_str!("../../../docs/operations/redis.md");

/// Reads the arguments of `ACL SETUSER <user>` from a page.
pub(crate) fn user_of_page(page: &str, user: &str) -> Vec<String> {
    let text = page.replace("\\\n", " ");
    let command = format!("redis-cli ACL SETUSER {user} ");
    let line = text.lines().find(|line| line.starts_with(&command)).unwrap();
    let words = line.split_whitespace().skip(3);
    words.map(|word| word.trim_matches('\'').to_owned()).collect()
}

/// The gateway's user of docs/operations/redis.md.
fn documented() -> Vec<String> {
    user_of_page(REDIS_PAGE, "gateway")
}

pub(crate) fn set_user(redis: &mut Connection, arguments: &[String]) {
    cmd("ACL").arg("SETUSER").arg(arguments).exec(redis).unwrap();
}

/// Plans a gateway that connects as the documented user.
pub(super) fn as_documented(redis: &RedisServer) -> Plan {
    plan(&redis.url()).with("broker.username", "gateway").with("broker.password", "change-this-password")
}

/// Lists the commands that Redis refused, except for setting a connection's name.
pub(super) fn refusals(redis: &mut Connection) -> Vec<String> {
    let entries: Vec<Vec<Value>> = cmd("ACL").arg("LOG").query(redis).unwrap();
    let entries = entries.into_iter().map(|entry| format!("{entry:?}").to_lowercase());
    entries.filter(|entry| !entry.contains("setinfo")).collect()
}

#[test]
fn the_documented_acl_is_enough() {
    let redis = RedisServer::start();
    let mut client = redis.client();
    set_user(&mut client, &documented());
    cmd("ACL").arg("LOG").arg("RESET").exec(&mut client).unwrap();
    let gateway = as_documented(&redis).spawn();
    gateway.wait_ready();
    assert_delivers(&gateway, &mut client);
    eventually_eq(SOON, &0, || {
        let subscribed: Vec<String> = cmd("PUBSUB").arg("CHANNELS").query(&mut client).unwrap();
        subscribed.iter().filter(|channel| channel.starts_with("gateway:user:")).count()
    });
    assert_eq!(refusals(&mut client), Vec::<String>::new());
    // The role is checked as well.
    cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec(&mut client).unwrap();
    gateway.wait_not_ready("it is a Redis replica");
    assert_eq!(refusals(&mut client), Vec::<String>::new());
}

#[test]
fn the_documented_acl_explains_each_command() {
    for rule in documented().iter().filter_map(|rule| rule.strip_prefix('+')) {
        let command = format!("`{}`", rule.to_uppercase().replace('|', " "));
        assert!(REDIS_PAGE.contains(&command), "docs/operations/redis.md does not explain {command}");
    }
}

#[test]
fn without_the_role_command_messages_are_still_delivered() {
    let redis = RedisServer::start();
    let mut client = redis.client();
    let mut user = documented();
    user.retain(|rule| !["+role", "+info"].contains(&rule.as_str()));
    set_user(&mut client, &user);
    let gateway = as_documented(&redis).with("broker.probe_interval", "50ms").spawn();
    gateway.wait_ready();
    cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").exec(&mut client).unwrap();
    gateway.wait_metric(r#"redis_link_losses_total{reason="subscriber_closed"}"#, 1);
    gateway.wait_ready();
    assert_delivers(&gateway, &mut client);
    assert_eq!(lines(&gateway, "may run neither ROLE nor INFO"), 1, "{}", gateway.log());
    assert_eq!(lines(&gateway, "INFO  emagine_gateway::broker::redis::role"), 1, "{}", gateway.log());
    let (old, new) = (gateway, {
        set_user(&mut client, &["gateway".to_owned(), "+info".to_owned()]);
        as_documented(&redis).spawn()
    });
    new.wait_ready();
    cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec(&mut client).unwrap();
    new.wait_not_ready("it is a Redis replica");
    assert_eq!(old.readyz().0, 200, "without the permission it cannot know");
}

#[test]
fn a_password_file_may_change_while_the_gateway_runs() {
    let redis = RedisServer::start();
    let mut client = redis.client();
    let mut user = documented();
    set_user(&mut client, &user);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "change-this-password\n").unwrap();
    let mut gateway = plan(&redis.url())
        .with("broker.username", "gateway")
        .with("broker.password_file", file.to_str().unwrap())
        .with("log.level", "debug")
        .spawn();
    gateway.wait_ready();

    user = ["gateway", "resetpass", ">another-password"].map(str::to_owned).to_vec();
    set_user(&mut client, &user);
    cmd("CLIENT").arg("KILL").arg("USER").arg("gateway").exec(&mut client).unwrap();
    gateway.wait_not_ready("redis: access refused: the user name or the password is wrong (WRONGPASS)");
    gateway.wait_for_log("ERROR");
    fs::remove_file(&file).unwrap();
    gateway.wait_not_ready("broker.password_file");
    fs::write(&file, "another-password").unwrap();
    gateway.wait_ready();
    assert_delivers(&gateway, &mut client);
    assert!(!gateway.log().contains("-password\"") && !gateway.log().contains("another-password"));
    assert!(!gateway.log().contains("change-this-password"), "{}", gateway.log());
}

/// ACL channel rules that allow everything but `gateway:public:hidden`.
const ALLOWED_CHANNELS: [&str; 5] =
    ["&gateway:probe/*", "&gateway:users", "&gateway:all", "&gateway:user:*", "&gateway:public:r*"];

/// Starts a gateway whose user may subscribe only to these channels.
fn with_channels(redis: &RedisServer, client: &mut Connection, channels: &[&str]) -> TestGateway {
    let mut user = documented();
    let all =
        user.iter().position(|rule| rule.starts_with('&')).expect("the documented user has channel rules");
    user.splice(all..=all, channels.iter().map(|rule| (*rule).to_owned()));
    set_user(client, &user);
    let plan = as_documented(redis).with("channels.public_namespaces", "public");
    plan.with("broker.history_check_interval", "1s").spawn()
}

#[test]
fn a_channel_refused_by_redis_affects_no_other() {
    let redis = RedisServer::start();
    let mut client = redis.client();
    let mut gateway = with_channels(&redis, &mut client, &ALLOWED_CHANNELS);
    gateway.wait_ready();
    let mut healthy = gateway.ready_client("7");
    // One batch contains all channels.
    let mut session = gateway.connect_v2();
    let rooms: Vec<String> = (0..40).map(|room| format!(r#"{{"channel":"public:r{room}"}}"#)).collect();
    session.send_text(&format!(
        r#"{{"op":1,"token":"42","channels":[{{"channel":"public:hidden"}},{}]}}"#,
        rooms.join(",")
    ));
    let ready = session.next_json();
    assert_eq!(ready["channels"].as_array().unwrap().len(), 42, "{ready}");
    let refused = r#"{"op":6,"channel":"public:hidden","state":"refused","reason":"unavailable"}"#;
    session.expect_text(refused);
    session.send_text(r#"{"op":4,"channel":"public:hidden"}"#);
    session.expect_text(refused);

    cmd("PUBLISH").arg("gateway:user:7").arg("1").exec(&mut client).unwrap();
    healthy.expect_text(r#"{"op":3,"message":1}"#);
    cmd("PUBLISH").arg("gateway:public:r39").arg("2").exec(&mut client).unwrap();
    session.expect_text(r#"{"op":3,"channel":"public:r39","message":2}"#);
    assert_eq!(gateway.readyz().0, 200);
    assert!(gateway.get("/readyz").body.contains("public:hidden"), "{}", gateway.get("/readyz").body);
    assert_eq!(gateway.metric("channels_refused_total"), 2);
    assert!(
        gateway.metrics().iter().all(|(name, count)| !name.contains("redis_link_losses") || *count == 0.0)
    );
    gateway.wait_for_log("may not subscribe");
    assert_eq!(lines(&gateway, "may not subscribe"), 1, "it is logged once a minute");

    set_user(&mut client, &["gateway", "&gateway:public:*"].map(str::to_owned));
    session.send_text(r#"{"op":4,"channel":"public:hidden"}"#);
    assert_eq!(session.next_json()["state"], "subscribed");
}

#[test]
fn a_user_channel_refused_by_redis_is_retried() {
    let redis = RedisServer::start();
    let mut client = redis.client();
    let allowed: Vec<_> = ALLOWED_CHANNELS.into_iter().filter(|rule| !rule.contains("user:")).collect();
    let gateway = with_channels(&redis, &mut client, &allowed);
    gateway.wait_ready();
    let mut session = gateway.connect_v2();
    session.send_text(r#"{"op":1,"token":"42"}"#);
    let ready = session.next_json();
    assert_eq!(ready["channels"][0]["state"], "recovering", "{ready}");
    set_user(&mut client, &["gateway", "&gateway:user:*"].map(str::to_owned));
    loop {
        let status = session.next_json();
        assert_eq!(status["state"], "subscribed", "{status}");
        if status["channel"] == "user:42" {
            break;
        }
    }
    cmd("PUBLISH").arg("gateway:user:42").arg("1").exec(&mut client).unwrap();
    session.expect_text(r#"{"op":3,"channel":"user:42","message":1}"#);
}

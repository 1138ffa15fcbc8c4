//! The rights in Redis that control needs.

use redis::{Connection, cmd};

use super::acl::{as_documented, refusals, set_user, user_of_page};
use crate::support::deadline::eventually_eq;
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

const CONTROL_PAGE: &str = include_str!("../../../docs/control.md");
const REDIS_PAGE: &str = include_str!("../../../docs/operations/redis.md");

fn fcall(redis: &mut Connection, command: &str) -> String {
    let mut call = cmd("FCALL");
    call.arg("gateway_control").arg(1).arg("gateway:{control}:commands").arg(command);
    call.query(redis).unwrap()
}

#[test]
fn the_documented_rights_are_enough_for_control() {
    let redis = RedisServer::start();
    let mut admin = redis.client();
    set_user(&mut admin, &user_of_page(REDIS_PAGE, "gateway"));
    set_user(&mut admin, &user_of_page(CONTROL_PAGE, "operator"));
    cmd("ACL").arg("LOG").arg("RESET").exec(&mut admin).unwrap();
    let gateway = as_documented(&redis).spawn();
    gateway.wait_ready();
    let mut operator = redis.client();
    cmd("AUTH").arg("operator").arg("change-this-password").exec(&mut operator).unwrap();
    for command in
        [r#"{"disconnect":{"user":"42"}}"#, r#"{"revoke":{"user":"42"}}"#, r#"{"sessions":{"user":"42"}}"#]
    {
        let id = fcall(&mut operator, command);
        eventually_eq(SOON, &1, || {
            let key = format!("gateway:{{control}}:answers:{id}");
            let answers: Vec<redis::Value> =
                cmd("XRANGE").arg(key).arg("-").arg("+").query(&mut operator).unwrap();
            answers.len()
        });
    }
    eventually_eq(SOON, &1, || gateway.metric("control_revocations"));
    assert_eq!(refusals(&mut admin), Vec::<String>::new());
    let refused = cmd("PUBLISH").arg("gateway:user:42").arg(1).exec(&mut operator).unwrap_err();
    assert_eq!(refused.code(), Some("NOPERM"));
}

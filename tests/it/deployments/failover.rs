//! Failovers reported by sentinels.

use redis::cmd;

use super::{assert_delivers, lines, plan};
use crate::support::deadline::eventually;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::redis_server::RedisServer;
use crate::support::sentinel::{FAILOVER_TIMEOUT, MASTER, Watched};

fn over(watched: &Watched) -> Plan {
    plan(&format!("redis+sentinel://{}", watched.hosts()))
}

/// Waits until the gateway delivers over the second server.
#[track_caller]
fn wait_moved(gateway: &TestGateway, watched: &Watched) {
    watched.wait_failed_over();
    let ready_line = format!("redis at 127.0.0.1:{}: link is healthy", watched.servers[1].port());
    eventually(FAILOVER_TIMEOUT, || {
        (lines(gateway, &ready_line) > 0 && gateway.readyz().0 == 200).then_some(())
    });
}

#[test]
fn an_ordered_failover_is_followed() {
    let watched = Watched::start(1, "");
    let gateway = over(&watched).spawn();
    gateway.wait_ready();
    assert_delivers(&gateway, &mut watched.servers[0].client());
    let mut before = gateway.ready_client("43");
    let mut sentinel = watched.sentinels[0].client();
    // The sentinel may need a moment until it accepts its replica for a failover.
    eventually(FAILOVER_TIMEOUT, || cmd("SENTINEL").arg("FAILOVER").arg(MASTER).exec(&mut sentinel).ok());
    wait_moved(&gateway, &watched);
    let mut master = watched.servers[1].client();
    assert_delivers(&gateway, &mut master);
    cmd("PUBLISH").arg("gateway:user:43").arg("3").exec(&mut master).unwrap();
    before.expect_text(r#"{"op":3,"message":3}"#);
}

#[test]
fn a_minority_of_sentinels_does_not_end_a_link() {
    let mut watched = Watched::start(3, "");
    let gateway = over(&watched).variable("RUST_LOG", "debug").with("broker.probe_interval", "50ms").spawn();
    gateway.wait_ready();
    // The first sentinel names the replica, and the others are away.
    let (mut sentinel, port) = (watched.sentinels[0].client(), watched.servers[1].port());
    watched.sentinels[1..].iter_mut().for_each(RedisServer::kill);
    cmd("SENTINEL").arg("REMOVE").arg(MASTER).exec(&mut sentinel).unwrap();
    cmd("SENTINEL").arg("MONITOR").arg(MASTER).arg("127.0.0.1").arg(port).arg(2).exec(&mut sentinel).unwrap();
    let unanswered = "did not name the master: cannot connect: connection refused";
    let before = lines(&gateway, unanswered);
    eventually(FAILOVER_TIMEOUT, || (lines(&gateway, unanswered) >= before + 10).then_some(()));
    assert_delivers(&gateway, &mut watched.servers[0].client());
    assert_eq!(lines(&gateway, "link lost"), 0);
}

#[test]
fn a_dead_master_is_replaced_despite_a_frozen_sentinel() {
    let mut watched = Watched::start(3, "");
    let gateway = over(&watched).spawn();
    gateway.wait_ready();
    let mut before = gateway.ready_client("43");
    watched.sentinels[2].stop();
    watched.servers[0].kill();
    gateway.wait_not_ready("redis:");
    wait_moved(&gateway, &watched);
    let mut master = watched.servers[1].client();
    assert_delivers(&gateway, &mut master);
    cmd("PUBLISH").arg("gateway:user:43").arg("3").exec(&mut master).unwrap();
    before.expect_text(r#"{"op":3,"message":3}"#);
}

#[test]
fn sentinels_have_passwords_of_their_own() {
    let watched = Watched::start(1, "user gateway on >correct-horse -@all +sentinel|get-master-addr-by-name");
    let login = |password| {
        over(&watched).with("broker.sentinel_username", "gateway").with("broker.sentinel_password", password)
    };
    let right = login("correct-horse").spawn();
    right.wait_ready();
    assert_delivers(&right, &mut watched.servers[0].client());
    let wrong = login("battery-staple").with("log.level", "debug").spawn();
    wrong.wait_not_ready("access refused: by a sentinel: the user name or the password is wrong (WRONGPASS)");
    assert!(!wrong.log().contains("battery-staple"), "{}", wrong.log());
}

#[test]
fn unreachable_or_ignorant_sentinels_are_named() {
    let unreachable = RedisServer::reserve(&[]);
    let url = format!("redis+sentinel://me:correct-horse@127.0.0.1:{}/{MASTER}", unreachable.port());
    let mut gateway = plan(&url).spawn();
    gateway.wait_not_ready("redis: no sentinel knows the master main: cannot connect: connection refused");
    gateway.wait_for_log(&format!(
        "redis at the master main of the sentinels 127.0.0.1:{}: no sentinel knows the master main: cannot connect",
        unreachable.port()
    ));
    assert!(!gateway.log().contains("correct-horse"));
    let watched = Watched::start(1, "");
    let hosts = watched.hosts().replace(MASTER, "other");
    let gateway = plan(&format!("redis+sentinel://{hosts}")).spawn();
    gateway.wait_not_ready("no sentinel knows the master other: Redis refused: it does not know this master");
}

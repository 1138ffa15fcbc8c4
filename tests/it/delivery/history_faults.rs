//! Histories are trimmed, deleted, expired or replaced.

use std::time::Duration;

use redis::cmd;

use super::*;
use crate::support::fault_proxy::Fault;

fn on_each_history(run: &Delivery, command: &str, arguments: &[&str]) {
    let mut admin = run.admin();
    for channel in CHANNELS {
        cmd(command).arg(format!("gateway:{channel}")).arg(arguments).exec(&mut admin).unwrap();
    }
}

#[test]
fn a_history_is_trimmed_past_an_offline_client() {
    let run = Plan::new().with("broker.history_size", "50").start();
    run.while_one_is_offline(|| {
        run.publisher.change(|publishing| publishing.pace = Duration::ZERO);
        // Redis trims whole nodes of a hundred entries.
        run.publish(400);
        run.publisher.change(|publishing| publishing.pace = Duration::from_millis(3));
    });
    run.finish().assert_reported_only(&[0]);
}

#[test]
fn a_history_is_trimmed_by_hand() {
    let run = Delivery::start();
    run.while_one_is_offline(|| on_each_history(&run, "XTRIM", &["MAXLEN", "0"]));
    run.finish().assert_reported_only(&[0]);
}

#[test]
fn a_message_is_deleted_in_the_middle_of_a_history() {
    let run = Delivery::start();
    run.while_one_is_offline(|| {
        run.publisher.pause();
        let mut admin = run.admin();
        for channel in CHANNELS {
            let key = format!("gateway:{channel}");
            let last: Vec<(String, Vec<String>)> =
                cmd("XREVRANGE").arg(&key).arg("+").arg("-").arg("COUNT").arg(2).query(&mut admin).unwrap();
            cmd("XDEL").arg(&key).arg(&last[1].0).exec(&mut admin).unwrap();
        }
        run.publisher.resume();
    });
    run.finish().assert_reported_only(&[0]);
}

#[test]
fn a_history_is_deleted_while_a_client_is_offline() {
    let run = Delivery::start();
    run.while_one_is_offline(|| {
        run.publisher.pause();
        on_each_history(&run, "DEL", &[]);
        run.publisher.resume();
        run.publish(5);
    });
    run.finish().assert_reported_only(&[0]);
}

#[test]
fn a_history_expires_while_a_client_is_offline() {
    let run = Plan::new().with("broker.history_ttl", "1s").start();
    run.while_one_is_offline(|| {
        run.publisher.pause();
        let mut admin = run.admin();
        eventually(SOON, || {
            let keys: Vec<String> = cmd("KEYS").arg("gateway:*:*").query(&mut admin).unwrap();
            keys.iter().all(|key| key.contains(":once:")).then_some(())
        });
        run.publisher.resume();
        run.publish(5);
    });
    run.finish().assert_reported_only(&[0]);
}

#[test]
fn a_replica_is_pointed_at_another_redis() {
    let other = RedisServer::start();
    let run = Delivery::start();
    run.publisher.pause();
    run.link().redirect(other.address());
    run.lose_link(|| run.link().reset_open());
    run.publisher.change(|publishing| publishing.url = other.url());
    run.publisher.resume();
    run.finish().assert_reported();
}

#[test]
fn a_burst_exceeds_the_inbox_of_a_replica() {
    let run = Plan::new()
        .with("broker.max_payload_bytes", "4096")
        .with("broker.max_inbox_bytes", "8192")
        .publishing(|publishing| {
            publishing.padding = 3_000;
            publishing.pace = Duration::ZERO;
        })
        .start();
    // All messages of this time arrive at once after the stall.
    run.link().set_both(Fault::Stall(1 << 20));
    run.publish_for(Duration::from_millis(300));
    run.link().heal();
    eventually(SOON, || (run.gateway().dropped("hub_inbox_full") > 0).then_some(()));
    // The inbox has room for all messages from now on.
    run.publisher.change(|publishing| {
        publishing.padding = 0;
        publishing.pace = Duration::from_millis(3);
    });
    run.finish().assert_no_silent_loss();
}

#[test]
fn more_messages_are_missing_than_may_be_recovered() {
    let run = Plan::new().with("session.max_recovered_messages", "100").start();
    run.while_one_is_offline(|| {
        run.publisher.change(|publishing| publishing.pace = Duration::ZERO);
        run.publish(150);
        run.publisher.change(|publishing| publishing.pace = Duration::from_millis(3));
    });
    run.finish().assert_reported_only(&[0]);
}

#[test]
fn one_call_for_several_channels_reaches_each_of_them() {
    let mut run = Plan::new().replicas(2).publishing(|publishing| publishing.together = true).start();
    run.lose_link(|| run.link().reset_open());
    run.lose_clients(|run| run.clients.iter().for_each(ResumingClient::cut));
    run.finish().assert_exact();
}

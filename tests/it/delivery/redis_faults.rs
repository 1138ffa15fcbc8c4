//! Faults of Redis and of its operators.

use std::time::Duration;

use redis::cmd;

use super::*;
use crate::support::fault_proxy::{Direction, Fault};
use crate::support::redis_line::run_line;
use crate::support::redis_server::LOADING_SLOWLY;

/// Arguments with which Redis loses nothing that it has acknowledged.
pub(super) const WITH_DATA: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
/// Longer than `broker.probe_timeout`, so that the link is lost.
const LONG: Duration = Duration::from_millis(1_200);
/// Shorter than `broker.probe_timeout`.
const SHORT: Duration = Duration::from_millis(200);

#[test]
fn every_message_arrives_without_a_fault() {
    let run = Delivery::start_two();
    run.publish(100);
    run.finish().assert_exact();
}

#[test]
fn redis_is_killed_and_restarts_with_its_data() {
    let mut run = Plan::new().redis(&WITH_DATA).start();
    run.redis.kill();
    run.wait_link_lost(0);
    run.redis.restart();
    run.finish().assert_exact();
}

#[test]
fn redis_is_killed_repeatedly_and_keeps_its_data() {
    let mut run = Plan::new().redis(&WITH_DATA).start();
    for _ in 0..4 {
        run.redis.kill();
        run.redis.restart();
        run.publish(3);
    }
    run.finish().assert_exact();
}

/// While it loads its data, Redis accepts SUBSCRIBE and PUBLISH, and rejects reads of keys (LOADING).
#[test]
fn redis_is_killed_and_loads_its_data_slowly() {
    let slowly = ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"];
    let mut run = Plan::new().redis(&WITH_DATA).redis(&slowly).start();
    run.publisher.change(|publishing| publishing.pace = Duration::ZERO);
    // Each number adds one key, its idempotency key.
    run.publish(500);
    let mut admin = run.admin();
    rewrite_append_only_file(&mut admin);
    run.publisher.change(|publishing| publishing.pace = Duration::from_millis(3));
    run.redis.kill();
    run.wait_link_lost(0);
    run.redis.restart();
    run.finish().assert_exact();
}

/// Measured with 400 000 keys before links waited for LOADING: gaps, `"recovered":false`, and acknowledged messages
/// withheld.
#[test]
fn clients_resume_while_redis_loads_400_000_keys() {
    let mut run = Plan::new().redis(&WITH_DATA).redis(&LOADING_SLOWLY).start();
    let mut admin = run.admin();
    run_line::<()>(&mut admin, "DEBUG POPULATE 400000 other 8");
    rewrite_append_only_file(&mut admin);
    run.publish(5);
    run.redis.kill();
    run.redis.start_loading();
    run.gateway().wait_not_ready("Redis is loading its data (LOADING)");
    let before: Vec<usize> = run.clients.iter().map(ResumingClient::sessions).collect();
    run.clients.iter().for_each(ResumingClient::cut);
    let has_resumed = |(client, before): (&ResumingClient, &usize)| client.sessions() > *before;
    eventually(SOON, || run.clients.iter().zip(&before).all(has_resumed).then_some(()));
    assert_eq!(run.gateway().readyz().0, 503);
    run.redis.finish_loading();
    run.finish().assert_exact();
}

/// Has Redis write all its keys anew, so that it loads each once.
fn rewrite_append_only_file(admin: &mut redis::Connection) {
    run_line::<String>(admin, "BGREWRITEAOF");
    eventually(SOON, || {
        let info: redis::InfoDict = run_line(admin, "INFO persistence");
        (info.get("aof_rewrite_in_progress") == Some(0) && info.get("aof_rewrites") == Some(1)).then_some(())
    });
}

#[test]
fn redis_is_shut_down_and_restarts_with_its_data() {
    let mut run = Plan::new().redis(&WITH_DATA).start();
    run.lose_link(|| {
        // Redis closes the connection instead of answering.
        let _ = cmd("SHUTDOWN").arg("NOSAVE").exec(&mut run.admin());
    });
    run.redis.restart();
    run.finish().assert_exact();
}

#[test]
fn redis_is_killed_and_restarts_empty() {
    let mut run = Delivery::start_two();
    // A publication whose answer is lost would be repeated, and its idempotency key is lost with the data.
    run.publisher.pause();
    run.redis.kill();
    run.wait_link_lost(0);
    run.redis.restart();
    run.publisher.resume();
    run.finish().assert_reported();
}

#[test]
fn redis_restarts_empty_and_no_message_follows() {
    let mut run = Delivery::start();
    run.publisher.pause();
    run.gateway().wait_ready();
    let losses = run.link_losses();
    run.redis.kill();
    run.wait_link_lost(losses);
    run.redis.restart();
    // Without this wait the next publication could be the one that reveals the loss, and the deadline for receiving it
    // would begin before there is a link.
    run.gateway().wait_ready();
    // No message is missing, but the gateway cannot know that.
    run.finish_paused().assert_reported();
}

#[test]
fn client_kill_type_pubsub() {
    let run = Delivery::start_two();
    let mut admin = run.admin();
    for _ in 0..3 {
        run.lose_link(|| run_line::<i64>(&mut admin, "CLIENT KILL TYPE pubsub"));
        run.publish(3);
    }
    run.finish().assert_exact();
}

#[test]
fn client_kill_type_pubsub_without_later_messages() {
    let run = Delivery::start();
    run.link().refuse(true);
    run.lose_link(|| run_line::<i64>(&mut run.admin(), "CLIENT KILL TYPE pubsub"));
    run.publish(5);
    run.publisher.pause();
    run.link().heal();
    run.finish_paused().assert_exact();
}

#[test]
fn client_kill_type_normal() {
    let run = Delivery::start();
    let mut admin = run.admin();
    for _ in 0..5 {
        run_line::<i64>(&mut admin, "CLIENT KILL TYPE normal SKIPME yes");
        run.publish(3);
    }
    run.finish().assert_exact();
}

#[test]
fn client_pause_for_a_moment() {
    let run = Delivery::start();
    run_line::<()>(&mut run.admin(), &format!("CLIENT PAUSE {} ALL", SHORT.as_millis()));
    run.finish().assert_exact();
}

#[test]
fn client_pause_for_longer_than_a_probe() {
    let run = Delivery::start();
    run.lose_link(|| run_line::<()>(&mut run.admin(), &format!("CLIENT PAUSE {} ALL", LONG.as_millis())));
    run.finish().assert_exact();
}

#[test]
fn client_pause_of_writes() {
    let run = Delivery::start();
    run.lose_link(|| run_line::<()>(&mut run.admin(), &format!("CLIENT PAUSE {} WRITE", LONG.as_millis())));
    run.finish().assert_exact();
}

#[test]
fn redis_is_stopped_for_a_moment() {
    let run = Delivery::start();
    run.redis.stop();
    run.publish_for(SHORT);
    run.redis.cont();
    run.finish().assert_exact();
}

#[test]
fn redis_is_stopped_for_longer_than_a_probe() {
    let run = Delivery::start_two();
    run.lose_link(|| run.redis.stop());
    run.redis.cont();
    run.finish().assert_exact();
}

#[test]
fn debug_sleep() {
    let run = Plan::new().redis(&["--enable-debug-command", "yes"]).start();
    let mut admin = run.admin();
    run.lose_link(|| run_line::<()>(&mut admin, "DEBUG SLEEP 1.2"));
    run.finish().assert_exact();
}

#[test]
fn redis_ends_the_link_because_its_output_buffer_is_full() {
    let run = Plan::new()
        .redis(&["--client-output-buffer-limit", "pubsub 256kb 0 0"])
        .publishing(|publishing| publishing.padding = 50_000)
        .start();
    run.lose_link(|| {
        // The proxy reads no more data. Its buffer and those of the kernel fill first, then the output buffer of Redis.
        run.link().set(Direction::ToClient, Fault::Stall(1));
        let mut admin = run.admin();
        eventually(SOON, || {
            run_line::<String>(&mut admin, "CLIENT LIST TYPE pubsub").is_empty().then_some(())
        });
        run.link().heal();
    });
    run.finish().assert_exact();
}

#[test]
fn redis_becomes_a_replica_for_a_while() {
    let run = Delivery::start();
    let mut admin = run.admin();
    // No server listens on port 1, so Redis keeps its data.
    run.lose_link(|| run_line::<()>(&mut admin, "REPLICAOF 127.0.0.1 1"));
    run_line::<()>(&mut admin, "REPLICAOF NO ONE");
    run.finish().assert_exact();
}

#[test]
fn redis_becomes_a_replica_of_an_empty_server() {
    let other = RedisServer::start();
    let run = Delivery::start();
    let mut admin = run.admin();
    run.publisher.pause();
    let port = other.address().port();
    run.lose_link(|| run_line::<()>(&mut admin, &format!("REPLICAOF 127.0.0.1 {port}")));
    eventually(SOON, || (run_line::<i64>(&mut admin, "DBSIZE") == 0).then_some(()));
    run_line::<()>(&mut admin, "REPLICAOF NO ONE");
    run.publisher.resume();
    run.finish().assert_reported();
}

#[test]
fn flushall_while_one_client_is_offline() {
    let run = Delivery::start_two();
    run.while_one_is_offline(|| {
        run.publisher.pause();
        run_line::<()>(&mut run.admin(), "FLUSHALL");
        run.publisher.resume();
        run.publish(5);
    });
    // The other clients received every message, so they must not get a gap.
    run.finish().assert_reported_only(&[0]);
}

#[test]
fn flushall_while_all_clients_are_offline() {
    let mut run = Delivery::start_two();
    run.lose_clients(|run| {
        run.client_proxies.iter().for_each(|proxy| proxy.refuse(true));
        run.client_proxies.iter().for_each(FaultProxy::reset_open);
        run.publish(5);
        run.publisher.pause();
        run_line::<()>(&mut run.admin(), "FLUSHALL");
        run.publisher.resume();
        run.publish(5);
        run.client_proxies.iter().for_each(FaultProxy::heal);
    });
    run.finish().assert_reported();
}

#[test]
fn function_flush() {
    let run = Delivery::start();
    run_line::<()>(&mut run.admin(), "FUNCTION FLUSH");
    // The gateway checks the function every 15 seconds, and when it publishes.
    let answer =
        run.gateway().post("/v1/publish", r#"{"channel":"public:other","message":1,"durable":true}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    run.finish().assert_exact();
}

#[test]
fn function_flush_while_the_link_is_down() {
    let run = Delivery::start();
    run.link().refuse(true);
    run.lose_link(|| run.link().reset_open());
    run_line::<()>(&mut run.admin(), "FUNCTION FLUSH");
    run.link().heal();
    run.finish().assert_exact();
}

#[test]
fn an_acl_change_forbids_subscribe_for_a_while() {
    let run = Delivery::start();
    let mut admin = run.admin();
    run_line::<()>(&mut admin, "ACL SETUSER default -subscribe");
    run.lose_link(|| run_line::<i64>(&mut admin, "CLIENT KILL TYPE pubsub"));
    run.publish(5);
    run_line::<()>(&mut admin, "ACL SETUSER default +subscribe");
    run.finish().assert_exact();
}

#[test]
fn an_acl_change_forbids_the_channels_for_a_while() {
    let run = Delivery::start();
    let mut admin = run.admin();
    run.lose_link(|| run_line::<()>(&mut admin, "ACL SETUSER default resetchannels"));
    run_line::<()>(&mut admin, "ACL SETUSER default allchannels");
    run.finish().assert_exact();
}

#[test]
fn an_acl_change_forbids_reading_histories_for_a_while() {
    let run = Delivery::start();
    let mut admin = run.admin();
    run_line::<()>(&mut admin, "ACL SETUSER default -xrange -xrevrange");
    run.lose_link(|| run_line::<i64>(&mut admin, "CLIENT KILL TYPE pubsub"));
    run.gateway().wait_ready();
    run.publish(5);
    run_line::<()>(&mut admin, "ACL SETUSER default +xrange +xrevrange");
    // Live delivery continued, but the gateway could not read what the link had missed.
    run.finish().assert_reported();
}

#[test]
fn noauth_for_a_while() {
    let run = Delivery::start();
    let mut admin = run.admin();
    run_line::<()>(&mut admin, "CONFIG SET requirepass elsewhere");
    run.lose_link(|| run_line::<i64>(&mut admin, "CLIENT KILL TYPE pubsub"));
    run.gateway().wait_not_ready("NOAUTH");
    cmd("CONFIG").arg("SET").arg("requirepass").arg("").exec(&mut admin).unwrap();
    run.finish().assert_exact();
}

#[test]
fn too_many_clients_for_a_while() {
    let run = Delivery::start();
    let mut admin = run.admin();
    run_line::<()>(&mut admin, "CONFIG SET maxclients 1");
    run.lose_link(|| run_line::<i64>(&mut admin, "CLIENT KILL TYPE pubsub"));
    run.publish_for(SHORT);
    run_line::<()>(&mut admin, "CONFIG SET maxclients 10000");
    run.finish().assert_exact();
}

#[test]
fn out_of_memory_without_eviction() {
    let run = Delivery::start();
    let mut admin = run.admin();
    run_line::<()>(&mut admin, "CONFIG SET maxmemory-policy noeviction maxmemory 1");
    run.publish_for(LONG);
    let before = run.publisher.count();
    run.publish_for(SHORT);
    assert_eq!(run.publisher.count(), before, "Redis accepted a publication without free memory");
    run_line::<()>(&mut admin, "CONFIG SET maxmemory 0");
    run.finish().assert_exact();
}

#[test]
fn a_script_keeps_redis_busy() {
    let run = Plan::new().redis(&["--busy-reply-threshold", "50"]).start();
    let mut admin = run.admin();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let endless = cmd("EVAL").arg("while true do end").arg(0).exec(&mut run.admin());
            assert!(endless.is_err(), "the endless script returned a result");
        });
        run.wait_link_lost(0);
        run_line::<()>(&mut admin, "SCRIPT KILL");
    });
    run.finish().assert_exact();
}

#[test]
fn a_key_of_another_type_replaces_the_history() {
    let run = Delivery::start();
    let mut admin = run.admin();
    run.publisher.pause();
    run_line::<()>(&mut admin, "SET gateway:user:42 rubbish");
    run_line::<()>(&mut admin, "SET gateway:public:room rubbish");
    run.publisher.resume();
    run.lose_link(|| run.link().reset_open());
    run.gateway().wait_ready();
    for channel in CHANNELS {
        run_line::<()>(&mut admin, &format!("DEL gateway:{channel}"));
    }
    run.finish().assert_reported();
}

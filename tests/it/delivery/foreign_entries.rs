//! Other programs write to the key of a history. The channel may lose its history; the link and all other channels are
//! not affected.

use redis::cmd;
use serde_json::json;

use super::*;
use crate::support::client::Client;
use crate::support::redis_line::run_line;

/// The history of a channel that is not among [`CHANNELS`].
const SPOILT: &str = "gateway:public:spoilt";

/// Corrupts the history of a channel that clients follow and resume. The other channels are not affected. The link
/// stays up, and so does the next link after a reset.
#[track_caller]
fn corrupt_one_history(corrupt: impl FnOnce(&mut redis::Connection)) {
    // Every history is checked once a second.
    let plan = Plan::new().with("broker.history_check_interval", "1s");
    // A slow answer on a busy machine must not end the link.
    let run = plan.with("broker.probe_timeout", "10s").with("broker.response_timeout", "10s").start();
    let mut admin = run.admin();
    let before: String = publish(&mut admin).unwrap();
    let follower = resume(&run, "7", &before);
    run.gateway().wait_ready();
    let losses = run.link_losses();
    corrupt(&mut admin);
    // No publication follows this entry, so the next history check has to read it. Redis rejects the command if the
    // key cannot take an entry.
    let _ = cmd("XADD").arg(SPOILT).arg("*").arg("m").arg("1").exec(&mut admin);
    assert_link_survives_checks(&run, losses, "while it read the corrupt history");
    run.link().refuse(true);
    run.lose_link(|| run.link().reset_open());
    let _ = publish(&mut admin);
    run.link().heal();
    run.gateway().wait_ready();
    let other = resume(&run, "8", &before);
    assert_link_survives_checks(&run, losses + 1, "after it reconnected with the corrupt history");
    drop((follower, other));
    run.finish().assert_exact();
}

fn publish(backend: &mut redis::Connection) -> redis::RedisResult<String> {
    cmd("FCALL").arg("gateway_publish").arg(1).arg(SPOILT).arg("1").query(backend)
}

/// Starts a client that resumes the corrupted channel. It gets Ready whatever the state of the channel is.
#[track_caller]
fn resume(run: &Delivery, user: &str, since: &str) -> Client {
    let mut client = run.gateway().connect_v2();
    let channels = json!([{"channel": "public:spoilt", "since": since}]);
    client.send_text(&json!({"op": 1, "token": user, "channels": channels}).to_string());
    client.expect_ready();
    client
}

/// Asserts that the link stays up while every history is checked twice.
#[track_caller]
fn assert_link_survives_checks(run: &Delivery, losses: usize, when: &str) {
    run.publish_for(Duration::from_millis(2_500));
    run.publish(5);
    assert_eq!(run.link_losses(), losses, "the link was lost {when}");
    assert_eq!(run.gateway().readyz(), (200, vec![]), "{when}");
}

#[test]
fn a_field_with_invalid_utf_8_affects_no_other_channel() {
    corrupt_one_history(|admin| {
        cmd("XADD").arg(SPOILT).arg("*").arg(&b"\xff\xfe"[..]).arg("x").exec(admin).unwrap();
    });
}

#[test]
fn the_highest_stream_id_affects_no_other_channel() {
    corrupt_one_history(|admin| {
        run_line::<String>(admin, &format!("XADD {SPOILT} 18446744073709551615-18446744073709551615 m 1"));
    });
}

#[test]
fn an_entry_with_offset_0_affects_no_other_channel() {
    corrupt_one_history(|admin| {
        run_line::<String>(admin, &format!("XADD {SPOILT} 9999999999999-0 a x m {{"));
    });
}

#[test]
fn a_key_of_another_type_affects_no_other_channel() {
    corrupt_one_history(|admin| run_line(admin, &format!("SET {SPOILT} rubbish")));
}

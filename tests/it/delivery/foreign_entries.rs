//! Others write to Redis' keys: entries and keys that no gateway has made. They may cost their own channel its history,
//! but never the link, nor another channel anything.

use redis::cmd;

use super::redis_faults::tell;
use super::*;

/// A channel beside those whose messages are judged.
const SPOILT: &str = "gateway:public:spoilt";

/// Somebody spoils the history of a channel that a client is on and has a position of. The other channels go on, and
/// so does the link, when it has stood there for a while and when it is made anew.
#[track_caller]
fn spoils_one_history(spoil: impl FnOnce(&mut redis::Connection)) {
    // Every history is compared once a second.
    let run = Plan::new().with("broker.sweep_interval", "1s").start();
    let mut admin = run.admin();
    let position: String = tell(&mut admin, &format!("FCALL gateway_publish 1 {SPOILT} 1"));
    let mut follower = run.gateway().connect_v2();
    follower.says(
        &serde_json::json!({
            "op": 1, "token": "7", "channels": [{"channel": "public:spoilt", "since": position}],
        })
        .to_string(),
    );
    follower.ready();
    run.gateway().wait_ready();
    let losses = run.link_losses();
    spoil(&mut admin);
    // A message of the spoilt channel makes the gateway look at it.
    tell::<i64>(&mut admin, &format!("PUBLISH {SPOILT} @{position}9 1"));
    outlasts_sweeps(&run, losses, "with the spoilt history");
    run.losing_the_link(|| run.link().reset_open());
    run.gateway().wait_ready();
    outlasts_sweeps(&run, losses + 1, "made anew over the spoilt history");
    drop(follower);
    run.finish().assert_exact();
}

/// Nothing happens to the link while every history is compared twice.
#[track_caller]
fn outlasts_sweeps(run: &Delivery, losses: usize, when: &str) {
    run.lasts(Duration::from_millis(2_500));
    run.publish(5);
    assert_eq!(run.link_losses(), losses, "the link was lost {when}");
    assert_eq!(run.gateway().readyz(), (200, vec![]), "{when}");
}

#[test]
fn a_field_that_is_not_utf_8_disturbs_no_other_channel() {
    spoils_one_history(|admin| {
        cmd("XADD").arg(SPOILT).arg("*").arg(&b"\xff\xfe"[..]).arg("x").exec(admin).unwrap();
    });
}

#[test]
fn the_last_of_all_ids_disturbs_no_other_channel() {
    spoils_one_history(|admin| {
        tell::<String>(admin, &format!("XADD {SPOILT} 18446744073709551615-18446744073709551615 m 1"));
    });
}

#[test]
fn an_entry_with_offset_0_disturbs_no_other_channel() {
    spoils_one_history(|admin| {
        tell::<String>(admin, &format!("XADD {SPOILT} 9999999999999-0 a x m {{"));
    });
}

#[test]
fn a_key_of_another_kind_disturbs_no_other_channel() {
    spoils_one_history(|admin| tell(admin, &format!("SET {SPOILT} rubbish")));
}

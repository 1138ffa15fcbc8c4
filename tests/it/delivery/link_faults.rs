//! Faults of the network between a replica and Redis.

use std::time::Duration;

use super::*;
use crate::support::fault_proxy::{Direction, Fault, plan};

/// Longer than `broker.probe_timeout`, so that the link is lost.
const LONG: Duration = Duration::from_millis(1_200);
/// Shorter than `broker.probe_timeout`.
const SHORT: Duration = Duration::from_millis(300);

/// Applies a fault to the first replica's link until the link is lost, and for some more messages.
#[track_caller]
fn break_link(fault: impl FnOnce(&FaultProxy)) {
    let run = Delivery::start_two();
    run.lose_link(|| fault(run.link()));
    run.publish(5);
    run.link().heal();
    run.finish().assert_exact();
}

/// Applies a fault to the link for some time.
#[track_caller]
fn degrade_link(time: Duration, fault: impl FnOnce(&FaultProxy)) {
    let run = Delivery::start();
    fault(run.link());
    run.publish_for(time);
    run.link().heal();
    run.finish().assert_exact();
}

#[test]
fn the_link_is_reset() {
    break_link(FaultProxy::reset_open);
}

#[test]
fn the_link_is_reset_and_refused_for_a_while() {
    break_link(|link| {
        link.refuse(true);
        link.reset_open();
    });
}

#[test]
fn the_link_is_reset_at_every_connect() {
    break_link(|link| link.set_both(Fault::Reset));
}

#[test]
fn the_link_drops_data_both_ways() {
    break_link(|link| link.set_both(Fault::BlackHole));
}

#[test]
fn the_link_drops_data_to_redis() {
    break_link(|link| link.set(Direction::ToServer, Fault::BlackHole));
}

#[test]
fn the_link_drops_data_from_redis() {
    break_link(|link| link.set(Direction::ToClient, Fault::BlackHole));
}

#[test]
fn the_link_stalls_for_longer_than_a_probe() {
    break_link(|link| link.set_both(Fault::Stall(1 << 20)));
}

#[test]
fn the_link_stalls_for_a_moment() {
    degrade_link(SHORT, |link| link.set_both(Fault::Stall(1 << 20)));
}

#[test]
fn the_link_is_slow_to_answer() {
    degrade_link(LONG, |link| link.set_both(Fault::Delay(Duration::from_millis(100))));
}

#[test]
fn the_link_has_low_bandwidth() {
    degrade_link(LONG, |link| link.set(Direction::ToClient, Fault::Throttle(5_000)));
}

#[test]
fn the_last_message_is_published_while_the_link_is_down() {
    let run = Delivery::start_two();
    run.link().refuse(true);
    run.lose_link(|| run.link().reset_open());
    run.publish(5);
    run.publisher.pause();
    run.link().heal();
    run.finish_paused().assert_exact();
}

#[test]
fn the_link_is_lost_while_nothing_is_published() {
    let run = Delivery::start();
    run.publisher.pause();
    run.lose_link(|| run.link().reset_open());
    run.gateway().wait_ready();
    run.finish_paused().assert_exact();
}

#[test]
fn only_the_replica_that_lost_its_link_is_affected() {
    let run = Delivery::start_two();
    run.link().refuse(true);
    run.lose_link(|| run.link().reset_open());
    run.publish(10);
    assert_eq!(run.gateway_of(1).readyz().0, 200);
    run.link().heal();
    let sessions: Vec<usize> = run.clients.iter().map(ResumingClient::sessions).collect();
    assert_eq!(sessions, [1; 4], "a client reconnected");
    run.finish().assert_exact();
}

/// Cuts the link while it connects and subscribes, each time after another number of bytes.
#[track_caller]
fn cut_at_points(direction: Direction, points: impl Iterator<Item = usize>) {
    let run = Delivery::start();
    for bytes in points {
        let before = run.link().broken();
        run.link().set(direction, Fault::CutAfter(bytes));
        run.link().reset_open();
        // The two connections of the old link, or one of them and one that was cut after `bytes`.
        run.link().wait_broken(before + 2);
        run.link().heal();
        run.gateway().wait_ready();
    }
    run.finish().assert_exact();
}

#[test]
fn the_link_is_cut_at_many_points_while_sending_subscribes() {
    cut_at_points(Direction::ToServer, (0..1_200).step_by(41));
}

#[test]
fn the_link_is_cut_at_many_points_while_receiving_confirmations() {
    cut_at_points(Direction::ToClient, (0..1_200).step_by(41));
}

#[test]
fn the_link_is_cut_in_the_middle_of_messages() {
    let run = Plan::new().publishing(|publishing| publishing.padding = 300).start();
    for bytes in (1..1_000).step_by(67) {
        let before = run.link().broken();
        run.link().set(Direction::ToClient, Fault::CutAfter(bytes));
        run.link().wait_broken(before);
        run.link().heal();
        run.publish(2);
    }
    run.finish().assert_exact();
}

/// A seed that has found a bug stays in this list.
#[test]
fn the_links_of_two_replicas_fail_at_random() {
    for seed in [1, 2] {
        let run = Delivery::start_two();
        let plans = [seed, seed + 100].map(|seed| plan::random(seed, 8, Duration::from_millis(400)));
        std::thread::scope(|scope| {
            for (replica, plan) in run.replicas.iter().zip(&plans) {
                scope.spawn(|| replica.link.run(plan));
            }
        });
        run.finish().assert_exact();
    }
}

#[test]
fn the_link_fails_while_it_carries_publications() {
    let run = Delivery::start();
    run.publisher.pause();
    run.publisher.change(|publishing| publishing.over_http = Some(run.gateway().admin));
    run.publisher.resume();
    for _ in 0..3 {
        run.publish(3);
        run.lose_link(|| run.link().reset_open());
    }
    run.lose_link(|| run.link().set_both(Fault::BlackHole));
    run.link().heal();
    run.finish().assert_exact();
}

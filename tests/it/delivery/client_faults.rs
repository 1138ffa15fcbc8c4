//! Faults of the network between clients and their replica, and of the clients themselves.

use std::time::Duration;

use super::*;
use crate::support::fault_proxy::{Direction, Fault, plan};

#[test]
fn clients_are_cut_and_reconnect() {
    let mut run = Delivery::start();
    for _ in 0..5 {
        run.lose_clients(|run| run.clients.iter().for_each(ResumingClient::cut));
    }
    run.finish().assert_exact();
}

#[test]
fn clients_are_offline_while_many_messages_are_published() {
    let mut run = Delivery::start();
    run.lose_clients(|run| {
        run.client_proxies.iter().for_each(|proxy| proxy.refuse(true));
        run.client_proxies.iter().for_each(FaultProxy::reset_open);
        run.publisher.change(|publishing| publishing.pace = Duration::ZERO);
        run.publish(300);
        run.publisher.change(|publishing| publishing.pace = Duration::from_millis(3));
        run.client_proxies.iter().for_each(FaultProxy::heal);
    });
    run.finish().assert_exact();
}

#[test]
fn clients_are_offline_while_the_last_message_is_published() {
    let mut run = Delivery::start();
    run.lose_clients(|run| {
        run.client_proxies.iter().for_each(|proxy| proxy.refuse(true));
        run.client_proxies.iter().for_each(FaultProxy::reset_open);
        run.publish(5);
        run.publisher.pause();
        run.client_proxies.iter().for_each(FaultProxy::heal);
    });
    run.finish_paused().assert_exact();
}

/// Cuts both clients while they resume, each time after another number of bytes, then lets them resume.
#[track_caller]
fn cut_at_points(run: Delivery, direction: Direction, points: impl Iterator<Item = usize>) {
    for bytes in points {
        let sessions: Vec<usize> = run.clients.iter().map(ResumingClient::sessions).collect();
        for proxy in &run.client_proxies {
            let before = proxy.broken();
            proxy.set(direction, Fault::CutAfter(bytes));
            proxy.reset_open();
            // The old connection, and one that was cut after `bytes`.
            proxy.wait_broken(before + 1);
            proxy.heal();
        }
        for (client, before) in run.clients.iter().zip(sessions) {
            client.wait_on_all_after(before);
        }
    }
    run.finish().assert_exact();
}

#[test]
fn clients_are_cut_at_many_points_while_sending_a_resume() {
    cut_at_points(Delivery::start(), Direction::ToServer, (0..400).step_by(23));
}

#[test]
fn clients_are_cut_at_many_points_while_receiving_a_resume() {
    cut_at_points(Delivery::start(), Direction::ToClient, (0..1_500).step_by(53));
}

#[test]
fn clients_are_cut_at_many_points_while_resuming_by_subscribe() {
    let run = Plan::new().subscribing_late().start();
    cut_at_points(run, Direction::ToClient, (300..1_200).step_by(53));
}

#[test]
fn a_client_resumes_while_its_old_socket_is_still_open() {
    let run = Delivery::start();
    run.client_proxies[0].set_both(Fault::BlackHole);
    // The client times out and reconnects while the gateway still has the old socket.
    eventually(SOON, || (run.client_proxies[0].accepted() > 1).then_some(()));
    run.client_proxies[0].heal();
    run.clients[0].wait_on_all_after(1);
    run.finish().assert_exact();
}

#[test]
fn two_clients_resume_from_the_same_position_at_once() {
    let mut run = Plan::new().clients(1).start();
    run.client_proxies[0].refuse(true);
    run.client_proxies[0].reset_open();
    eventually(SOON, || (run.client_proxies[0].open() == 0).then_some(()));
    run.publish(5);
    let twin = run.clients[0].twin();
    run.clients.push(twin);
    run.client_proxies[0].heal();
    run.clients.iter().zip([1, 0]).for_each(|(client, before)| client.wait_on_all_after(before));
    run.finish().assert_exact();
}

#[test]
fn clients_unsubscribe_and_resume_from_their_position() {
    let run = Delivery::start();
    for _ in 0..10 {
        run.clients.iter().for_each(ResumingClient::rejoin);
        run.publish(2);
    }
    run.finish().assert_exact();
}

#[test]
fn a_client_stops_reading_and_continues() {
    let run = Delivery::start();
    run.clients[0].sleep(true);
    run.publish(100);
    run.clients[0].sleep(false);
    run.finish().assert_exact();
}

/// The client misses `session.max_outbound_bytes` of queued messages, of which at most half are recovered. It receives
/// a gap on at least one channel.
#[test]
fn a_slow_client_is_closed_and_resumes() {
    let run = Plan::new()
        .with("session.max_outbound_bytes", "65536")
        .publishing(|publishing| publishing.padding = 50_000)
        .start();
    run.clients[0].sleep(true);
    eventually(SOON, || (run.gateway().closes(4008) > 0).then_some(()));
    run.publisher.change(|publishing| publishing.padding = 0);
    run.clients[0].sleep(false);
    run.clients[0].wait_on_all_after(1);
    run.finish().assert_no_silent_loss();
}

#[test]
fn client_connections_have_low_bandwidth_or_high_latency() {
    let run = Delivery::start();
    run.client_proxies[0].set(Direction::ToClient, Fault::Throttle(10_000));
    run.client_proxies[1].set_both(Fault::Delay(Duration::from_millis(100)));
    run.publish_for(Duration::from_millis(1_500));
    run.client_proxies.iter().for_each(FaultProxy::heal);
    run.finish().assert_exact();
}

/// Two clients miss messages and resume while the replica has no link. `others` more clients stay connected.
#[track_caller]
fn resume_without_link(plan: Plan, others: usize) -> Delivery {
    let run = plan.clients(2 + others).start();
    let (client_proxies, clients) = (&run.client_proxies[..2], &run.clients[..2]);
    client_proxies.iter().for_each(|proxy| proxy.refuse(true));
    client_proxies.iter().for_each(FaultProxy::reset_open);
    run.gateway().wait_metric("sessions", others as i64);
    run.publish(5);
    run.link().refuse(true);
    run.lose_link(|| run.link().reset_open());
    run.publish(5);
    let before: Vec<usize> = clients.iter().map(ResumingClient::sessions).collect();
    client_proxies.iter().for_each(FaultProxy::heal);
    for (client, before) in clients.iter().zip(before) {
        eventually(SOON, || (client.sessions() > before).then_some(()));
    }
    run
}

#[test]
fn clients_resume_while_the_link_reconnects() {
    let run = resume_without_link(Plan::new().with("broker.response_timeout", "10s"), 1);
    run.link().heal();
    run.finish().assert_exact();
}

#[test]
fn clients_resume_unknown_channels_at_a_replica_without_a_link() {
    let run = resume_without_link(Plan::new().with("broker.response_timeout", "10s"), 0);
    run.link().heal();
    run.finish().assert_exact();
}

#[test]
fn clients_resume_while_the_link_is_down_for_long() {
    let run = resume_without_link(Plan::new(), 1);
    // Longer than the `broker.response_timeout` of these tests.
    run.publish_for(Duration::from_millis(1_500));
    run.link().heal();
    run.finish().assert_exact();
}

#[test]
fn client_connections_fail_at_random() {
    let run = Plan::new().replicas(2).start();
    std::thread::scope(|scope| {
        for (seed, proxy) in run.client_proxies.iter().enumerate() {
            scope.spawn(move || proxy.run(&plan::random(seed as u64, 8, Duration::from_millis(300))));
        }
    });
    run.finish().assert_exact();
}

#[test]
fn both_sides_of_a_replica_fail_at_random() {
    let run = Plan::new().with("broker.response_timeout", "10s").start();
    std::thread::scope(|scope| {
        scope.spawn(|| run.link().run(&plan::random(5, 8, Duration::from_millis(300))));
        for (seed, proxy) in run.client_proxies.iter().enumerate() {
            scope.spawn(move || proxy.run(&plan::random(10 + seed as u64, 8, Duration::from_millis(300))));
        }
    });
    run.finish().assert_exact();
}

/// A read that fails because its link is lost must be repeated on the next link, and must not end in a gap.
#[test]
fn the_link_is_lost_repeatedly_while_clients_recover() {
    let mut run = Plan::new().with("broker.response_timeout", "10s").start();
    for _ in 0..15 {
        run.lose_clients(|run| {
            run.gateway().wait_ready();
            // The clients still recover when the link is lost.
            run.link().set(Direction::ToClient, Fault::Delay(Duration::from_millis(50)));
            let losses = run.link_losses();
            run.clients.iter().for_each(ResumingClient::cut);
            let before: Vec<usize> = run.clients.iter().map(ResumingClient::sessions).collect();
            for (client, before) in run.clients.iter().zip(before) {
                eventually(SOON, || (client.sessions() > before).then_some(()));
            }
            run.publish(2);
            run.link().reset_open();
            run.wait_link_lost(losses);
            run.link().heal();
        });
    }
    run.finish().assert_exact();
}

#[test]
fn clients_switch_to_a_replica_that_lags_without_a_link() {
    let run = Delivery::start_two();
    run.link().refuse(true);
    run.lose_link(|| run.link().reset_open());
    run.publish(10);
    run.route_clients(1, 0);
    let before = run.clients[1].sessions();
    run.clients[1].cut();
    // Ready arrives at once; the channel is `recovering` until the replica has reached the client's position.
    eventually(SOON, || (run.clients[1].sessions() > before).then_some(()));
    run.publish(5);
    run.link().heal();
    run.finish().assert_exact();
}

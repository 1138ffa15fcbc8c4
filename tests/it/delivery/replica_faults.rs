//! Replicas of the gateway are killed, drained, stopped and restarted.

use std::time::Duration;

use super::*;
use crate::support::fault_proxy::Fault;

#[test]
fn a_replica_is_killed_and_its_clients_use_another() {
    let mut run = Delivery::start_two();
    run.kill_replica(0);
    run.route_clients(0, 1);
    run.clients.iter().step_by(2).for_each(|client| client.wait_on_all_after(1));
    run.finish().assert_exact();
}

#[test]
fn a_replica_is_killed_and_restarts() {
    let mut run = Delivery::start();
    run.lose_clients(|run| {
        run.kill_replica(0);
        run.publish(10);
        run.restart_replica(0);
    });
    run.finish().assert_exact();
}

/// The operating system may give the port of a killed replica to the gateway of another run, which has the same user
/// and channels.
#[test]
fn another_runs_gateway_on_a_killed_replicas_port_gets_no_clients() {
    let mut run = Delivery::start();
    let other = Delivery::start();
    let (port, host) = (run.gateway().public.port(), other.gateway().public.ip());
    let gateway = run.lose_clients(|run| {
        run.kill_replica(0);
        let gateway =
            other.replicas[0].plan.clone().with("server.public_addr", &format!("{host}:{port}")).spawn();
        // Each client has tried to reconnect twice.
        let before: Vec<usize> = run.client_proxies.iter().map(FaultProxy::accepted).collect();
        eventually(SOON, || {
            let tried =
                run.client_proxies.iter().zip(&before).all(|(proxy, before)| proxy.accepted() > before + 1);
            let landed = run.clients.iter().any(|client| client.sessions() > 1);
            (tried || landed).then_some(())
        });
        run.restart_replica(0);
        gateway
    });
    run.finish().assert_exact();
    drop(gateway);
}

#[test]
fn the_last_message_is_published_while_a_replica_is_down() {
    let mut run = Delivery::start();
    run.lose_clients(|run| {
        run.kill_replica(0);
        run.publish(10);
        run.publisher.pause();
        run.restart_replica(0);
    });
    run.finish_paused().assert_exact();
}

#[test]
fn a_replica_drains_and_its_clients_use_another() {
    let mut run = Delivery::start_two();
    run.route_clients(0, 1);
    run.gateway_of(0).terminate();
    let mut gone = run.replicas[0].gateway.take().unwrap();
    assert_eq!(gone.wait_exit().code, Some(0));
    run.clients.iter().step_by(2).for_each(|client| client.wait_on_all_after(1));
    run.finish().assert_exact();
}

#[test]
fn a_replica_drains_while_its_link_is_down() {
    let mut run = Delivery::start_two();
    run.link().refuse(true);
    run.lose_link(|| run.link().reset_open());
    run.publish(5);
    run.route_clients(0, 1);
    run.gateway_of(0).terminate();
    run.replicas[0].gateway.take().unwrap().wait_exit();
    run.finish().assert_exact();
}

#[test]
fn a_replica_is_stopped_for_a_moment() {
    let run = Delivery::start();
    run.gateway().signal("STOP");
    run.publish_for(Duration::from_millis(500));
    run.gateway().signal("CONT");
    run.finish().assert_exact();
}

#[test]
fn a_replica_is_stopped_and_its_clients_use_another() {
    let run = Delivery::start_two();
    run.route_clients(0, 1);
    run.gateway_of(0).signal("STOP");
    run.clients.iter().step_by(2).for_each(|client| client.wait_on_all_after(1));
    run.publish(5);
    run.gateway_of(0).signal("CONT");
    run.finish().assert_exact();
}

#[test]
fn all_replicas_are_killed_at_once() {
    let mut run = Delivery::start_two();
    run.lose_clients(|run| {
        (0..2).for_each(|replica| run.kill_replica(replica));
        run.publish(10);
        (0..2).for_each(|replica| run.restart_replica(replica));
    });
    run.finish().assert_exact();
}

#[test]
fn replicas_are_replaced_one_after_the_other() {
    let mut run = Delivery::start_two();
    for replica in 0..2 {
        run.route_clients(0, 1 - replica);
        run.route_clients(1, 1 - replica);
        run.gateway_of(replica).terminate();
        run.replicas[replica].gateway.take().unwrap().wait_exit();
        run.restart_replica(replica);
    }
    run.finish().assert_exact();
}

#[test]
fn a_replica_is_killed_while_redis_does_not_answer() {
    let mut run = Delivery::start_two();
    run.redis.stop();
    run.kill_replica(0);
    run.route_clients(0, 1);
    run.publish_for(Duration::from_millis(300));
    run.redis.cont();
    run.finish().assert_exact();
}

#[test]
fn clients_alternate_between_replicas_of_which_one_lags() {
    let run = Delivery::start_two();
    run.replicas[1].link.set_both(Fault::Delay(Duration::from_millis(50)));
    for round in 0..10 {
        let to = (round + 1) % 2;
        run.route_clients(0, to);
        run.route_clients(1, to);
        run.clients.iter().for_each(ResumingClient::cut);
        run.publish(5);
    }
    run.finish().assert_exact();
}

//! Clients resume while no history can be read. A delay says nothing about the history, so the
//! channel is `recovering` until it can be read, and then recovers.

use std::time::Duration;

use super::redis_faults::run_command;
use super::*;
use crate::support::fault_proxy::{Direction, Fault};

/// Longer than any answer is waited for (`broker.response_timeout` is 700 ms in these tests).
const PAUSE: Duration = Duration::from_secs(3);

/// Clients have missed something and resume while Redis answers nothing.
#[track_caller]
fn resume_while_redis_pauses(plan: Plan) {
    let mut run = plan.start();
    run.lose_clients(|run| {
        run.client_proxies.iter().for_each(|proxy| proxy.refuse(true));
        run.client_proxies.iter().for_each(FaultProxy::reset_open);
        run.gateway().wait_metric("sessions", 0);
        run.publish(5);
        run.publisher.pause();
        run_command::<()>(&mut run.admin(), &format!("CLIENT PAUSE {} ALL", PAUSE.as_millis()));
        run.client_proxies.iter().for_each(FaultProxy::heal);
    });
    let waited =
        run.clients.iter().all(|client| CHANNELS.iter().all(|channel| client.recovering_count(channel) > 0));
    run.finish_paused().assert_exact();
    assert!(waited, "Ready waited for the history");
}

#[test]
fn clients_resume_while_redis_pauses_and_the_link_is_lost() {
    resume_while_redis_pauses(Plan::new());
}

#[test]
fn clients_resume_while_redis_pauses_and_the_link_stays() {
    resume_while_redis_pauses(Plan::new().with("broker.probe_timeout", "10s"));
}

#[test]
fn clients_resume_by_subscribe_while_redis_pauses() {
    let plan = Plan::new().subscribing_late().with("broker.probe_timeout", "10s");
    resume_while_redis_pauses(plan);
}

/// Each connection to Redis answers more slowly than an answer is waited for.
#[test]
fn clients_resume_while_redis_answers_late() {
    let mut run = Plan::new().with("broker.probe_timeout", "10s").start();
    run.lose_clients(|run| {
        run.client_proxies.iter().for_each(|proxy| proxy.refuse(true));
        run.client_proxies.iter().for_each(FaultProxy::reset_open);
        run.gateway().wait_metric("sessions", 0);
        run.publish(5);
        run.link().set(Direction::ToClient, Fault::Delay(Duration::from_secs(1)));
        run.client_proxies.iter().for_each(FaultProxy::heal);
        run.publish_for(PAUSE);
        run.link().heal();
    });
    run.finish().assert_exact();
}

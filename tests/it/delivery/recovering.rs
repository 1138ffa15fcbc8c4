//! Clients resume while no history can be read. A delay does not mean a loss, so the channel is `recovering` until its
//! history can be read, and then recovered.

use std::time::Duration;

use super::*;
use crate::support::fault_proxy::{Direction, Fault};
use crate::support::redis_line::run_line;

/// Longer than `broker.response_timeout`, which is 700 ms in these tests.
const PAUSE: Duration = Duration::from_secs(3);

/// Clients miss messages and resume while Redis answers no command.
#[track_caller]
fn resume_while_redis_pauses(plan: Plan) {
    let mut run = plan.start();
    run.lose_clients(|run| {
        run.client_proxies.iter().for_each(|proxy| proxy.refuse(true));
        run.client_proxies.iter().for_each(FaultProxy::reset_open);
        run.gateway().wait_metric("sessions", 0);
        run.publish(5);
        run.publisher.pause();
        run_line::<()>(&mut run.admin(), &format!("CLIENT PAUSE {} ALL", PAUSE.as_millis()));
        run.client_proxies.iter().for_each(FaultProxy::heal);
    });
    let were_recovering =
        run.clients.iter().all(|client| CHANNELS.iter().all(|channel| client.recovering_count(channel) > 0));
    run.finish_paused().assert_exact();
    assert!(were_recovering, "a channel was not reported as recovering before its history was read");
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

/// Each answer of Redis takes longer than `broker.response_timeout`.
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

//! Stalled threads are reported, and an unread log stalls no thread.
#![cfg(target_os = "linux")]

use std::io::Write as _;
use std::net::TcpStream;

use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::raw_socket::{UPGRADE, text_frame};
use crate::support::redis_server::RedisServer;
use crate::support::stopped_thread::{LINK, StoppedThread, WORKER};

/// A short-lived socket writes about 600 bytes to the log.
fn fill_log_pipe(gateway: &TestGateway) {
    let mut socket = TcpStream::connect(gateway.public).unwrap();
    let head = UPGRADE.replace('\n', "\r\n");
    let identify = text_frame(0x81, &format!(r#"{{"op":1,"token":"{}"}}"#, "x".repeat(100)));
    socket.write_all(format!("{head}\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
    socket.write_all(&identify).unwrap();
}

#[test]
fn an_unread_log_blocks_no_thread() {
    let plan = TestGateway::with("log.format", "json");
    let mut gateway = plan.variable("RUST_LOG", "info,emagine_gateway::session=debug").spawn();
    let mut healthy = gateway.ready_client("42");
    let unread = gateway.block_log_reader();
    eventually(SOON * 3, || {
        (0..100).for_each(|_| fill_log_pipe(&gateway));
        (gateway.metric("log_lines_dropped_total") > 100).then_some(())
    });
    // The workers handle thousands of sockets first.
    eventually(SOON, || (gateway.get("/livez").status == 200).then_some(()));
    assert_eq!(gateway.readyz().0, 200);
    gateway.publish("user:42", "1");
    healthy.expect_text(r#"{"op":3,"message":1}"#);
    gateway.wait_metric("sessions", 1);
    drop(unread);
    gateway.wait_for_log("log lines were dropped");
    let dropped = gateway.metric("log_lines_dropped_total");
    let reported = eventually(SOON, || {
        let log = gateway.log();
        let reports = log.lines().filter(|line| line.contains("log lines were dropped"));
        let message =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].clone();
        let numbers = reports
            .map(message)
            .map(|message| message.as_str().unwrap().split(' ').next().unwrap().parse::<i64>().unwrap());
        Some(numbers.sum::<i64>()).filter(|sum| *sum >= dropped)
    });
    assert_eq!(reported, dropped);
}

#[test]
fn an_unread_log_does_not_delay_the_exit() {
    let mut gateway = TestGateway::with("log.format", "json")
        .variable("RUST_LOG", "info,emagine_gateway::session=debug")
        .spawn();
    let unread = gateway.block_log_reader();
    eventually(SOON * 3, || {
        (0..100).for_each(|_| fill_log_pipe(&gateway));
        (gateway.metric("log_lines_dropped_total") > 0).then_some(())
    });
    gateway.terminate();
    // After the exit, only the first thread remains until the test waits for the process.
    eventually(SOON, || gateway.threads("log").is_empty().then_some(()));
    drop(unread);
    assert_eq!(gateway.wait_exit().code, Some(0));
}

#[test]
fn livez_fails_while_a_worker_is_stalled() {
    let gateway = TestGateway::spawn();
    let stopped = StoppedThread::of(&gateway, WORKER);
    let answer = gateway.get("/livez");
    assert_eq!((answer.status, answer.json()["live"].as_bool()), (503, Some(false)));
    // Threads start in any order, so either worker may be the stopped one.
    let named = ["worker 0 did not answer", "worker 1 did not answer"];
    assert_eq!(named.iter().filter(|name| answer.body.contains(**name)).count(), 1, "{}", answer.body);
    drop(stopped);
    eventually(SOON, || (gateway.get("/livez").status == 200).then_some(()));
}

#[test]
fn livez_and_readyz_fail_while_the_link_is_stalled() {
    let redis = RedisServer::start();
    let plan = TestGateway::redis(&redis).with("broker.probe_interval", "1s");
    let gateway = plan.with("broker.probe_timeout", "1500ms").spawn();
    gateway.wait_ready();
    let stopped = StoppedThread::of(&gateway, LINK);
    gateway.wait_not_ready("no probe returned for");
    assert_eq!(gateway.get("/livez").status, 503);
    assert_eq!((gateway.metric("ready"), gateway.metric("redis_link_up")), (0, 0));
    drop(stopped);
    gateway.wait_ready();
    assert_eq!(gateway.get("/livez").status, 200);
    assert_eq!((gateway.metric("ready"), gateway.metric("redis_link_up")), (1, 1));
}

#[test]
fn livez_stays_200_while_redis_is_away() {
    let redis = RedisServer::reserve(&[]);
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_not_ready("redis");
    assert_eq!(gateway.get("/livez").status, 200);
}

/// The one worker's thread also receives from Redis, so that no message crosses threads.
#[test]
fn with_one_worker_the_link_runs_on_its_thread() {
    let mut redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).with("server.workers", "1").spawn();
    gateway.wait_ready();
    assert!(gateway.threads(LINK).is_empty());
    let mut client = gateway.ready_client("42");
    redis.kill();
    gateway.wait_not_ready("redis");
    assert_eq!(gateway.get("/livez").status, 200);
    redis.launch();
    gateway.wait_ready();
    gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
}

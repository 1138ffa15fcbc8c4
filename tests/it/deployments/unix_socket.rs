//! Redis on a Unix socket.

use super::{assert_delivers, plan};
use crate::support::redis_server::RedisServer;

#[test]
fn a_unix_socket_works_like_a_port() {
    let mut redis = RedisServer::start_with(&["--unixsocket", "redis.sock"]);
    let path = redis.file("redis.sock");
    for scheme in ["unix", "redis+unix"] {
        let mut gateway = plan(&format!("{scheme}://{}", path.display())).spawn();
        gateway.wait_ready();
        gateway.wait_for_log(&format!("redis at {}: link is healthy", path.display()));
        assert_delivers(&gateway, &mut redis.client());
        redis.kill();
        gateway.wait_not_ready("redis:");
        redis.restart();
        gateway.wait_ready();
        assert_delivers(&gateway, &mut redis.client());
    }
}

#[test]
fn a_password_in_the_query_is_used_and_masked() {
    let redis = RedisServer::start_with(&["--unixsocket", "redis.sock", "--requirepass", "correct-horse"]);
    let url = |password| format!("unix://{}?pass={password}", redis.file("redis.sock").display());
    let gateway = plan(&url("correct-horse")).spawn();
    gateway.wait_ready();
    let wrong = plan(&url("battery-staple")).with("log.level", "debug").spawn();
    wrong.wait_not_ready("WRONGPASS");
    for (gateway, password) in [(&gateway, "correct-horse"), (&wrong, "battery-staple")] {
        assert!(!gateway.log().contains(password), "{}", gateway.log());
        assert!(!gateway.command(&["check"]).out.contains(password));
    }
}

//! The permissions of Redis users, missing permissions, and a full Redis.

use super::*;

/// The rights of a backend, as in docs/operations/redis.md.
const RIGHTS: &str = "+fcall +time +exists +xinfo|stream +xadd +pexpire +publish +get +set +info";

/// Opens a connection as a user with these ACL rules.
fn as_user(redis: &mut Prepared, rules: &str) -> Connection {
    redis.run::<()>(&format!("ACL SETUSER backend reset on >secret {rules}"));
    let mut client = redis.server.client();
    run_line::<()>(&mut client, "AUTH backend secret");
    client
}

#[test]
fn the_documented_rights_suffice() {
    let mut redis = Prepared::start();
    let mut backend = as_user(&mut redis, &format!("~gateway:* &gateway:* {RIGHTS}"));
    let first: String = fcall(&mut backend, &["room:1"], &["1", "key"]).unwrap();
    assert_eq!(fcall::<String>(&mut backend, &["room:1"], &["1", "key"]).unwrap(), first);
    let second: String = fcall(&mut backend, &["room:1"], &["2"]).unwrap();
    assert_eq!(parse(&second), next(parse(&first)));
    let rules = format!("~gateway:room:* %R~gateway:settings &gateway:room:* {RIGHTS}");
    let mut narrow = as_user(&mut redis, &rules);
    fcall::<String>(&mut narrow, &["room:1"], &["1", "other"]).unwrap();
}

#[test]
fn the_documented_rights_of_the_gateway_suffice() {
    const RIGHTS: &str = "~gateway:* &gateway:* -@all +subscribe +unsubscribe +publish +ping +time \
                          +function|list +function|load +fcall +exists +xinfo|stream +xadd +xrange +xrevrange \
                          +pexpire +get +set +multi +exec +info +zadd +zcard +zrangebyscore \
                          +zremrangebyscore";
    let server = RedisServer::start();
    run_line::<()>(&mut server.client(), &format!("ACL SETUSER gateway on >secret {RIGHTS}"));
    let mut redis = Prepared::over_as(server, "gateway:secret");
    assert_eq!((redis.broker.notes(), redis.metrics.history_available.get()), (vec![], 1));
    redis.broker_publishes("room:1", "1").unwrap();
    let marker: String = redis.run("GET gateway:dataset");
    assert!(marker.starts_with(r#"{"whole_since_ms":1"#), "{marker}");
}

#[test]
fn a_user_without_rights_is_refused_before_any_write() {
    /// The server refuses in its own words, which differ between Redis and Valkey.
    const BY_SERVER: &str = "";
    let mut redis = Prepared::start();
    for (rules, text) in [
        (format!("~gateway:* {RIGHTS}"), "may not run PUBLISH"),
        (format!("~gateway:* &gateway:* {RIGHTS} -publish"), "may not run PUBLISH"),
        (format!("~gateway:* &gateway:* {RIGHTS} -xadd"), "may not run XADD"),
        (format!("~gateway:* &gateway:* {RIGHTS} -pexpire"), "may not run PEXPIRE"),
        (format!("~gateway:* &gateway:* {RIGHTS} -set"), "may not run SET"),
        (format!("~gateway:* &gateway:* {RIGHTS} -get"), "may not run GET on gateway:settings"),
        (format!("~gateway:room:* &gateway:* {RIGHTS}"), "may not run GET on gateway:settings"),
        (format!("%R~gateway:* &gateway:* {RIGHTS}"), BY_SERVER),
        (format!("~gateway:* &gateway:* {RIGHTS} -time"), BY_SERVER),
        (format!("~gateway:* &gateway:* {RIGHTS} -fcall"), BY_SERVER),
        (format!("~gateway:user:* &gateway:* {RIGHTS}"), BY_SERVER),
    ] {
        let mut backend = as_user(&mut redis, &rules);
        let error = refused(&mut backend, &["room:1"], &["1", "key"]);
        assert!(error.contains(text), "{rules}: {error}");
        assert!(redis.keys().is_empty(), "{rules}");
    }
}

#[test]
fn a_full_redis_refuses_publications_and_loses_nothing() {
    let mut redis = Prepared::start();
    let first = redis.publish("room:1", "1");
    redis.run::<()>("CONFIG SET maxmemory 1");
    let error = refused(&mut redis.backend, &["room:1"], &["2"]);
    assert!(error.contains("OOM"), "{error}");
    assert!(redis.broker_publishes("room:1", "2").unwrap_err().to_string().contains("OOM"));
    redis.run::<()>("CONFIG SET maxmemory 0");
    assert_eq!(redis.publish("room:1", "2"), next(first));
}

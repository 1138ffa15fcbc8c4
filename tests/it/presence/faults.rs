//! Replicas that die, stop or lose Redis: the edges of each user stay exact.

use super::*;

#[test]
fn a_killed_replica_is_buried_and_its_users_go_offline_once() {
    let redis = RedisServer::start();
    let (gateway, mut dying) = (plan(&redis, "0s").spawn(), plan(&redis, "0s").spawn());
    let mut backend = redis.client();
    for replica in [&gateway, &dying] {
        replica.wait_ready();
    }
    let _stays = gateway.ready_client("1");
    let _both = (gateway.ready_client("2"), dying.ready_client("2"));
    let _dies = dying.ready_client("3");
    wait_online(&mut backend, "2", Some(2));
    wait_online(&mut backend, "3", Some(1));
    dying.signal("KILL");
    dying.wait_exit();
    wait_online(&mut backend, "3", None);
    wait_online(&mut backend, "2", Some(1));
    assert_edges(&mut backend, "1", &["online"]);
    assert_edges(&mut backend, "2", &["online"]);
    assert_edges(&mut backend, "3", &["online", "offline"]);
    gateway.wait_metric("presence_burials_total", 1);
}

#[test]
fn the_metrics_show_the_lease_and_the_reports() {
    let mut redis = RedisServer::start();
    let gateway = plan(&redis, "0s").spawn();
    gateway.wait_ready();
    gateway.wait_metric("presence_lease", 1);
    assert_eq!(gateway.metric("presence_enabled"), 1);
    let _client = gateway.ready_client("1");
    gateway.wait_metric("presence_reports_total", 1);
    redis.kill();
    gateway.wait_metric("presence_lease", 0);
    redis.restart();
    gateway.wait_metric("presence_lease", 1);
    let off = TestGateway::redis(&redis).spawn();
    off.wait_ready();
    assert_eq!(off.metric("presence_enabled") + off.metric("presence_lease"), 0);
}

#[test]
fn a_replica_that_was_stopped_beyond_its_lease_enters_again() {
    let redis = RedisServer::start();
    let (gateway, stopped) = (plan(&redis, "0s").spawn(), plan(&redis, "0s").spawn());
    let mut backend = redis.client();
    for replica in [&gateway, &stopped] {
        replica.wait_ready();
    }
    let _client = stopped.ready_client("3").answering_heartbeats();
    wait_online(&mut backend, "3", Some(1));
    stopped.signal("STOP");
    wait_online(&mut backend, "3", None);
    stopped.signal("CONT");
    wait_online(&mut backend, "3", Some(1));
    assert_edges(&mut backend, "3", &["online", "offline", "online"]);
}

#[test]
fn a_redis_that_lost_everything_gets_all_users_again() {
    let mut redis = RedisServer::start();
    let gateway = plan(&redis, "0s").spawn();
    gateway.wait_ready();
    let _clients = ["1", "2"].map(|user| gateway.ready_client(user));
    wait_online(&mut redis.client(), "2", Some(1));
    redis.kill();
    redis.restart();
    gateway.wait_ready();
    for user in ["1", "2"] {
        wait_online(&mut redis.client(), user, Some(1));
        assert_edges(&mut redis.client(), user, &["online"]);
    }
}

/// The leases of both replicas have lapsed when Redis is back, and one replica connects seconds after the other.
#[test]
fn users_stay_online_over_a_downtime_of_redis() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let slow = |delay| {
        let plan = plan(&redis, "0s").with("broker.max_reconnect_delay", "3s");
        plan.with("broker.min_reconnect_delay", delay).spawn()
    };
    let gateways = [slow("300ms"), slow("3s")];
    let clients = gateways.each_ref().map(|gateway| {
        gateway.wait_ready();
        gateway.ready_client(&gateway.public.port().to_string()).answering_heartbeats()
    });
    let users = gateways.each_ref().map(|gateway| gateway.public.port().to_string());
    users.iter().for_each(|user| wait_online(&mut redis.client(), user, Some(1)));
    redis.kill();
    redis.restart();
    let mut backend = redis.client();
    let leases: Vec<String> =
        redis::cmd("ZRANGE").arg("gateway:{presence}:replicas").arg(0).arg(-1).query(&mut backend).unwrap();
    for lease in &leases {
        redis::cmd("ZADD").arg("gateway:{presence}:replicas").arg(1).arg(lease).exec(&mut backend).unwrap();
    }
    for lease in leases {
        eventually_eq(BURIAL, &None::<f64>, || {
            redis::cmd("ZSCORE").arg("gateway:{presence}:replicas").arg(&lease).query(&mut backend).unwrap()
        });
    }
    for user in &users {
        wait_online(&mut backend, user, Some(1));
        assert_edges(&mut backend, user, &["online"]);
    }
    drop(clients);
}

/// Every replica is refused for longer than its lease. Then one tries again seconds before the other.
#[test]
fn users_stay_online_while_the_memory_of_redis_is_full() {
    let redis = RedisServer::start();
    let gateways = [plan(&redis, "0s").spawn(), plan(&redis, "0s").spawn()];
    let mut backend = redis.client();
    let users = gateways.each_ref().map(|gateway| gateway.public.port().to_string());
    let clients = gateways.each_ref().map(|gateway| {
        gateway.wait_ready();
        gateway.ready_client(&gateway.public.port().to_string()).answering_heartbeats()
    });
    let leaves = gateways[0].ready_client("leaves");
    users.iter().for_each(|user| wait_online(&mut backend, user, Some(1)));
    wait_online(&mut backend, "leaves", Some(1));
    let leases = |backend: &mut Connection| -> Vec<(String, f64)> {
        let mut range = redis::cmd("ZRANGE");
        range.arg("gateway:{presence}:replicas").arg(0).arg(-1).arg("WITHSCORES").query(backend).unwrap()
    };
    let set_memory = |backend: &mut Connection, bytes: &str| {
        redis::cmd("CONFIG").arg(&["SET", "maxmemory", bytes]).exec(backend).unwrap();
    };
    set_memory(&mut backend, "1");
    gateways.iter().for_each(|gateway| gateway.wait_metric("presence_lease", 0));
    drop(leaves);
    let old = leases(&mut backend);
    let now = |backend: &mut Connection| -> f64 {
        let (seconds, _): (f64, u64) = redis::cmd("TIME").query(backend).unwrap();
        seconds * 1000.0
    };
    eventually_eq(BURIAL, &true, || old.iter().all(|(_, lapses)| *lapses < now(&mut backend)));
    gateways[1].signal("STOP");
    set_memory(&mut backend, "0");
    gateways[0].wait_metric("presence_lease", 1);
    let entered = now(&mut backend);
    eventually_eq(BURIAL, &true, || now(&mut backend) >= entered + 3000.0);
    gateways[1].signal("CONT");
    for (lease, _) in old {
        eventually_eq(2 * BURIAL, &false, || leases(&mut backend).iter().any(|(other, _)| *other == lease));
    }
    wait_online(&mut backend, "leaves", None);
    assert_edges(&mut backend, "leaves", &["online", "offline"]);
    for user in &users {
        wait_online(&mut backend, user, Some(1));
        assert_edges(&mut backend, user, &["online"]);
    }
    drop(clients);
}

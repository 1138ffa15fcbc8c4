//! Hand-made answers in the forms of Redis 7.0, Redis 8 and Valkey 8.

use super::*;

const PLAIN: Asked<'_> = Asked { host: "seed.example", is_tls: false };
const TLS: Asked<'_> = Asked { host: "seed.example", is_tls: true };

fn word(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

/// A list of names and values; `port=1` is a number, `hostname=?` a text, and `endpoint!` has no value.
fn node(description: &str) -> Value {
    let mut values = Vec::new();
    for field in description.split(' ') {
        let (name, value) = field.split_once('=').unwrap_or_else(|| (field.trim_end_matches('!'), ""));
        values.push(word(name));
        values.push(match value.parse() {
            Ok(number) => Value::Int(number),
            Err(_) if field.ends_with('!') => Value::Nil,
            Err(_) => word(value),
        });
    }
    Value::Array(values)
}

fn shard(slots: &[i64], nodes: &[&str]) -> Value {
    let slots = Value::Array(slots.iter().map(|slot| Value::Int(*slot)).collect());
    let nodes = Value::Array(nodes.iter().map(|description| node(description)).collect());
    Value::Array(vec![word("slots"), slots, word("nodes"), nodes])
}

fn owners(answer: &[Value], asked: Asked<'_>, slots: &[u16]) -> Vec<String> {
    let map = parse(&Value::Array(answer.to_vec()), asked).unwrap();
    let owner =
        |slot: &u16| map.owner(Slot::new(*slot).unwrap()).map_or_else(|| "none".into(), ToString::to_string);
    slots.iter().map(owner).collect()
}

/// The owner of slot 0, which is the only node's.
fn address(description: &str, asked: Asked<'_>) -> String {
    owners(&[shard(&[0, 0], &[description])], asked, &[0]).remove(0)
}

#[test]
fn masters_that_work_own_the_slots_of_their_shard() {
    let answer = [
        // Redis 7.0.
        shard(
            &[0, 99, 200, 200],
            &[
                "id=a port=1 ip=10.0.0.1 endpoint=10.0.0.1 hostname= role=replica replication-offset=7 health=online",
                "id=b port=2 ip=10.0.0.2 endpoint=10.0.0.2 hostname= role=master replication-offset=7 health=online",
            ],
        ),
        // A failed master whose replica is not promoted yet.
        shard(
            &[100, 199],
            &[
                "id=c port=3 ip=10.0.0.3 endpoint=10.0.0.3 role=master replication-offset=7 health=fail",
                "id=d port=4 ip=10.0.0.4 endpoint=10.0.0.4 role=replica replication-offset=7 health=online",
            ],
        ),
        // Valkey 8: the failed master and the promoted replica are one shard.
        shard(
            &[201, 300],
            &[
                "id=e port=5 ip=10.0.0.5 endpoint=10.0.0.5 role=master replication-offset=7 health=failed",
                "id=f port=6 ip=10.0.0.6 endpoint=10.0.0.6 role=master replication-offset=9 health=loading",
            ],
        ),
        // A master that has no slots yet.
        shard(&[], &["id=g port=7 ip=10.0.0.7 endpoint=10.0.0.7 role=master health=online"]),
    ];
    assert_eq!(
        owners(&answer, PLAIN, &[0, 99, 100, 199, 200, 201, 300, 301]),
        ["10.0.0.2:2", "10.0.0.2:2", "none", "none", "10.0.0.2:2", "10.0.0.6:6", "10.0.0.6:6", "none"]
    );
}

#[test]
fn the_address_of_a_node_suits_the_url() {
    let node = |rest: &str| format!("id=a role=master health=online {rest}");
    for (fields, plain, tls) in [
        ("port=1 tls-port=2 ip=10.0.0.1 endpoint=10.0.0.1", "10.0.0.1:1", "10.0.0.1:2"),
        // Certificates have names, so a name is used also where addresses are preferred.
        ("port=1 tls-port=2 ip=10.0.0.1 endpoint=10.0.0.1 hostname=a.example", "10.0.0.1:1", "a.example:2"),
        ("port=1 tls-port=2 ip=10.0.0.1 endpoint=a.example hostname=a.example", "a.example:1", "a.example:2"),
        // A node that prefers names and has none.
        ("port=1 tls-port=2 ip=10.0.0.1 endpoint=? hostname=", "10.0.0.1:1", "10.0.0.1:2"),
        ("port=1 tls-port=2 endpoint=?", "seed.example:1", "seed.example:2"),
        // cluster-preferred-endpoint-type unknown-endpoint, and a node that no other node has met.
        ("port=1 tls-port=2 ip=10.0.0.1 endpoint!", "seed.example:1", "seed.example:2"),
        ("port=1 tls-port=2 ip= endpoint=", "seed.example:1", "seed.example:2"),
        ("port=1 tls-port=2 ip=::1 endpoint=::1", "[::1]:1", "[::1]:2"),
    ] {
        assert_eq!(address(&node(fields), PLAIN), plain, "{fields}");
        assert_eq!(address(&node(fields), TLS), tls, "{fields}");
    }
}

#[test]
fn a_cluster_without_the_port_of_the_url_is_an_error() {
    for (port, asked) in [("port=1", TLS), ("tls-port=1", PLAIN), ("port=1 tls-port=0", TLS)] {
        let node = format!("id=a role=master health=online endpoint=a {port}");
        let error = parse(&Value::Array(vec![shard(&[0, 1], &[&node])]), asked).unwrap_err();
        assert_eq!(error, ShardsError::NoPort { is_tls: asked.is_tls });
    }
}

#[test]
fn resp3_and_unknown_fields_are_understood() {
    let Value::Array(fields) =
        node("id=a role=master health=online endpoint=a port=1 new=1 availability-zone=z")
    else {
        panic!("no list")
    };
    let pairs = fields.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    let nodes = Value::Array(vec![Value::Map(pairs.collect())]);
    let slots = Value::Array(vec![Value::Int(0), Value::Int(16_383)]);
    let more = (word("id"), word("x"));
    let shard = Value::Map(vec![(word("slots"), slots), (word("nodes"), nodes), more]);
    assert_eq!(owners(&[shard], PLAIN, &[0, 16_383]), ["a:1", "a:1"]);
}

#[test]
fn an_answer_in_another_form_is_an_error() {
    let good = "id=a role=master health=online endpoint=a port=1";
    assert_eq!(parse(&Value::Array(Vec::new()), PLAIN), Ok(SlotMap::default()));
    let long = format!("id=a role=master health=online port=1 endpoint={}", "a".repeat(256));
    let slots = |value: Value| Value::Array(vec![word("slots"), value, word("nodes"), Value::Array(vec![])]);
    for bad in [
        Value::Nil,
        word("OK"),
        Value::Array(vec![word("shards")]),
        Value::Array(vec![Value::Array(vec![word("slots")])]),
        Value::Array(vec![Value::Array(vec![Value::Int(1), Value::Int(1)])]),
        Value::Array(vec![slots(word("0"))]),
        Value::Array(vec![slots(Value::Array(vec![Value::Nil, Value::Nil]))]),
        Value::Array(vec![shard(&[0], &[good])]),
        Value::Array(vec![shard(&[0, 16_384], &[good])]),
        Value::Array(vec![shard(&[-1, 5], &[good])]),
        Value::Array(vec![shard(&[5, 4], &[good])]),
        Value::Array(vec![shard(&[0, 1, 2], &[good])]),
        Value::Array(vec![shard(&[0, 1], &["role=master endpoint=a port=1"])]),
        Value::Array(vec![shard(&[0, 1], &["id=a role=master endpoint=a port=65536"])]),
        Value::Array(vec![shard(&[0, 1], &["id=a role=master endpoint=a port=x"])]),
        Value::Array(vec![shard(&[0, 1], &["id=a role=master endpoint=ä port=1"])]),
        Value::Array(vec![shard(&[0, 1], &[&long])]),
        Value::Array(vec![shard(&[0, 1], &["id=a role=1 endpoint=a port=1"])]),
        Value::Array(vec![Value::Array(vec![word("nodes"), word("a")])]),
    ] {
        assert_eq!(parse(&bad, PLAIN), Err(ShardsError::Malformed), "{bad:?}");
    }
}

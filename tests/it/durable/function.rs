//! The function's guarantees to the backends that call it.

use protocol::publication::Payload;

use super::*;

#[test]
fn a_message_is_stored_and_published_at_one_position() {
    let mut redis = Prepared::start();
    let mut listener = redis.server.client();
    listener.set_read_timeout(Some(SOON)).unwrap();
    let mut listener = listener.as_pubsub();
    listener.subscribe("gateway:user:42").unwrap();
    let message = r#"{"b": 1,  "a":[1.0, 1e3, "\u00e9é"], "a":null}"#;
    let first = redis.publish("user:42", message);
    let second = redis.publish("user:42", "2");
    assert_eq!((first.offset, second), (1, next(first)));
    let now = redis.run::<(u64, u64)>("TIME").0 * 1000;
    assert!(first.epoch.abs_diff(now) < 60_000, "{first} at {now}");
    for (position, message) in [(first, message), (second, "2")] {
        assert_eq!(
            listener.get_message().unwrap().get_payload::<String>().unwrap(),
            format!("@{position} {message}")
        );
    }
    let entry = |position: Position, message: &str| {
        (position.to_string(), vec![("m".to_owned(), message.to_owned())])
    };
    assert_eq!(redis.history("user:42"), [entry(first, message), entry(second, "2")]);
}

#[test]
fn durable_and_plain_messages_keep_one_order() {
    let redis = Prepared::start();
    let mut listener = redis.server.client();
    listener.set_read_timeout(Some(SOON)).unwrap();
    let mut listener = listener.as_pubsub();
    listener.subscribe("gateway:room:1").unwrap();
    std::thread::scope(|scope| {
        for kind in ["plain", "durable"] {
            let mut backend = redis.server.client();
            scope.spawn(move || {
                for number in 0..200 {
                    let message = format!("[\"{kind}\",{number}]");
                    if kind == "plain" {
                        run_line::<()>(&mut backend, &format!("PUBLISH gateway:room:1 {message}"));
                    } else {
                        fcall::<String>(&mut backend, &["room:1"], &[&message]).unwrap();
                    }
                }
            });
        }
    });
    let (mut plain, mut durable, mut last) = (0, 0, None);
    for _ in 0..400 {
        let payload: String = listener.get_message().unwrap().get_payload().unwrap();
        let Some((position, message)) = payload.strip_prefix('@').and_then(|rest| rest.split_once(' '))
        else {
            assert_eq!(payload, format!("[\"plain\",{plain}]"));
            plain += 1;
            continue;
        };
        assert_eq!(message, format!("[\"durable\",{durable}]"));
        let position = parse(position);
        assert_eq!(position, last.map_or(position, next));
        (last, durable) = (Some(position), durable + 1);
    }
    assert_eq!((plain, durable), (200, 200));
}

#[test]
fn one_call_reaches_each_of_its_channels_once() {
    let mut redis = Prepared::start();
    let before = redis.publish("user:43", "1");
    let channels = ["user:42", "user:43", "user:42", "all"];
    let positions: Vec<String> = fcall(&mut redis.backend, &channels, &["2"]).unwrap();
    let positions: Vec<_> = positions.iter().map(|position| parse(position)).collect();
    assert_eq!(positions[0], positions[2]);
    assert_eq!(positions[1], next(before));
    assert_eq!((positions[0].offset, positions[3].offset), (1, 1));
    assert_eq!([redis.history("user:42").len(), redis.history("all").len()], [1, 1]);
}

#[test]
fn a_history_is_trimmed_and_expires_when_idle() {
    let mut redis = Prepared::start();
    let first = redis.publish("room:1", "0");
    for number in 1..500 {
        assert_eq!(redis.publish("room:1", "0").offset, number + 1);
    }
    let kept = redis.history("room:1").len();
    assert!((HISTORY_SIZE..HISTORY_SIZE + 100).contains(&kept), "{kept}");
    let expires: u64 = redis.run("PTTL gateway:room:1");
    let day = 24 * 60 * 60 * 1000;
    assert!((day - 60_000..=day).contains(&expires), "{expires}");
    redis.run::<()>("PEXPIRE gateway:room:1 1000");
    assert_eq!(redis.publish("room:1", "0"), Position { offset: 501, ..first });
    assert!(redis.run::<u64>("PTTL gateway:room:1") > 1000);
}

#[test]
fn a_history_that_begins_again_has_a_later_epoch() {
    let mut redis = Prepared::start();
    let mut last = redis.publish("room:1", "0");
    for round in 0..200 {
        // Most of the time within the same millisecond.
        redis.run::<()>(if round % 2 == 0 { "DEL gateway:room:1" } else { "FLUSHALL" });
        let position = redis.publish("room:1", "0");
        assert!(position.epoch > last.epoch && position.offset == 1, "{position} after {last}");
        last = position;
    }
    assert_eq!(
        redis.history("room:1")[0].1.len(),
        1,
        "it has no field `a`, so it continues no earlier history"
    );
}

#[test]
fn an_edited_history_never_reuses_a_position() {
    let mut redis = Prepared::start();
    let first = redis.publish("room:1", "0");
    redis.run::<()>(&format!("XDEL gateway:room:1 {first}"));
    let second = redis.publish("room:1", "0");
    assert_eq!(second, next(first));
    redis.run::<()>("XTRIM gateway:room:1 MAXLEN 0");
    let third = redis.publish("room:1", "0");
    assert_eq!(third, next(second));
    // A foreign entry, a hundred years ahead.
    redis.run::<()>("XADD gateway:room:1 4892390000000-7 x 1");
    let fourth = redis.publish("room:1", "0");
    assert_eq!(fourth.to_string(), "4892390000001-1");
    assert_eq!(redis.history("room:1").pop().unwrap().1[1], ("a".into(), "4892390000000-7".into()));
    redis.run::<()>("XADD gateway:room:1 18446744073709551615-1 x 1");
    let error = refused(&mut redis.backend, &["room:1"], &["0"]);
    assert!(error.contains("is not a history"), "{error}");
}

#[test]
fn an_error_in_one_channel_changes_no_channel() {
    let mut redis = Prepared::start();
    redis.run::<()>("SET gateway:room:2 text");
    let mut listener = redis.server.client();
    listener.set_read_timeout(Some(SOON)).unwrap();
    let mut listener = listener.as_pubsub();
    listener.subscribe("gateway:room:1").unwrap();
    for channels in [&["room:1", "room:2"][..], &["room:2", "room:1"], &["room:1", "nonsense"]] {
        let error = refused(&mut redis.backend, channels, &["1", "key"]);
        let expected = if channels.contains(&"room:2") { "WRONGTYPE" } else { "the key must be" };
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(redis.keys(), ["gateway:room:2"]);
    redis.run::<()>("PUBLISH gateway:room:1 end");
    assert_eq!(listener.get_message().unwrap().get_payload::<String>().unwrap(), "end");
}

#[test]
fn every_refusal_has_a_reason_and_writes_nothing() {
    let mut redis = Prepared::start();
    let longest = format!("\"{}\"", "x".repeat(MAX_PAYLOAD_BYTES - 2));
    let too_long = format!("\"{}\"", "x".repeat(MAX_PAYLOAD_BYTES - 1));
    let long_key = "k".repeat(256);
    let long_name = format!("room:{}", "x".repeat(320));
    for (channels, arguments, text) in [
        (&[][..], &["1"][..], "name at least one channel"),
        (&["room:1"], &[], "expected a message"),
        (&["room:1"], &["1", "key", "more"], "expected a message"),
        (&["room:1"], &["{"], "not valid JSON"),
        (&["room:1"], &["@1-1 {}"], "not valid JSON"),
        (&["room:1"], &[""], "not valid JSON"),
        (&["room:1"], &[&too_long], "the message is 1001 bytes; the maximum is 1000"),
        (&["room:1"], &["1", ""], "1 to 255 bytes"),
        (&["room:1"], &["1", &long_key], "1 to 255 bytes"),
        (&["user:42"], &["1", "push"], "give '' push"),
        (&["users"], &["1"], "the key must be"),
        (&["rejected"], &["1"], "the key must be"),
        (&["room:"], &["1"], "the key must be"),
        (&["room:{1}"], &["1"], "the key must be"),
        (&["room: 1"], &["1"], "the key must be"),
        (&[&long_name], &["1"], "the key must be"),
    ] {
        let error = refused(&mut redis.backend, channels, arguments);
        assert!(error.contains(text) && error.contains("gateway: "), "{channels:?} {arguments:?}: {error}");
    }
    assert!(redis.keys().is_empty(), "{:?}", redis.keys());
    redis.publish("room:1", &longest);
}

#[test]
fn functions_accept_braces_around_the_whole_prefix_only() {
    let mut redis = Prepared::start();
    let session = "0123456789abcdef0123456789abcdef";
    for (prefix, is_good) in [
        ("{gateway}", true),
        ("{gateway", false),
        ("gateway}", false),
        ("{}", false),
        ("{gate}way", false),
        ("{{gateway}}", false),
        ("", false),
    ] {
        let mut call = |function: &str, key: &str, arguments: &[&str]| {
            let mut call = cmd("FCALL");
            call.arg(function).arg(1).arg(format!("{prefix}:{key}")).arg(arguments);
            let answer = call.query::<redis::Value>(&mut redis.backend);
            let is_accepted = answer.is_ok();
            assert_eq!(is_accepted, is_good, "{function} {prefix}: {answer:?}");
        };
        call("gateway_publish", "all", &["1"]);
        call("gateway_publish", "user:42", &["1", "key"]);
        call("gateway_control", "{control}:commands", &[r#"{"disconnect":{"user":"42"}}"#]);
        call("gateway_answer", "{control}:answers:1-1", &["replica", "1"]);
        call("gateway_channel", "{presence}:replicas", &["room:1"]);
        call("gateway_send", "inbox", &["42", session, "room:1", "id", "1"]);
    }
    let keys: Vec<String> = redis.run("KEYS *user*");
    assert_eq!(keys.len(), 2, "the history and the receipt: {keys:?}");
    assert!(keys.iter().all(|key| key.starts_with("{gateway}:")), "{keys:?}");
}

#[test]
fn the_function_accepts_exactly_the_deliverable_messages() {
    let mut redis = Prepared::start();
    let nested = |depth| [b"[".repeat(depth), b"]".repeat(depth)].concat();
    let (deepest, too_deep, endless) = (nested(128), nested(129), nested(450));
    let mut take = |message: &[u8]| {
        let mut call = cmd("FCALL");
        call.arg("gateway_publish").arg(1).arg("gateway:room:1").arg(message);
        call.query::<String>(&mut redis.backend)
    };
    let good: [&[u8]; 13] = [
        b"1e5",
        b"-0.5",
        b"[1.5, 2]",
        b"\"\x7f\"",
        b"[1,\n\t2]\r\n",
        br#"["1. x","-.","a."]"#,
        br#"["\\","\"1."]"#,
        br#""\ud83d\ude00""#,
        "\"é中😀\"".as_bytes(),
        br#""\u0000""#,
        b"1e999",
        br#"["\\\n1.",2]"#,
        &deepest,
    ];
    for message in good {
        assert!(take(message).is_ok(), "{}", String::from_utf8_lossy(message));
        assert!(Payload::parse(message, 1_000).is_ok(), "{}", String::from_utf8_lossy(message));
    }
    let bad: [&[u8]; 29] = [
        b"NaN",
        b"[nan]",
        b"Infinity",
        b"-inf",
        b"0x10",
        b"01",
        b"+1",
        b"1.",
        b"[1.,2]",
        b"-.5",
        b".5",
        b"1e",
        b"-",
        b"\"a\nb\"",
        b"\"a\tb\"",
        b"[\"a\",\n\"b\n\"]",
        b"1\x00",
        b"[1]\x00x",
        b"\"\xff\"",
        b"\"\xc3\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xe2\xf0\x9f\x98\x80\x82\xac\"",
        br#""\ud800""#,
        br#""\udc00x""#,
        b"[1,]",
        b"[1] 2",
        b"nul",
        &too_deep,
        &endless,
    ];
    for message in bad {
        assert!(take(message).is_err(), "{}", String::from_utf8_lossy(message));
        assert!(Payload::parse(message, 1_000).is_err(), "{}", String::from_utf8_lossy(message));
    }
    let error = take(&too_deep).unwrap_err().to_string();
    assert!(error.contains("nested too deeply: more than 128 levels"), "{error}");
}

#[test]
fn an_idempotency_key_belongs_to_its_message() {
    let mut redis = Prepared::start();
    let mut publish = |message: &str| fcall::<String>(&mut redis.backend, &["room:1"], &[message, "a"]);
    let first = publish("1").unwrap();
    let error = publish("2").unwrap_err().to_string();
    assert!(error.contains("gateway: this idempotency key was used with another message"), "{error}");
    assert_eq!(publish("1").unwrap(), first);
    // Version 2 of the library stored only the positions.
    redis.run::<()>(&format!("SET gateway:room:1:once:{{gateway:room:1}}:old {first}"));
    assert_eq!(fcall::<String>(&mut redis.backend, &["room:1"], &["2", "old"]).unwrap(), first);
    assert_eq!(redis.history("room:1").len(), 1);
}

#[test]
fn one_call_names_at_most_a_thousand_channels() {
    let mut redis = Prepared::start();
    let names: Vec<String> = (0..1001).map(|number| format!("room:{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = refused(&mut redis.backend, &names, &["1"]);
    assert!(error.contains("name at most 1000 channels"), "{error}");
    assert!(redis.keys().is_empty());
    let positions: Vec<String> = fcall(&mut redis.backend, &names[..1000], &["1"]).unwrap();
    assert_eq!(positions.len(), 1000);
}

#[test]
fn the_same_idempotency_key_publishes_once() {
    let mut redis = Prepared::start();
    let mut publish = |channels: &[&str], key: &str| -> RedisResult<redis::Value> {
        fcall(&mut redis.backend, channels, &["1", key])
    };
    let (one, two) = (&["room:1"][..], &["room:1", "room:2"][..]);
    let first = publish(one, "a").unwrap();
    assert_eq!(publish(one, "a").unwrap(), first);
    assert_ne!(publish(one, "b").unwrap(), first);
    let both = publish(two, "c").unwrap();
    assert_eq!(publish(two, "c").unwrap(), both);
    let error = publish(two, "a").unwrap_err().to_string();
    assert!(error.contains("used with other channels"), "{error}");
    assert_ne!(publish(&["room:2"], "a").unwrap(), first, "a key belongs to its channel");
    assert_eq!([redis.history("room:1").len(), redis.history("room:2").len()], [3, 2]);
    let receipt = "gateway:room:1:once:{gateway:room:1}:a";
    let remembered: u64 = redis.run(&format!("PTTL {receipt}"));
    assert!((540_000..=600_000).contains(&remembered), "{remembered}");
    redis.run::<()>(&format!("DEL {receipt}"));
    assert_ne!(fcall::<redis::Value>(&mut redis.backend, one, &["1", "a"]).unwrap(), first);
}

use super::*;

fn request<'a>(channel: &'a str, since: Option<&'a str>) -> ChannelRequest<'a> {
    ChannelRequest { channel: channel.into(), since: since.map(Into::into), last: None }
}

#[test]
fn parses_every_op_of_version_1() {
    let parse = |text| Command::parse(Version::V1, text).unwrap();
    let identify = Command::Identify { token: "abc".into(), channels: vec![] };
    assert!(parse(r#"{"op":1,"token":"abc"}"#) == identify);
    assert!(parse(r#" { "token" : "a\u0062c" , "op" : 1 , "device": {"x":[]} } "#) == identify);
    assert!(parse(r#"{"op":10,"time":1579276740336}"#) == Command::Heartbeat { time: Some("1579276740336") });
    assert!(parse(r#"{"op":10}"#) == Command::Heartbeat { time: None });
    assert!(parse(r#"{"op":11,"time":1}"#) == Command::HeartbeatAck);
    assert!(parse(r#"{"op":11}"#) == Command::HeartbeatAck);
}

#[test]
fn parses_every_op_of_version_2() {
    let parse = |text| Command::parse(Version::V2, text).unwrap();
    assert!(
        parse(r#"{"op":1,"token":"t","channels":[{"channel":"room:7","since":"1-2"},{"channel":"x:y"}]}"#)
            == Command::Identify {
                token: "t".into(),
                channels: vec![request("room:7", Some("1-2")), request("x:y", None)],
            }
    );
    assert!(
        parse(r#"{"op":4,"channel":"room:7","since":"1-2"}"#)
            == Command::Subscribe { channels: vec![request("room:7", Some("1-2"))], is_batch: false }
    );
    let one = Command::Subscribe { channels: vec![request("room:7", None)], is_batch: false };
    assert!(parse(r#"{"op":4,"channel":"room:7"}"#) == one);
    let one = Command::Unsubscribe { channels: vec!["room:7".into()], is_batch: false };
    assert!(parse(r#"{"op":5,"channel":"room:7"}"#) == one);
    assert!(parse(r#"{"op":12,"token":"t"}"#) == Command::Refresh { token: "t".into() });
    let mut last = request("room:7", None);
    last.last = Some(50);
    let one = Command::Subscribe { channels: vec![last.clone()], is_batch: false };
    assert!(parse(r#"{"op":4,"channel":"room:7","last":50}"#) == one);
    let many = Command::Subscribe { channels: vec![request("x:y", Some("1-2")), last], is_batch: true };
    assert!(
        parse(r#"{"op":4,"channels":[{"channel":"x:y","since":"1-2"},{"channel":"room:7","last":50}]}"#)
            == many
    );
    let many = Command::Unsubscribe { channels: vec!["room:7".into(), "x:y".into()], is_batch: true };
    assert!(parse(r#"{"op":5,"channels":["room:7","x:\u0079"]}"#) == many);
    let members = MembersCommand { id: "m1".into(), channel: "room:7".into(), after: Some("42".into()) };
    assert!(parse(r#"{"op":15,"id":"m1","channel":"room:7","after":"42"}"#) == Command::Members(members));
}

#[test]
fn a_heartbeat_answer_means_the_same_with_and_without_spaces() {
    for rest in ["", ",\"time\":", ",\"time\":1", ",\"op\":11", ",", "1", ".0"] {
        for more in ["", "0", "7", "01", "-1", "1.5", "1e3", "99999999999999999999", "x", "null", "}"] {
            let plain = format!("{{\"op\":11{rest}{more}}}");
            let parse = |text: &str| {
                Command::parse(Version::V2, text).map(|command| command == Command::HeartbeatAck)
            };
            assert_eq!(parse(&plain), parse(&format!(" {plain}")), "{plain}");
        }
    }
}

#[test]
fn anything_else_is_malformed_in_both_versions() {
    let deep = format!(r#"{{"op":1,"token":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    for text in [
        "",
        "x",
        "1",
        "null",
        "[1,\"t\"]",
        "{",
        "{}",
        r#"{"op":"1","token":"t"}"#,
        r#"{"op":1.0,"token":"t"}"#,
        r#"{"op":-1}"#,
        r#"{"op":null}"#,
        r#"{"op":99}"#,
        r#"{"op":18446744073709551616}"#,
        r#"{"op":0}"#,
        r#"{"op":2}"#,
        r#"{"op":3,"message":{}}"#,
        r#"{"op":1}"#,
        r#"{"op":1,"token":null}"#,
        r#"{"op":1,"token":42}"#,
        r#"{"op":1,"token":"\ud800"}"#,
        r#"{"op":1,"op":1,"token":"t"}"#,
        r#"{"op":1,"token":"t"} {}"#,
        r#"{"op":10,"time":"1"}"#,
        r#"{"op":10,"time":null}"#,
        r#"{"op":10,"time":{}}"#,
        deep.as_str(),
    ] {
        for version in [Version::V1, Version::V2] {
            assert_eq!(Command::parse(version, text).err(), Some(MalformedCommand), "{version:?} {text}");
        }
    }
}

#[test]
fn commands_of_version_2_are_malformed_in_version_1() {
    for text in [
        r#"{"op":1,"token":"t","channels":[]}"#,
        r#"{"op":4,"channel":"room:7"}"#,
        r#"{"op":5,"channel":"room:7"}"#,
        r#"{"op":12,"token":"t"}"#,
        r#"{"op":15,"id":"m1","channel":"room:7"}"#,
        r#"{"op":16,"id":"c1","channel":"room:7","message":{}}"#,
        r#"{"op":18,"channel":"room:7","signal":{}}"#,
        r#"{"op":19,"id":"h1","channel":"room:7"}"#,
    ] {
        assert_eq!(Command::parse(Version::V1, text).err(), Some(MalformedCommand), "{text}");
        assert!(Command::parse(Version::V2, text).is_ok(), "{text}");
    }
}

#[test]
fn version_2_checks_its_own_fields() {
    for text in [
        r#"{"op":1,"token":"t","channels":null}"#,
        r#"{"op":1,"token":"t","channels":["room:7"]}"#,
        r#"{"op":1,"token":"t","channels":{"channel":"room:7"}}"#,
        r#"{"op":4}"#,
        r#"{"op":4,"channel":7}"#,
        r#"{"op":4,"channel":"room:7","since":12}"#,
        r#"{"op":4,"channels":[]}"#,
        r#"{"op":4,"channels":["room:7"]}"#,
        r#"{"op":4,"channels":{"channel":"room:7"}}"#,
        r#"{"op":4,"channel":"room:7","channels":[{"channel":"room:7"}]}"#,
        r#"{"op":4,"since":"1-2","channels":[{"channel":"room:7"}]}"#,
        r#"{"op":5}"#,
        r#"{"op":5,"channels":[]}"#,
        r#"{"op":5,"channels":[7]}"#,
        r#"{"op":5,"channels":"room:7"}"#,
        r#"{"op":5,"channels":[{"channel":"room:7"}]}"#,
        r#"{"op":5,"channel":"room:7","channels":["room:7"]}"#,
        r#"{"op":12}"#,
        r#"{"op":17,"id":"c1"}"#,
        r#"{"op":20,"id":"h1","channel":"room:7","messages":[],"more":false}"#,
    ] {
        assert_eq!(Command::parse(Version::V2, text).err(), Some(MalformedCommand), "{text}");
    }
}

#[test]
fn identify_and_subscribe_check_channels_alike() {
    for (fields, expected) in [
        (r#""channel":"room:7""#, true),
        (r#""channel":"room:7","since":"1-2","more":[]"#, true),
        (r#""channel":"room:7","since":null"#, false),
        (r#""channel":"room:7","since":12"#, false),
        (r#""channel":"room:7","channel":"room:7""#, false),
        (r#""channel":null"#, false),
        (r#""since":"1-2""#, false),
        (r#""channel":"room:7","last":0"#, true),
        (r#""channel":"room:7","last":18446744073709551615"#, true),
        (r#""channel":"room:7","last":18446744073709551616"#, false),
        (r#""channel":"room:7","last":-1"#, false),
        (r#""channel":"room:7","last":1.5"#, false),
        (r#""channel":"room:7","last":"5""#, false),
        (r#""channel":"room:7","last":null"#, false),
    ] {
        let identify = format!(r#"{{"op":1,"token":"t","channels":[{{{fields}}}]}}"#);
        assert_eq!(Command::parse(Version::V2, &identify).is_ok(), expected, "{identify}");
        for subscribe in
            [format!(r#"{{"op":4,{fields}}}"#), format!(r#"{{"op":4,"channels":[{{{fields}}}]}}"#)]
        {
            assert_eq!(Command::parse(Version::V2, &subscribe).is_ok(), expected, "{subscribe}");
        }
    }
}

#[test]
fn a_list_of_too_many_channels_is_malformed() {
    let identify = |count| {
        let channels = vec![r#"{"channel":"room:7"}"#; count].join(",");
        format!(r#"{{"op":1,"token":"t","channels":[{channels}]}}"#)
    };
    let is_good = |count, max| Command::parse_within(Version::V2, &identify(count), max).is_ok();
    assert!(is_good(3, 3) && !is_good(4, 3) && is_good(0, 0));
    for list in [
        r#"{"op":4,"channels":[{"channel":"a:b"},{"channel":"a:c"}]}"#,
        r#"{"op":5,"channels":["a:b","a:c"]}"#,
    ] {
        let parse = |max| Command::parse_within(Version::V2, list, max);
        assert!(parse(2).is_ok() && parse(1).is_err(), "{list}");
    }
    assert!(Command::parse(Version::V2, &identify(MAX_LISTED_CHANNELS)).is_ok());
    assert!(Command::parse(Version::V2, &identify(MAX_LISTED_CHANNELS + 1)).is_err());
}

#[test]
fn a_channel_in_identify_is_an_object() {
    for channel in [r#"["room:7"]"#, r#"["room:7","1-2"]"#, r#""room:7""#, "null", "7"] {
        let text = format!(r#"{{"op":1,"token":"t","channels":[{channel}]}}"#);
        assert_eq!(Command::parse(Version::V2, &text).err(), Some(MalformedCommand), "{text}");
    }
}

#[test]
fn messages_and_signals_are_kept_byte_for_byte() {
    let parse = |text| Command::parse(Version::V2, text).unwrap();
    let text = r#"{"op":16,"id":"c1","channel":"room:7","message":{"a" : 1e3}}"#;
    let Command::Send(SendCommand { id, channel, message }) = parse(text) else { panic!("not a Send") };
    assert_eq!((&*id, &*channel, message.get()), ("c1", "room:7", r#"{"a" : 1e3}"#));
    let Command::Signal(SignalCommand { channel, signal }) =
        parse(r#"{"signal":[1, 2],"channel":"room:7","op":18}"#)
    else {
        panic!("not a Signal")
    };
    assert_eq!((&*channel, signal.get()), ("room:7", "[1, 2]"));
}

#[test]
fn requests_with_an_id_check_their_fields() {
    let [longest, too_long] = [64, 65].map(|length| "i".repeat(length));
    let [deep, too_deep] = [128, 129].map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    for (text, is_valid) in [
        (format!(r#"{{"op":16,"id":"{longest}","channel":"room:7","message":null}}"#), true),
        (format!(r#"{{"op":16,"id":"{too_long}","channel":"room:7","message":1}}"#), false),
        (r#"{"op":16,"id":"","channel":"room:7","message":1}"#.into(), false),
        (r#"{"op":16,"id":7,"channel":"room:7","message":1}"#.into(), false),
        (r#"{"op":16,"channel":"room:7","message":1}"#.into(), false),
        (r#"{"op":16,"id":"c1","message":1}"#.into(), false),
        (r#"{"op":16,"id":"c1","channel":"room:7"}"#.into(), false),
        (r#"{"op":16,"id":"c1","channel":"room:7","message":1,"message":2}"#.into(), false),
        (format!(r#"{{"op":16,"id":"c1","channel":"room:7","message":{deep}}}"#), true),
        (format!(r#"{{"op":16,"id":"c1","channel":"room:7","message":{too_deep}}}"#), false),
        (r#"{"op":16,"id":"c1","channel":"room:7","message":"\ud800"}"#.into(), false),
        (r#"{"op":18,"channel":"room:7","signal":null}"#.into(), true),
        (r#"{"op":18,"channel":"room:7"}"#.into(), false),
        (r#"{"op":18,"signal":1}"#.into(), false),
        (format!(r#"{{"op":18,"channel":"room:7","signal":{too_deep}}}"#), false),
        (r#"{"op":18,"channel":"room:7","signal":"\ud800"}"#.into(), false),
        (r#"{"op":19,"id":"h1","channel":"room:7","before":"x","limit":4294967295}"#.into(), true),
        (r#"{"op":19,"id":"h1","channel":"room:7","limit":4294967296}"#.into(), true),
        (r#"{"op":19,"id":"h1","channel":"room:7","limit":-1}"#.into(), false),
        (r#"{"op":19,"id":"h1","channel":"room:7","limit":null}"#.into(), false),
        (r#"{"op":19,"id":"h1","channel":"room:7","limit":"5"}"#.into(), false),
        (r#"{"op":19,"id":"h1","channel":"room:7","before":null}"#.into(), false),
        (r#"{"op":19,"id":"h1","channel":"room:7","before":5}"#.into(), false),
        (r#"{"op":19,"id":"","channel":"room:7"}"#.into(), false),
        (r#"{"op":19,"id":"h1"}"#.into(), false),
    ] {
        assert_eq!(Command::parse(Version::V2, &text).is_ok(), is_valid, "{text}");
    }
}

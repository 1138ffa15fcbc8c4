//! Properties of the parsers and encoders for any input.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::{collection::vec, option, sample::select};

use super::Version;
use super::channel::ChannelName;
use super::command::Command;
use super::frame::{self, FrameKind};
use super::position::Position;
use super::publication::{Publication, decode_for_users};

/// A JSON value with white space between its tokens, so that a re-encoded value would differ.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        Just("1.50e+3".to_owned()),
        Just(r#""\u00e9\/\ud83d\ude00""#.to_owned()),
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" ,\n"))),
            vec((any::<String>(), inner), 0..4).prop_map(|fields| {
                let fields: Vec<_> = fields
                    .into_iter()
                    .map(|(name, value)| format!("{} : {value}", serde_json::Value::from(name)))
                    .collect();
                format!("{{\t{}}}", fields.join(", "))
            }),
        ]
    })
}

/// An object with fields of the protocol and values of any type.
fn command_like_object() -> impl Strategy<Value = String> {
    let name = select(vec!["op", "token", "channels", "channel", "since", "time", "id", "after", "more"]);
    let value = prop_oneof![3 => (0..17u64).prop_map(|op| op.to_string()), 2 => json()];
    (option::of(0..17u64), vec((name, value), 0..5)).prop_map(|(op, fields)| {
        let op = op.map(|op| format!(r#""op":{op}"#));
        let fields = fields.into_iter().map(|(name, value)| format!(r#""{name}":{value}"#));
        format!("{{{}}}", op.into_iter().chain(fields).collect::<Vec<_>>().join(","))
    })
}

fn room() -> ChannelName {
    ChannelName::parse("room:7").unwrap()
}

/// The payload of a server's text frame.
fn text(frame: &[u8]) -> &str {
    let header = match frame[1] {
        127 => 10,
        126 => 4,
        _ => 2,
    };
    std::str::from_utf8(&frame[header..]).unwrap()
}

/// Asserts that the frames of both versions contain the message verbatim, and no fields except their own.
fn assert_frames_carry(publication: &Publication, json: &str) {
    assert_eq!(publication.message().get(), json);
    let for_v1 = text(publication.frame(Version::V1));
    assert_eq!(for_v1, format!(r#"{{"op":3,"message":{json}}}"#));
    let for_v2 = text(publication.frame(Version::V2));
    let end = format!(r#","message":{json}}}"#);
    let start = for_v2.strip_suffix(end.as_str()).unwrap();
    let fields: serde_json::Value = serde_json::from_str(&format!("{start}}}")).unwrap();
    assert_eq!(fields["channel"], publication.channel().as_str());
    assert_eq!(fields["position"].as_str(), publication.position().map(|at| at.to_string()).as_deref());
}

proptest! {
    #[test]
    fn any_text_is_a_command_or_malformed(text in prop_oneof![any::<String>(), json(), command_like_object()]) {
        let [old, new] = [Version::V1, Version::V2].map(|version| Command::parse(version, &text));
        // Version 2 accepts every command of version 1.
        if let Ok(old) = old {
            prop_assert_eq!(new, Ok(old));
        }
    }

    #[test]
    fn a_command_is_an_object(op in 0..15u64, json in json()) {
        for text in [format!("[{op},{json}]"), format!("[{json}]"), op.to_string()] {
            prop_assert!(Command::parse(Version::V2, &text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_heartbeat_time_is_a_number_kept_verbatim(time in json()) {
        let text = format!(r#"{{"op":10,"time":{time}}}"#);
        match Command::parse(Version::V1, &text) {
            Ok(command) => {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&time).unwrap().is_number());
                prop_assert_eq!(command, Command::Heartbeat { time: Some(&time) });
            }
            Err(_) => prop_assert!(!serde_json::from_str::<serde_json::Value>(&time).unwrap().is_number()),
        }
    }

    #[test]
    fn any_bytes_are_a_publication_or_a_payload_error(bytes in vec(any::<u8>(), 0..200), at in any::<bool>()) {
        let payload = if at { [b"@1-2 ", &bytes[..]].concat() } else { bytes };
        if let Ok(publication) = Publication::decode(room(), &payload, 200) {
            assert_frames_carry(&publication, publication.message().get());
        }
        let _ = decode_for_users(&payload, 200);
    }

    #[test]
    fn an_accepted_payload_reaches_both_versions_verbatim(
        json in json(),
        position in option::of((any::<u64>(), any::<u64>())),
        space in select(vec!["", " ", "\r\n\t"]),
    ) {
        let position = position.map(|(epoch, offset)| Position { epoch, offset });
        let prefix = position.map(|position| format!("@{position} ")).unwrap_or_default();
        let payload = format!("{prefix}{space}{json}{space}");
        // The limit does not include the position.
        let bytes = payload.len() - prefix.len();
        let publication = Publication::decode(room(), payload.as_bytes(), bytes).unwrap();
        prop_assert_eq!(publication.position(), position);
        assert_frames_carry(&publication, &json);
        prop_assert!(Publication::decode(room(), payload.as_bytes(), bytes - 1).is_err());
    }

    #[test]
    fn a_multi_user_payload_reaches_each_user_once_and_verbatim(
        json in json(),
        users in vec("[a-c]{1,2}", 0..6),
    ) {
        let listed = serde_json::to_string(&users).unwrap();
        let payload = format!(r#"{{"users":{listed},"message": {json} }}"#);
        let (channels, message) = decode_for_users(payload.as_bytes(), payload.len()).unwrap();
        let reached: Vec<_> = channels.iter().map(ChannelName::as_str).collect();
        let mut expected: Vec<_> = users.iter().map(|user| format!("user:{user}")).collect();
        expected.sort();
        expected.dedup();
        prop_assert_eq!(reached, expected);
        for channel in channels {
            assert_frames_carry(&Publication::new(channel, None, Arc::clone(&message)), &json);
        }
    }

    #[test]
    fn a_position_has_one_text_form(epoch in any::<u64>(), offset in any::<u64>(), other in "[0-9+ -]{0,8}") {
        let position = Position { epoch, offset };
        prop_assert_eq!(Position::parse(&position.to_string()), Some(position));
        if let Some(read) = Position::parse(&other) {
            prop_assert_eq!(read.to_string(), other);
        }
    }

    #[test]
    fn a_channel_name_is_kept_verbatim(text in prop_oneof![any::<String>(), "[a-c{}: ~]{0,8}"]) {
        if let Ok(channel) = ChannelName::parse(&text) {
            prop_assert_eq!(channel.as_str(), &text);
            let namespace = text.split_once(':').map_or("all", |(namespace, _)| namespace);
            prop_assert_eq!(channel.namespace(), namespace);
            prop_assert_eq!(text.find([' ', '{', '}']), None);
        }
    }

    /// RFC 6455, section 5.2: 7 bits, or 126 and 16 bits, or 127 and 64 bits.
    #[test]
    fn a_frame_encodes_its_length_in_the_shortest_form(
        length in prop_oneof![0..300usize, 65_500..65_600usize, 0..200_000usize],
    ) {
        let payload = vec![b'x'; length];
        let frame = frame::encode(FrameKind::Text, &payload);
        prop_assert_eq!(frame[0], 0x81);
        let (encoded_length, header) = match frame[1] {
            127 => (u64::from_be_bytes(frame[2..10].try_into().unwrap()), 10),
            126 => (u64::from(u16::from_be_bytes(frame[2..4].try_into().unwrap())), 4),
            short => (u64::from(short), 2),
        };
        prop_assert_eq!(encoded_length, length as u64);
        prop_assert_eq!(header, if length < 126 { 2 } else if length < 65_536 { 4 } else { 10 });
        prop_assert_eq!(&frame[header..], &payload[..]);
    }
}

//! Decodes payloads that a publisher writes to Redis. The first byte selects the bound; the rest is the payload. It is
//! decoded once as a publication of one channel, and once as a publication for many users.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::channel::ChannelName;
use protocol::payload_limits::DEFAULT_MAX_DEPTH;
use protocol::position::Position;
use protocol::publication::{PayloadError, Publication, decode_for_users};
use protocol::{Encoding, Variant, Version};
use serde_json::Value;
use serde_json::value::RawValue;

use super::frames::text_of;
use super::json::{is_json, trim};

const LONGEST_POSITION: &str = "@18446744073709551615-18446744073709551615 ";

/// A payload is refused for the right reason, or its message reaches the receivers byte for byte.
pub fn check(data: &[u8]) {
    let Some((&options, payload)) = data.split_first() else { return };
    let max_bytes = match options % 3 {
        0 => 1 << 20,
        1 => payload.len(),
        _ => payload.len().saturating_sub(1),
    };
    let room = ChannelName::parse("room:7").expect("cannot parse room:7 as a channel");
    let expected = expected(payload, max_bytes);
    match (Publication::decode(room, payload, max_bytes), expected) {
        (Ok(publication), Ok((position, message))) => {
            assert_eq!(publication.position(), position);
            check_frames(&publication, message);
        }
        (Err(error), Err(expected)) => assert_eq!(error, expected),
        (Ok(_), Err(expected)) => panic!("accepted instead of refused as {expected:?}"),
        (Err(error), Ok(_)) => panic!("refused as {error:?} instead of accepted"),
    }
    check_users(payload, max_bytes);
}

/// The expected result, by docs/protocol.md: a payload is `<json>`, or `@<epoch>-<offset> <json>`.
fn expected(payload: &[u8], max_bytes: usize) -> Result<(Option<Position>, &str), PayloadError> {
    // The bound applies to the message. A payload that is too long with any position is refused unread.
    if payload.len() > max_bytes + LONGEST_POSITION.len() {
        return Err(PayloadError::TooBig);
    }
    let text = std::str::from_utf8(payload).map_err(|_| PayloadError::NotJson)?;
    let (position, json) = match text.strip_prefix('@') {
        None => (None, text),
        Some(rest) => {
            let (position_text, json) = rest.split_once(' ').ok_or(PayloadError::BadPosition)?;
            (Some(parse_position(position_text).ok_or(PayloadError::BadPosition)?), json)
        }
    };
    if json.len() > max_bytes {
        return Err(PayloadError::TooBig);
    }
    if !is_json(json) {
        return Err(PayloadError::NotJson);
    }
    match find_fault(json) {
        None => Ok((position, trim(json))),
        Some(fault) => Err(fault),
    }
}

/// The first part of a JSON text that the parsers of clients refuse: nesting that is too deep, or a lone surrogate.
fn find_fault(json: &str) -> Option<PayloadError> {
    let (mut depth, mut is_in_string, mut rest) = (0, false, json);
    while let Some(next) = rest.chars().next() {
        let mut length = next.len_utf8();
        match next {
            '"' => is_in_string = !is_in_string,
            '\\' if code_unit(rest).is_some_and(|unit| (0xD800..0xE000).contains(&unit)) => {
                // serde_json decides whether the two escapes are a pair.
                let pair = rest.get(..12).filter(|pair| code_unit(&pair[6..]).is_some());
                let text = pair.map(|pair| serde_json::from_str::<String>(&format!("\"{pair}\"")));
                if text.is_none_or(|text| text.is_err()) {
                    return Some(PayloadError::LoneSurrogate);
                }
                length = 12;
            }
            '\\' => length += 1,
            '[' | '{' if !is_in_string => depth += 1,
            ']' | '}' if !is_in_string => depth -= 1,
            _ => {}
        }
        if depth > DEFAULT_MAX_DEPTH {
            return Some(PayloadError::TooDeep);
        }
        rest = &rest[length..];
    }
    None
}

/// The code unit of the `\u` escape at the beginning of a text.
fn code_unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

/// Parses two numbers, each written as it is printed.
fn parse_position(text: &str) -> Option<Position> {
    let (epoch, offset) = text.split_once('-')?;
    let [epoch, offset] = [epoch, offset].map(|digits| {
        let number: u64 = digits.parse().ok()?;
        (number.to_string() == digits).then_some(number)
    });
    Some(Position { epoch: epoch?, offset: offset? })
}

fn check_frames(publication: &Publication, message: &str) {
    assert_eq!(publication.message().get(), message, "the message is not kept byte for byte");
    let channel = publication.channel().as_str();
    assert!(channel.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}".contains(&byte)), "{channel}");
    let position =
        publication.position().map(|position| format!(r#","position":"{position}""#)).unwrap_or_default();
    // A name may hold quotes and backslashes.
    let channel = Value::from(channel);
    for encoding in [Encoding::Plain, Encoding::Deflated] {
        let text = |version| text_of(publication.frame(Variant { version, encoding }));
        assert_eq!(text(Version::V1), format!(r#"{{"op":3,"message":{message}}}"#));
        assert_eq!(
            text(Version::V2),
            format!(r#"{{"op":3,"channel":{channel}{position},"message":{message}}}"#)
        );
        assert!(is_json(&text(Version::V2)), "a frame is not JSON");
    }
}

fn check_users(payload: &[u8], max_bytes: usize) {
    let result = decode_for_users(payload, max_bytes);
    let text = std::str::from_utf8(payload).ok().filter(|text| is_json(text));
    match &result {
        Err(error @ (PayloadError::TooBig | PayloadError::NotJson | PayloadError::BadUsers)) => {
            assert_eq!(*error == PayloadError::TooBig, payload.len() > max_bytes);
            assert!(*error != PayloadError::NotJson || text.is_none(), "JSON was refused as not JSON");
            assert!(
                *error != PayloadError::BadUsers || text.is_some(),
                "a payload that is not JSON was refused for its users"
            );
        }
        Err(error @ (PayloadError::TooDeep | PayloadError::LoneSurrogate)) => {
            let text = text.expect("a payload that is not JSON was refused for another reason");
            let has_escape = text.to_ascii_lowercase().contains("\\ud");
            assert!(*error == PayloadError::TooDeep || has_escape, "refused without a surrogate");
            assert!(
                *error == PayloadError::LoneSurrogate || text.len() > DEFAULT_MAX_DEPTH,
                "refused as too deep, but too short for that"
            );
        }
        Err(error) => panic!("{error:?} is not a reason of a publication for users"),
        Ok((channels, message)) => {
            let text = text.expect("accepted a payload that is not JSON");
            check_receivers(channels, message, text);
        }
    }
}

/// Each named user gets the message once. The channels are sorted.
fn check_receivers(names: &[ChannelName], message: &Arc<RawValue>, text: &str) {
    let channels: Vec<_> = names.iter().map(ChannelName::as_str).collect();
    assert!(channels.windows(2).all(|pair| pair[0] < pair[1]), "{channels:?}");
    // A user in the list takes at least one letter, two quotes and a comma or bracket.
    assert!(names.len() * 4 <= text.len());
    assert!(text.contains(message.get()) && is_json(message.get()), "the message is not kept byte for byte");
    for name in names {
        check_frames(&Publication::new(name.clone(), None, Arc::clone(message)), message.get());
    }
    // serde_json cannot parse some valid texts: numbers beyond a double, and more than 128 levels.
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    let users = value["users"].as_array().expect("`users` is not a list");
    let named: BTreeSet<_> =
        users.iter().map(|user| format!("user:{}", user.as_str().expect("a user is not a string"))).collect();
    assert!(named.iter().eq(&channels), "the payload names {named:?}");
}

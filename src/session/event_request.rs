//! What a request for an event stream asks for, as the Identify that a client of a WebSocket would send.

use std::borrow::Cow;
use std::collections::BTreeMap;

use actix_http::StatusCode;
use actix_web::web::Query;
use serde_json::json;

use crate::socket::UpgradeRefusal;
use crate::socket::request::{BAD_REQUEST, RequestHead, text};
use protocol::command::op;
use protocol::event_stream::parse_id;

const UNAUTHORIZED: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::UNAUTHORIZED,
    reason: "unauthorized",
    headers: &[("www-authenticate", "Bearer")],
};

/// The Identify of a request. Its channels are those in `channels` and those of the id that the client received last, at
/// most `max_channels`: a request of 128 KiB may name 30 000, and their JSON takes much more time than their check.
pub(super) fn identify(request: &RequestHead<'_>, max_channels: usize) -> Result<String, UpgradeRefusal> {
    let token = token(request)?;
    let query = EventQuery::parse(request.query())?;
    let header = single(request, "last-event-id").map_err(|()| BAD_REQUEST)?;
    // A browser connects again with the same URL and a newer header.
    let last_id = header.map(|header| Cow::Borrowed(text(header).unwrap_or("not text")));
    let last_id = last_id.or_else(|| query.last_event_id.map(Cow::Owned)).unwrap_or_default();
    let channels = channels(&query.channels, &last_id);
    if channels.len() > max_channels {
        return Err(BAD_REQUEST);
    }
    let channels: Vec<_> = channels
        .into_iter()
        .map(|(channel, since)| match since {
            Some(since) => json!({"channel": channel, "since": since}),
            None => json!({"channel": channel}),
        })
        .collect();
    Ok(json!({"op": op::IDENTIFY, "token": token, "channels": channels}).to_string())
}

/// The channels of a stream, each with the position to continue after. A stream that continues keeps all its channels:
/// some of them are in no URL, such as the user's own. Those in the URL come first: if a session may not have so many, the
/// others are refused.
///
/// With an id that is not the gateway's, no channel can be continued, and each is answered so.
fn channels<'a>(names: &'a [String], last_id: &'a str) -> Vec<(&'a str, Option<&'a str>)> {
    let positions = parse_id(last_id);
    let unknown = positions.is_none().then_some("");
    let mut positions: BTreeMap<_, _> = positions.unwrap_or_default().into_iter().collect();
    let names = names.iter().map(|name| (name.as_str(), positions.remove(name.as_str()).or(unknown)));
    let mut channels: Vec<_> = names.collect();
    channels.extend(positions.into_iter().map(|(channel, since)| (channel, Some(since))));
    channels
}

/// The token. It is read from this header only.
fn token<'a>(request: &RequestHead<'a>) -> Result<&'a str, UpgradeRefusal> {
    let value = single(request, "authorization").map_err(|()| BAD_REQUEST)?;
    let value = value.and_then(text).ok_or(UNAUTHORIZED)?;
    let (scheme, token) = value.split_once(' ').ok_or(UNAUTHORIZED)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(UNAUTHORIZED);
    }
    Ok(token)
}

/// The value of a header that must not be repeated.
fn single<'a>(request: &RequestHead<'a>, name: &str) -> Result<Option<&'a [u8]>, ()> {
    let mut all = request.values(name);
    match (all.next(), all.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(()),
    }
}

/// The parameters of a request. Others are ignored, as for a WebSocket.
#[derive(Debug, Default, PartialEq, Eq)]
struct EventQuery {
    channels: Vec<String>,
    last_event_id: Option<String>,
}

impl EventQuery {
    fn parse(query: Option<&str>) -> Result<Self, UpgradeRefusal> {
        let pairs = Query::<Vec<(String, String)>>::from_query(query.unwrap_or_default());
        let pairs = pairs.map_err(|_| BAD_REQUEST)?.into_inner();
        let mut parsed = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "channels" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    parsed.channels.extend(names.map(Into::into));
                }
                "last_event_id" => parsed.last_event_id = Some(value),
                _ => {}
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::socket::request::parse_head;

    /// The Identify of a request, or the status of its refusal.
    fn identify_of(path: &str, headers: &str) -> Result<Value, u16> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
        let (_, message) = parse_head(head.as_bytes(), |head| identify(head, 3)).unwrap().unwrap();
        message.map(|text| serde_json::from_str(&text).unwrap()).map_err(|refusal| refusal.status.as_u16())
    }

    const TOKEN: &str = "authorization: bearer \"t\r\n";

    #[test]
    fn a_request_becomes_an_identify() {
        for (path, channels) in [
            ("/events", json!([])),
            ("/events?channels=&v=1", json!([])),
            (
                "/events?channels=room:7,a:b&channels=all",
                json!([
                    {"channel": "room:7"}, {"channel": "a:b"}, {"channel": "all"}
                ]),
            ),
            ("/events?channels=room%3A7%2C%22", json!([{"channel": "room:7"}, {"channel": "\""}])),
        ] {
            let expected = json!({"op": 1, "token": "\"t", "channels": channels});
            assert_eq!(identify_of(path, TOKEN), Ok(expected), "{path}");
        }
    }

    #[test]
    fn a_stream_continues_with_all_channels_of_its_id() {
        let channels = |path: &str, headers: &str| {
            identify_of(path, &format!("{TOKEN}{headers}")).unwrap()["channels"].take()
        };
        let continued = json!([
            {"channel": "room:8"}, {"channel": "room:7", "since": "3-4"}, {"channel": "all", "since": "1-2"}
        ]);
        let by_query = channels("/events?channels=room:8,room:7&last_event_id=1-2@all%203-4@room:7", "");
        assert_eq!(by_query, continued);
        let both = "/events?channels=room:8,room:7&last_event_id=9-9@all";
        assert_eq!(channels(both, "last-event-id: 1-2@all 3-4@room:7\r\n"), continued);
        for foreign in ["last-event-id: 42\r\n", "last-event-id: \u{e9}\r\n"] {
            let unknown = json!([{"channel": "room:7", "since": ""}]);
            assert_eq!(channels("/events?channels=room:7", foreign), unknown, "{foreign}");
        }
    }

    #[test]
    fn a_request_with_too_many_channels_is_refused() {
        let id = "last-event-id: 1-2@a:b 3-4@room:7\r\n";
        for (path, status) in [("/events?channels=room:7,x:y", 200), ("/events?channels=room:8,x:y", 400)] {
            let answer = identify_of(path, &format!("{TOKEN}{id}"));
            assert_eq!(answer.map_or_else(|status| status, |_| 200), status, "{path}");
        }
    }

    #[test]
    fn a_request_needs_one_bearer_token() {
        for (headers, status) in [
            ("", 401),
            ("authorization: Basic dDp0\r\n", 401),
            ("authorization: Bearer\r\n", 401),
            ("authorization: Bearer  \r\n", 401),
            ("authorization: Bearer \u{e9}\r\n", 401),
            ("authorization: Bearer t\r\nauthorization: Bearer t\r\n", 400),
            ("authorization: Bearer t\r\nlast-event-id: a\r\nlast-event-id: b\r\n", 400),
        ] {
            assert_eq!(identify_of("/events?token=t", headers), Err(status), "{headers:?}");
        }
    }
}

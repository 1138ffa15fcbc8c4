//! A session in a room, with checks of op 14 and op 15.

use std::time::Instant;

use serde_json::{Value, json};

use super::BURIAL;
use crate::support::client::Client;
use crate::support::gateway::TestGateway;

/// One session of a user on one channel.
pub(super) struct Member {
    pub(super) client: Client,
    pub(super) channel: &'static str,
}

impl Member {
    #[track_caller]
    pub(super) fn enter(gateway: &TestGateway, user: &str, channel: &'static str) -> Self {
        let mut client = gateway.connect_v2().answering_heartbeats();
        client.identify(user);
        client.expect_ready();
        client.send_text(&json!({"op": 4, "channel": channel}).to_string());
        let mut member = Self { client, channel };
        let answer = member.next_but_all();
        assert_eq!((&answer["op"], &answer["state"]), (&json!(6), &json!("subscribed")), "{answer}");
        member
    }

    /// The next frame that is not the count of `all`.
    #[track_caller]
    pub(super) fn next_but_all(&mut self) -> Value {
        loop {
            let frame = self.client.next_json();
            if frame["op"] != 14 || frame["channel"] != "all" {
                return frame;
            }
        }
    }

    /// Reads op 14 until one has this count. Returns all of them without `op` and `channel`.
    #[track_caller]
    pub(super) fn wait_count(&mut self, count: u64) -> Vec<Value> {
        let end = Instant::now() + BURIAL;
        let mut events = Vec::new();
        loop {
            assert!(Instant::now() < end, "no count of {count} in {events:?}");
            let mut frame = self.next_but_all();
            assert_eq!((&frame["op"], &frame["channel"]), (&json!(14), &json!(self.channel)), "{frame}");
            let fields = frame.as_object_mut().unwrap();
            fields.retain(|name, _| name != "op" && name != "channel");
            events.push(frame);
            if events.last().unwrap()["count"] == count {
                return events;
            }
        }
    }

    /// Asks for members; returns the answer to the request, and passes over op 14 and gaps.
    #[track_caller]
    pub(super) fn ask(&mut self, channel: &str, after: Option<&str>) -> Value {
        let mut request = json!({"op": 15, "id": "m1", "channel": channel});
        if let Some(after) = after {
            request["after"] = after.into();
        }
        self.client.send_text(&request.to_string());
        loop {
            let frame = self.client.next_json();
            if frame["op"] != 14 && frame["op"] != 8 {
                assert_eq!(frame["id"], "m1", "{frame}");
                return frame;
            }
        }
    }

    /// All members of the member's channel, by page.
    #[track_caller]
    pub(super) fn members(&mut self) -> Vec<String> {
        let (mut members, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self.ask(self.channel, after.as_deref());
            assert_eq!((&page["op"], &page["channel"]), (&json!(15), &json!(self.channel)), "{page}");
            let ids: Vec<String> = serde_json::from_value(page["members"].clone()).unwrap();
            assert!(ids.len() <= 100);
            members.extend(ids);
            match page.get("next") {
                Some(next) => after = Some(next.as_str().unwrap().to_owned()),
                None => return members,
            }
        }
    }
}

//! The lines that `tail` prints to standard error.

use actix_http::ws::CloseReason;

use crate::settings::{name_text, one_line};

/// The line for a Close, such as `closed with 4003 identify failed`.
pub(super) fn close_line(reason: Option<CloseReason>) -> String {
    let Some(CloseReason { code, description }) = reason else { return "closed".to_owned() };
    let line = format!("closed with {} {}", u16::from(code), one_line(description.unwrap_or_default()));
    line.trim_end().to_owned()
}

/// The line for a channel's state, such as `room:7 recovering` or `room:7 refused: not_allowed`.
pub(super) fn channel_line(channel: &str, state: &str, reason: Option<&str>) -> String {
    let (channel, state) = (name_text(channel), one_line(state));
    match reason {
        Some(reason) => format!("{channel} {state}: {}", one_line(reason)),
        None => format!("{channel} {state}"),
    }
}

/// The line for a user's state: `presence on online:42: online`, or `away`.
pub(super) fn user_line(channel: &str, is_online: bool) -> String {
    let state = if is_online { "online" } else { "away" };
    format!("presence on {}: {state}", name_text(channel))
}

/// The line before the stored messages of a channel, such as `history of room:7: 2 messages`.
pub(super) fn stored_line(channel: &str, count: u64) -> String {
    let word = if count == 1 { "message" } else { "messages" };
    format!("history of {}: {count} {word}", name_text(channel))
}

/// The line for a signal, such as `signal on room:7 from 42: {"typing":true}`.
pub(super) fn signal_line(channel: &str, user: &str, signal: &str) -> String {
    format!("signal on {} from {}: {}", name_text(channel), name_text(user), one_line(signal))
}

/// The line for a room, such as `presence on room:7: 3; joined: 42, 44; left: 43`.
pub(super) fn room_line(channel: &str, count: u64, joined: &[String], left: &[String]) -> String {
    let mut line = format!("presence on {}: {count}", name_text(channel));
    for (change, users) in [("joined", joined), ("left", left)] {
        if !users.is_empty() {
            line.push_str(&format!("; {change}: {}", one_line(users.join(", "))));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use protocol::close::CloseCode;

    use super::*;

    #[test]
    fn channel_line_has_the_reason_if_there_is_one() {
        assert_eq!(channel_line("room:7", "recovering", None), "room:7 recovering");
        assert_eq!(channel_line("room:7", "refused", Some("unavailable")), "room:7 refused: unavailable");
        assert_eq!(channel_line("", "refused", Some("bad\nchannel")), r#""" refused: bad\nchannel"#);
    }

    #[test]
    fn a_user_line_says_online_or_away() {
        assert_eq!(user_line("online:42", true), "presence on online:42: online");
        assert_eq!(user_line("online:42", false), "presence on online:42: away");
    }

    #[test]
    fn a_stored_line_counts_the_messages() {
        assert_eq!(stored_line("room:7", 1), "history of room:7: 1 message");
        assert_eq!(stored_line("room:7", 0), "history of room:7: 0 messages");
    }

    #[test]
    fn a_signal_line_names_the_channel_and_the_user() {
        let line = signal_line("room:7", "42", r#"{"typing": true}"#);
        assert_eq!(line, r#"signal on room:7 from 42: {"typing": true}"#);
        assert_eq!(signal_line("room:7", "", "[\n1]"), r#"signal on room:7 from "": [\n1]"#);
    }

    #[test]
    fn a_room_line_has_joins_and_leaves_if_there_are_any() {
        let users = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(room_line("room:7", 812, &[], &[]), "presence on room:7: 812");
        let line = room_line("room:7", 3, &users(&["42", "44"]), &users(&["a\nb"]));
        assert_eq!(line, r"presence on room:7: 3; joined: 42, 44; left: a\nb");
        let many = room_line("room:7", 200, &users(&["0123456789"; 200]), &[]);
        assert!(many.len() < 250 && many.ends_with('…'), "{many}");
    }

    #[test]
    fn a_close_reason_stays_on_one_line() {
        let close = |text: &str| Some(CloseReason::from((CloseCode::IdentifyFailed.code().into(), text)));
        assert_eq!(close_line(close("a\u{1b}[31m\nb")), r"closed with 4003 a\u{1b}[31m\nb");
        assert_eq!(close_line(close("")), "closed with 4003");
        assert_eq!(close_line(None), "closed");
    }
}

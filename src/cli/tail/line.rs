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
    fn a_close_reason_stays_on_one_line() {
        let close = |text: &str| Some(CloseReason::from((CloseCode::IdentifyFailed.code().into(), text)));
        assert_eq!(close_line(close("a\u{1b}[31m\nb")), r"closed with 4003 a\u{1b}[31m\nb");
        assert_eq!(close_line(close("")), "closed with 4003");
        assert_eq!(close_line(None), "closed");
    }
}

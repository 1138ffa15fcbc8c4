//! The close codes of the gateway.

/// Why the gateway closes a socket. The numbers are part of the contract with the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 1002: the peer violated RFC 6455.
    ProtocolError,
    /// 1003: a binary message in a text protocol.
    UnsupportedData,
    /// 1007: text that is not UTF-8.
    InvalidUtf8,
    /// 1008: abuse that RFC 6455 allows: too many fragments, or an unfinished message.
    PolicyViolation,
    /// 1009: a frame or message over `session.max_message_bytes`.
    MessageTooBig,
    /// 1011: an internal error of the gateway; it ends this session only.
    InternalError,
    /// 1012: this replica is draining.
    ServiceRestart,
    /// 1013: this replica does not know which tokens are revoked.
    TryAgainLater,
    /// 4001: not JSON, not an object, an unknown op, a wrong type.
    Malformed,
    /// 4002: silent for `heartbeat_interval` + `heartbeat_grace`.
    HeartbeatTimedOut,
    /// 4003: a bad, expired or revoked token.
    IdentifyFailed,
    /// 4004: no Identify within `identify_timeout`.
    IdentifyTimedOut,
    /// 4005: a second Identify.
    AlreadyIdentified,
    /// 4006: an op that needs an identity arrived before the token was accepted.
    NotIdentified,
    /// 4007: the client exceeded its message budget, or a limit of its user or address is reached.
    RateLimited,
    /// 4008: the outbound queue exceeded its limit, or a write made no progress.
    TooSlow,
    /// 4009: the token expired, or was revoked.
    SessionExpired,
    /// 4010: the backend or an operator ended the session.
    Disconnected,
}

impl CloseCode {
    /// Every code, for metrics and the test of the documentation.
    pub const ALL: [Self; 18] = [
        Self::ProtocolError,
        Self::UnsupportedData,
        Self::InvalidUtf8,
        Self::PolicyViolation,
        Self::MessageTooBig,
        Self::InternalError,
        Self::ServiceRestart,
        Self::TryAgainLater,
        Self::Malformed,
        Self::HeartbeatTimedOut,
        Self::IdentifyFailed,
        Self::IdentifyTimedOut,
        Self::AlreadyIdentified,
        Self::NotIdentified,
        Self::RateLimited,
        Self::TooSlow,
        Self::SessionExpired,
        Self::Disconnected,
    ];

    /// The number on the wire, the reason text (at most 123 bytes: RFC 6455, section 5.5) and whether the client
    /// should reconnect automatically.
    const fn row(self) -> (u16, &'static str, bool) {
        match self {
            Self::ProtocolError => (1002, "WebSocket protocol error", true),
            Self::UnsupportedData => (1003, "only text messages are understood", true),
            Self::InvalidUtf8 => (1007, "text is not valid UTF-8", true),
            Self::PolicyViolation => (1008, "message in too many pieces, or never finished", true),
            Self::MessageTooBig => (1009, "message too big", true),
            Self::InternalError => (1011, "internal error", true),
            Self::ServiceRestart => (1012, "service restart", true),
            Self::TryAgainLater => (1013, "revocations unknown, try again later", true),
            Self::Malformed => (4001, "malformed payload", true),
            Self::HeartbeatTimedOut => (4002, "heartbeat timed out", true),
            Self::IdentifyFailed => (4003, "identify failed", false),
            Self::IdentifyTimedOut => (4004, "identify timed out", true),
            Self::AlreadyIdentified => (4005, "already identified", true),
            Self::NotIdentified => (4006, "not identified", true),
            Self::RateLimited => (4007, "rate limited", true),
            Self::TooSlow => (4008, "too slow", true),
            Self::SessionExpired => (4009, "session expired", true),
            Self::Disconnected => (4010, "disconnected by the backend", false),
        }
    }

    /// The number in the Close frame.
    pub const fn code(self) -> u16 {
        self.row().0
    }

    /// The reason text in the Close frame.
    pub const fn reason(self) -> &'static str {
        self.row().1
    }

    /// Whether a client should reconnect automatically. After [`CloseCode::SessionExpired`] it needs a new token.
    pub const fn may_reconnect(self) -> bool {
        self.row().2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_a_control_frame_and_codes_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for code in CloseCode::ALL {
            assert!(code.reason().len() <= 123, "{code:?}");
            assert!(seen.insert(code.code()), "{code:?} has the number of another code");
        }
    }

    #[test]
    fn only_identify_failed_and_disconnected_forbid_reconnecting() {
        let is_final: Vec<_> = CloseCode::ALL.into_iter().filter(|code| !code.may_reconnect()).collect();
        assert_eq!(is_final, [CloseCode::IdentifyFailed, CloseCode::Disconnected]);
    }
}

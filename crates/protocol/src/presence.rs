//! Whether a user is online.

use std::num::NonZeroU64;

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

/// Whether a user is online, and when that was true. Small, because every state of a subscription has room for one.
///
/// Its JSON is `{"online":true,"at":1764423000000}`, as in the messages on `online:<user>`.
// The time is above the lowest bit, and the sum is never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserPresence(NonZeroU64);

impl UserPresence {
    /// The latest time that fits.
    const MAX_AT_MS: u64 = (u64::MAX >> 1) - 1;

    /// `at_ms`: Unix time in milliseconds, by Redis' clock.
    pub const fn new(is_online: bool, at_ms: u64) -> Self {
        let at_ms = if at_ms < Self::MAX_AT_MS { at_ms } else { Self::MAX_AT_MS };
        let packed = (at_ms << 1) | is_online as u64;
        Self(NonZeroU64::MIN.saturating_add(packed))
    }

    /// Whether the user is online.
    pub const fn is_online(self) -> bool {
        (self.0.get() - 1) & 1 == 1
    }

    /// Unix time in milliseconds, by Redis' clock.
    pub const fn at_ms(self) -> u64 {
        (self.0.get() - 1) >> 1
    }
}

impl Serialize for UserPresence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("UserPresence", 2)?;
        fields.serialize_field("online", &self.is_online())?;
        fields.serialize_field("at", &self.at_ms())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_time_are_kept_in_eight_bytes() {
        for (is_online, at_ms) in [(true, 0), (false, 0), (true, 1_764_423_000_000), (false, (1 << 63) - 2)] {
            let presence = UserPresence::new(is_online, at_ms);
            assert_eq!((presence.is_online(), presence.at_ms()), (is_online, at_ms));
        }
        assert_eq!(UserPresence::new(true, u64::MAX).at_ms(), (1 << 63) - 2, "the time is bounded");
        assert_eq!(size_of::<Option<UserPresence>>(), 8);
        let json = serde_json::to_string(&UserPresence::new(true, 7)).unwrap();
        assert_eq!(json, r#"{"online":true,"at":7}"#);
    }
}

//! The contents of a verified token.

use std::time::SystemTime;

use super::AuthError;

/// The longest user id, in bytes. `user:<id>` stays well below the 255 bytes of a channel name.
const MAX_USER_BYTES: usize = 128;
/// The longest channel name, in bytes.
const MAX_CHANNEL_BYTES: usize = 255;
/// The most entries of a token's `channels`, and of its `subscribe`.
pub const MAX_CHANNELS: usize = 1000;

/// The user and the rights in a verified token, as text. The session layer parses it into the conversation's
/// [`Identity`](protocol::conversation::Identity): `user` becomes the user's channel, `channels` become grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user id: 1 to 128 printable ASCII characters without spaces, braces and asterisks.
    pub user: String,
    /// The time at which the session must end. `None`: the token does not expire.
    pub expires_at: Option<SystemTime>,
    /// The channels that the user may subscribe to, besides its own: names (`room:7`) or whole namespaces (`room:*`).
    pub channels: Vec<String>,
    /// The channels that the session subscribes to when it identifies; each is granted too.
    pub subscribe: Vec<String>,
    /// The id of the token, by which it can be revoked. `None`: it can be revoked only with all tokens of its user.
    pub token_id: Option<String>,
    /// The time of issue. `None`: unknown, so the token counts as issued before any other.
    pub issued_at: Option<SystemTime>,
}

/// Whether a channel name may contain the byte, as in the protocol and in Redis keys.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"{}".contains(&byte)
}

/// The user id in `bytes`, if `user:<id>` is a channel name. An asterisk is refused, because `user:*` is a pattern.
pub(super) fn parse_user_id(bytes: &[u8]) -> Result<String, AuthError> {
    if bytes.is_empty() {
        return Err(AuthError::NoUser);
    }
    if bytes.len() > MAX_USER_BYTES || !bytes.iter().all(|byte| is_name_byte(*byte) && *byte != b'*') {
        return Err(AuthError::UserNotAllowed);
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| AuthError::UserNotAllowed)
}

/// Whether `pattern` grants access to the channel of a user other than `user`.
pub(super) fn is_of_another_user(pattern: &str, user: &str) -> bool {
    pattern.strip_prefix("user:").is_some_and(|name| name != user)
}

/// Whether `pattern` is `<namespace>:<name>` or `<namespace>:*`. An asterisk anywhere else would have no effect.
pub(super) fn is_channel_pattern(pattern: &str) -> bool {
    let Some((namespace, name)) = pattern.split_once(':') else { return false };
    pattern.len() <= MAX_CHANNEL_BYTES
        && pattern.bytes().all(is_name_byte)
        && !namespace.is_empty()
        && !name.is_empty()
        && !namespace.contains('*')
        && (name == "*" || !name.contains('*'))
}

/// Whether `name` is `<namespace>:<name>` without an asterisk.
pub(super) fn is_channel_name(name: &str) -> bool {
    is_channel_pattern(name) && !name.contains('*')
}

//! What a token says about its bearer, once it is believed.

use std::time::SystemTime;

use super::AuthError;

/// The longest user id, in bytes. `user:<id>` then stays well below a channel name's 255.
const MAX_USER_BYTES: usize = 128;
/// The longest channel name, in bytes.
const MAX_CHANNEL_BYTES: usize = 255;
/// The most channel patterns one token may list.
pub(super) const MAX_CHANNELS: usize = 1000;

/// Who a client is and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user's id: 1 to 128 printable ASCII characters without space, braces and star.
    pub user: String,
    /// When the session must end; `None`: never by itself.
    pub expires_at: Option<SystemTime>,
    /// The channels that the token opens, besides the user's own: exact names (`room:7`) or everything of a namespace
    /// (`room:*`).
    pub channels: Vec<String>,
}

/// What may stand in a channel name, as the broker's keys and the protocol have it.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"{}".contains(&byte)
}

/// The user id in `bytes`, if `user:<id>` is a channel name. A star is refused too: `user:*` must stay a pattern.
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

/// Whether `pattern` is `<namespace>:<name>` or `<namespace>:*`. A star anywhere else would promise what nobody keeps.
pub(super) fn is_channel_pattern(pattern: &str) -> bool {
    let Some((namespace, name)) = pattern.split_once(':') else { return false };
    pattern.len() <= MAX_CHANNEL_BYTES
        && pattern.bytes().all(is_name_byte)
        && !namespace.is_empty()
        && !name.is_empty()
        && !namespace.contains('*')
        && (name == "*" || !name.contains('*'))
}

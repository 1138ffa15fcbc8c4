//! Secrets, and URLs with passwords, as text that can be printed safely.

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize, Serializer};
use subtle::{Choice, ConstantTimeEq as _};

use super::files::{check_is_file, read_text};

/// The text that is printed instead of a secret.
pub(super) const MASK: &str = "***";

/// The maximum length of a secret file, in bytes. A longer file is the wrong file.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A secret from the settings. `Debug`, `Display` and serialisation give `***`. Only [`Secret::expose`] gives the text,
/// so every use of the text can be found.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Reads a secret from a file and removes trailing line breaks. Blocks as long as the file system does.
    ///
    /// # Errors
    /// The reason, without the path and the contents.
    pub fn read_file(path: &Path) -> Result<Self, String> {
        check_is_file(path)?;
        let text = read_text(path, MAX_FILE_BYTES)?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err("the file is empty".to_owned()),
            secret => Ok(Self(secret.to_owned())),
        }
    }

    /// The text of the secret. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is this secret. An empty secret matches nothing. Compares in constant time: the duration
    /// depends on the length of `candidate` only, and not on the length of the secret.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let own = self.0.as_bytes();
        // `ct_eq` of two slices returns early if their lengths differ, so the secret is repeated to the length of the
        // candidate.
        let repeated = candidate.iter().zip(own.iter().cycle());
        let bytes_match =
            repeated.fold(Choice::from(1), |all, (given, expected)| all & given.ct_eq(expected));
        let matches = bytes_match & own.len().ct_eq(&candidate.len());
        matches.into() && !own.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// A URL with its password masked, for logs: `redis://user:***@host`. A URL without a password is returned unchanged.
pub fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    if scheme.ends_with("unix") {
        return format!("{scheme}://{}", mask_query(rest));
    }
    // An unescaped password may contain @ and slashes, so the credentials end at the last @ of the URL.
    let Some((credentials, endpoint)) = rest.rsplit_once('@') else {
        return format!("{scheme}://{}", mask_query(rest));
    };
    let endpoint = mask_query(endpoint);
    match credentials.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{MASK}@{endpoint}"),
        None => format!("{scheme}://{credentials}@{endpoint}"),
    }
}

/// The URL of a Unix socket has its password in the query. Only parameters that are no secrets are left readable.
fn mask_query(endpoint: &str) -> String {
    let Some((path, query)) = endpoint.split_once('?') else { return endpoint.to_owned() };
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some(("db" | "user" | "protocol", _)) => pair.to_owned(),
        Some((name, _)) => format!("{name}={MASK}"),
        None => MASK.to_owned(),
    });
    format!("{path}?{}", masked.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::from("hunter2".to_owned());
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#""***""#);
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_secret_matches_only_itself() {
        let secret = Secret::from("hunter2".to_owned());
        assert!(secret.matches(b"hunter2"));
        for other in ["", "hunter", "hunter22", "hunter2hunter2", "Hunter2"] {
            assert!(!secret.matches(other.as_bytes()), "{other}");
        }
        assert!(!Secret::from(String::new()).matches(b""));
    }

    #[test]
    fn passwords_in_urls_are_masked() {
        for (url, masked) in [
            ("memory:", "memory:"),
            ("redis://host:6379/1", "redis://host:6379/1"),
            ("redis://:pw@host", "redis://:***@host"),
            ("rediss://me:p@ss/w@host:1/2", "rediss://me:***@host:1/2"),
            ("redis://me@host", "redis://me@host"),
            ("unix:///run/redis.sock?db=1&user=me&pass=pw", "unix:///run/redis.sock?db=1&user=me&pass=***"),
            ("unix:///run/redis.sock?user=me&pass=p@w", "unix:///run/redis.sock?user=me&pass=***"),
            ("redis+sentinel://me:pw@a:1,b:2/main/3", "redis+sentinel://me:***@a:1,b:2/main/3"),
            ("rediss+cluster://me:pw@a:1,b:2", "rediss+cluster://me:***@a:1,b:2"),
        ] {
            assert_eq!(mask_url(url), masked);
        }
    }
}

//! Refuses placeholders from examples as secrets.

use super::{Check, failures, refuse};
use crate::settings::{Secret, Settings, SettingsError};

/// Parts of placeholders in lower case, without separators.
const PLACEHOLDERS: [&str; 6] =
    ["replaceme", "replacethis", "changeme", "changethis", "fortryingonly", "placeholder"];
/// A text with fewer different bytes only fills a field.
const MIN_DISTINCT_BYTES: usize = 5;

impl Settings {
    /// Refuses placeholders and repeated characters in production.
    pub(super) fn validate_secrets(&self) -> Vec<SettingsError> {
        if !self.is_production() {
            return Vec::new();
        }
        let broker = &self.broker;
        let from_file = |path: &Option<std::path::PathBuf>| {
            // `Settings::check` reports a file that cannot be read.
            path.as_deref().and_then(|path| Secret::read_file(path).ok())
        };
        let in_url = password_of(&broker.url).map(|password| Secret::from(password.to_owned()));
        failures([
            check("auth.secret", self.auth.secret.as_ref()),
            check("auth.introspection_client_secret", self.auth.introspection_client_secret.as_ref()),
            check("auth.previous_secret", self.auth.previous_secret.as_ref()),
            check("admin.api_key", self.admin.api_key.as_ref()),
            check("broker.password", broker.password.as_ref()),
            check("broker.password_file", from_file(&broker.password_file).as_ref()),
            check("broker.sentinel_password", broker.sentinel_password.as_ref()),
            check("broker.sentinel_password_file", from_file(&broker.sentinel_password_file).as_ref()),
            check("broker.url", in_url.as_ref()),
        ])
    }
}

fn check(key: &'static str, secret: Option<&Secret>) -> Check {
    match secret.map(Secret::expose) {
        Some(text) if is_placeholder(text) => refuse(
            key,
            "must not be a placeholder in production; generate a secret with `openssl rand -hex 32`",
        ),
        Some(text) if is_repeated(text) => refuse(
            key,
            "must contain at least 5 different bytes in production; generate a secret with `openssl rand -hex 32`",
        ),
        _ => Ok(()),
    }
}

fn is_placeholder(text: &str) -> bool {
    let letters: String =
        text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    PLACEHOLDERS.iter().any(|placeholder| letters.contains(placeholder))
}

fn is_repeated(text: &str) -> bool {
    let mut bytes = text.as_bytes().to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    bytes.len() < MIN_DISTINCT_BYTES
}

/// The password in a URL, if the URL has one.
fn password_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let password = if scheme.ends_with("unix") {
        let (_, query) = rest.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix("pass="))?
    } else {
        let (credentials, _) = rest.rsplit_once('@')?;
        credentials.split_once(':')?.1
    };
    Some(password).filter(|password| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_repetitions_are_recognised() {
        for placeholder in [
            "replace-me",
            "replace-me-with-32-bytes-or-more-before-use",
            "for-trying-only-replace-me-before-use",
            "FOR_TRYING_ONLY_0123456789abcdef",
            "please-change-me-0123456789abcdef",
            "ChangeMe123",
        ] {
            assert!(is_placeholder(placeholder), "{placeholder}");
        }
        for repeated in
            ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababababababababab", "0000000000000001"]
        {
            assert!(is_repeated(repeated), "{repeated}");
        }
        for good in ["0123456789abcdef0123456789abcdef", "the-key-of-the-admin-api", "9f3cc1a8a4bd0e7714f2"] {
            assert!(!is_placeholder(good) && !is_repeated(good), "{good}");
        }
    }

    #[test]
    fn the_password_of_a_url_is_found() {
        for (url, password) in [
            ("redis://me:hunter2@h:1/0", Some("hunter2")),
            ("redis://me@h", None),
            ("redis://h", None),
            ("unix:///s?db=1&pass=hunter2", Some("hunter2")),
            ("unix:///s?user=me&pass=p@w", Some("p@w")),
            ("unix:///s?pass=", None),
            ("memory:", None),
        ] {
            assert_eq!(password_of(url), password, "{url}");
        }
    }
}

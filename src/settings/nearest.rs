//! Suggests the right name for a misspelt one.

use strsim::{damerau_levenshtein, normalized_damerau_levenshtein};

/// The minimum similarity of a suggested name; 1 means equal.
const ALIKE: f64 = 0.75;

/// The suggestion for `key`: a known key of similar spelling, of the same name in another section, or of the same
/// section with this beginning.
pub(super) fn nearest_key<'a>(key: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let has_name = |known: &&str| !name.is_empty() && known.rsplit('.').next() == Some(name);
    let begins_so = |known: &&str| {
        known.rsplit_once('.').is_some_and(|(known_section, known_name)| {
            let beginning: String = name.chars().take(4).collect();
            !beginning.is_empty() && known_section == section && known_name.starts_with(&beginning)
        })
    };
    alike(key, known.clone())
        .or_else(|| known.clone().find(has_name))
        .or_else(|| known.clone().filter(begins_so).min_by_key(|known| damerau_levenshtein(key, known)))
}

/// The known name closest to `name`.
pub(super) fn alike<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |known: &'a str| (normalized_damerau_levenshtein(name, known), known);
    let found = known.map(likeness).max_by(|(one, _), (other, _)| one.total_cmp(other));
    found.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_found_by_its_spelling_its_name_or_its_beginning() {
        let known = ["auth.secret", "auth.secret_file", "server.public_addr", "session.heartbeat_interval"];
        for (given, meant) in [
            ("auth.secert", Some("auth.secret")),
            ("auht.secret", Some("auth.secret")),
            ("server.pubilc_adr", Some("server.public_addr")),
            ("session.heartbeat_intervall", Some("session.heartbeat_interval")),
            ("session.heartbeat", Some("session.heartbeat_interval")),
            ("listener.public_addr", Some("server.public_addr")),
            ("secret", Some("auth.secret")),
            ("auth.drain", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest_key(given, known.into_iter()), meant, "{given}");
        }
    }
}

//! Suggests the present name of a misspelt or renamed setting.

use strsim::{damerau_levenshtein, normalized_damerau_levenshtein};

use super::renamed::{new_name, old_names};

/// The minimum similarity of a suggested name; 1 means equal.
const MIN_SIMILARITY: f64 = 0.75;
/// The number of equal characters with which two names have the same beginning.
const BEGINNING_CHARS: usize = 4;

/// The suggestion for `key`: a known key that begins with it, of similar spelling, of the same name in another section, or of the same
/// section with the same beginning. Old names count as known, and their new name is suggested.
pub(super) fn nearest_key<'a>(key: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let name = key.rsplit_once('.').map_or(key, |(_, name)| name);
    let has_name = |known: &&str| !name.is_empty() && known.rsplit('.').next() == Some(name);
    let all = known.clone().chain(old_names());
    beginning_with(key, all.clone())
        .or_else(|| most_similar(key, all.clone()))
        .or_else(|| all.clone().find(has_name))
        .or_else(|| nearest_in_section(key, known))
        .map(present_name)
}

/// The shortest known key that begins with `given`: its section, and at least `BEGINNING_CHARS` of its name. Spaces in
/// `given` count as dots and underscores.
pub(super) fn beginning_with<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let equal = |(one, other): (char, char)| one == other || (one == ' ' && matches!(other, '.' | '_'));
    let begins = |known: &&str| {
        let name_start = known.find('.').map_or(0, |dot| dot + 1);
        (name_start + BEGINNING_CHARS..=known.len()).contains(&given.len())
            && given.chars().zip(known.chars()).all(equal)
    };
    known.filter(begins).min_by_key(|known| known.len())
}

/// The suggestion for `key` among the keys of its section that have the same beginning. The section may be misspelt.
pub(super) fn nearest_in_section<'a>(
    key: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let (section, name) = key.rsplit_once('.')?;
    let all = known.chain(old_names());
    let sections = all.clone().filter_map(|known| Some(known.rsplit_once('.')?.0));
    let key = format!("{}.{name}", most_similar(section, sections)?);
    let beginning: String = name.chars().take(BEGINNING_CHARS).collect();
    let begins_so = |known: &&str| {
        known.strip_prefix(&key[..key.len() - name.len()]).is_some_and(|known| known.starts_with(&beginning))
    };
    let alike = all.clone().filter(|_| !name.is_empty()).filter(begins_so);
    let nearest =
        beginning_with(&key, all).or_else(|| alike.min_by_key(|known| damerau_levenshtein(&key, known)));
    nearest.map(present_name)
}

/// The known name most similar to `name`, if any is similar enough.
pub(super) fn most_similar<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |known: &'a str| (normalized_damerau_levenshtein(name, known), known);
    let found = known.map(similarity).max_by(|(one, _), (other, _)| one.total_cmp(other));
    found.filter(|(similarity, _)| *similarity >= MIN_SIMILARITY).map(|(_, known)| known)
}

/// The new name of a renamed setting; every other name unchanged.
pub(super) fn present_name(name: &str) -> &str {
    new_name(name).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = [
        "auth.secret",
        "auth.secret_file",
        "server.public_addr",
        "session.heartbeat_interval",
        "session.max_recovered_messages",
    ];

    #[test]
    fn a_misspelt_key_is_found_by_spelling_name_or_beginning() {
        for (given, expected) in [
            ("auth.secert", Some("auth.secret")),
            ("auht.secret", Some("auth.secret")),
            ("server.pubilc_adr", Some("server.public_addr")),
            ("session.heartbeat_intervall", Some("session.heartbeat_interval")),
            ("session.heartbeat", Some("session.heartbeat_interval")),
            ("listener.public_addr", Some("server.public_addr")),
            ("secret", Some("auth.secret")),
            ("auth.drain", None),
            ("colour", None),
            ("session.", None),
            ("", None),
        ] {
            assert_eq!(nearest_key(given, KNOWN.into_iter()), expected, "{given}");
        }
    }

    #[test]
    fn a_misspelt_section_does_not_hide_the_key() {
        for (given, expected) in [
            ("sesion.heartbeat_interval", Some("session.heartbeat_interval")),
            ("sesion.heartbeat", Some("session.heartbeat_interval")),
            ("sessions.heart", Some("session.heartbeat_interval")),
            ("srver.public", Some("server.public_addr")),
            ("redis.heartbeat", None),
        ] {
            assert_eq!(nearest_key(given, KNOWN.into_iter()), expected, "{given}");
        }
    }

    #[test]
    fn a_key_that_begins_with_the_name_is_preferred() {
        let known =
            ["session.max_fragments", "session.max_recovered_messages", "session.max_recovered_bytes_of_all"];
        for given in ["session.max_recovered", "sesion.max_recovered", "session.max_rec"] {
            let found = nearest_key(given, known.into_iter());
            assert_eq!(found, Some("session.max_recovered_messages"), "{given}");
        }
        assert_eq!(beginning_with("session max recovered", known.into_iter()), Some(known[1]));
        assert_eq!(beginning_with("session max", known.into_iter()), None, "three characters are too few");
    }

    #[test]
    fn a_misspelt_old_name_leads_to_the_new_one() {
        for given in ["session.recovery_limt", "sesion.recovery_limit", "session.recovery"] {
            assert_eq!(
                nearest_key(given, KNOWN.into_iter()),
                Some("session.max_recovered_messages"),
                "{given}"
            );
        }
    }
}

//! The name of this replica.

use std::fs;

/// The longest part of the host name.
const MAX_HOST_BYTES: usize = 32;

/// A new name: the host's, for people, and random digits, so that no process takes the name of an earlier one.
pub(in crate::broker) fn new_replica_name() -> String {
    let host =
        fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    format!("{}-{:08x}", sanitized(&host.unwrap_or_default()), rand::random::<u32>())
}

/// The first label of a host name, in lower-case letters, digits and hyphens.
fn sanitized(host: &str) -> String {
    let label = host.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
    let plain = label.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
    let plain: String = plain.take(MAX_HOST_BYTES).collect();
    match plain.trim_matches('-') {
        "" => "gateway".into(),
        plain => plain.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_host_and_eight_digits() {
        let name = new_replica_name();
        let (host, digits) = name.rsplit_once('-').unwrap();
        assert!(!host.is_empty() && host.len() <= MAX_HOST_BYTES, "{name}");
        assert!(digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{name}");
        assert_ne!(name, new_replica_name());
    }

    #[test]
    fn host_names_are_cut_and_sanitized() {
        let long = "x".repeat(40);
        for (host, expected) in [
            ("gateway-7d4f.default.svc\n", "gateway-7d4f"),
            ("My_Host", "my-host"),
            ("-é-", "gateway"),
            ("", "gateway"),
            (long.as_str(), &long[..32]),
        ] {
            assert_eq!(sanitized(host), expected, "{host}");
        }
    }
}

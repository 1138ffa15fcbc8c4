//! The settings with a new name. An old name is refused, and the error has the new one.

/// Old and new names, as in the table of CHANGELOG.md.
const RENAMED: [(&str, &str); 8] = [
    ("server.outbound_bytes", "server.max_outbound_bytes"),
    ("broker.memory_history_bytes", "broker.max_memory_history_bytes"),
    ("broker.sweep_interval", "broker.history_check_interval"),
    ("broker.reconnect_min", "broker.min_reconnect_delay"),
    ("broker.reconnect_max", "broker.max_reconnect_delay"),
    ("broker.inbox_bytes", "broker.max_inbox_bytes"),
    ("session.outbound_bytes", "session.max_outbound_bytes"),
    ("session.recovery_limit", "session.max_recovered_messages"),
];

/// The present name of a setting that was renamed.
pub(super) fn new_name(old: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(renamed, _)| *renamed == old).map(|(_, new)| *new)
}

/// The former names of settings.
pub(super) fn old_names<'a>() -> impl Iterator<Item = &'a str> + Clone {
    RENAMED.iter().map(|(old, _)| -> &'a str { old })
}

#[cfg(test)]
mod tests {
    use super::super::Sources;
    use super::*;
    use crate::settings::Settings;

    fn refusal(sources: Sources) -> String {
        Settings::load(&sources).unwrap_err().to_string()
    }

    #[test]
    fn an_old_name_is_refused_with_the_new_one() {
        for (old, new) in RENAMED {
            assert_eq!(new_name(new), None, "{new} is a present name");
            let flag =
                refusal(Sources { overrides: vec![(old.to_owned(), "1".to_owned())], ..Sources::default() });
            assert!(
                flag.contains(&format!("unknown key {old} (from the command line); it was renamed to {new}")),
                "{flag}"
            );
        }
    }

    #[test]
    fn an_old_variable_is_refused_with_the_new_one() {
        let environment = [("GATEWAY__SESSION__RECOVERY_LIMIT".to_owned(), "10".to_owned())].into();
        let variable = refusal(Sources { environment, ..Sources::default() });
        assert!(
            variable.contains("it was renamed to GATEWAY__SESSION__MAX_RECOVERED_MESSAGES"),
            "{variable}"
        );
    }
}

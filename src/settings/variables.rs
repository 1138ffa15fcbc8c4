//! Finds misspelt environment variables, and ignores the variables of other programs.

use super::nearest::{beginning_with, most_similar, nearest_in_section, present_name};
use super::renamed::old_names;
use super::{SettingsError, one_line, validate::is_log_filter};

/// The prefix of settings in the environment. It has two underscores because orchestrators set `GATEWAY_PORT` and
/// `GATEWAY_SERVICE_HOST` for a service named `gateway`.
pub(super) const VARIABLE_PREFIX: &str = "GATEWAY__";

/// The variables of the gateway that are not settings.
const CONTROL_VARIABLES: [&str; 2] = ["GATEWAY_PROFILE", "GATEWAY_CONFIG_DIR"];

/// Whether the variable is, or may be, a misspelt setting.
pub(super) fn may_be_setting(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name == "RUST_LOG" || name.starts_with("GATEWAY_") || strip_misspelt_prefix(&name).is_some()
}

/// The result of checking a variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The variable is a mistake.
    Error(SettingsError),
    /// The variable may belong to another program: docker-compose.yml has variables such as `GATEWAY_AUTH_SECRET`.
    Warning(String),
}

/// Checks a variable that does not begin with [`VARIABLE_PREFIX`]. `keys` lists all settings.
pub(super) fn check<'a>(
    name: &str,
    value: &str,
    keys: impl Iterator<Item = &'a str> + Clone,
) -> Option<Finding> {
    if name == "RUST_LOG" {
        return check_log_filter(value).map(Finding::Error);
    }
    if CONTROL_VARIABLES.contains(&name) || is_set_by_kubernetes(name) {
        return None;
    }
    if let Some(own) = most_similar(&name.to_ascii_uppercase(), CONTROL_VARIABLES.into_iter()) {
        return Some(Finding::Error(unknown(name, own.to_owned())));
    }
    let suggestion = suggest(&name.to_ascii_uppercase(), keys)?;
    if name.starts_with("GATEWAY_") && !name.contains("__") {
        let name = one_line(name);
        return Some(Finding::Warning(format!(
            "the environment variable {name} is not used; did you mean {suggestion}?"
        )));
    }
    Some(Finding::Error(unknown(name, suggestion)))
}

fn unknown(name: &str, suggestion: String) -> SettingsError {
    SettingsError::UnknownVariable { name: name.to_owned(), suggestion }
}

/// The variable to suggest for a name in capitals: one that begins with it, one of similar spelling, or one of the same
/// section with the same beginning. For an old name, the new one.
fn suggest<'a>(name: &str, keys: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let rest = name.strip_prefix("GATEWAY_").or_else(|| strip_misspelt_prefix(name))?;
    let rest = rest.trim_start_matches('_').to_lowercase();
    let plain = |text: &str| text.replace(['.', '_'], " ").replace("  ", " ");
    let all = keys.clone().chain(old_names());
    let plain_keys: Vec<(String, &str)> = all.clone().map(|key| (plain(key), key)).collect();
    let rest_plain = plain(&rest);
    let found = most_similar(&rest_plain, plain_keys.iter().map(|(plain, _)| plain.as_str()));
    let similar = found.and_then(|found| plain_keys.iter().find(|(plain, _)| plain == found));
    let key = beginning_with(&rest_plain, all).or_else(|| similar.map(|(_, key)| *key)).map(present_name);
    // A name without its section is not enough: GATEWAY_API__URL may belong to another program.
    key.or_else(|| nearest_in_section(&rest.replace("__", "."), keys)).map(variable)
}

/// The environment variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// The rest of a name with a misspelt prefix, such as `GATWAY__`.
fn strip_misspelt_prefix(name: &str) -> Option<&str> {
    let (prefix, rest) = name.split_once("__")?;
    most_similar(prefix, ["GATEWAY"].into_iter()).map(|_| rest)
}

/// Kubernetes sets variables such as `GATEWAY_PORT`, `GATEWAY_ADMIN_SERVICE_HOST` and `GATEWAY_PORT_8080_TCP_ADDR` for
/// each service.
fn is_set_by_kubernetes(name: &str) -> bool {
    let parts: Vec<&str> = name.split('_').collect();
    let ends = |end: &[&str]| parts.ends_with(end);
    let is_port = |pair: &[&str]| pair[0] == "PORT" && pair[1].bytes().all(|byte| byte.is_ascii_digit());
    ends(&["PORT"])
        || ends(&["SERVICE", "HOST"])
        || parts.windows(2).any(|pair| pair == ["SERVICE", "PORT"] || (is_port(pair) && !pair[1].is_empty()))
}

fn check_log_filter(value: &str) -> Option<SettingsError> {
    // The part after a slash filters by message.
    let directives = value.split('/').next().unwrap_or_default();
    let is_module = |text: &str| text.contains(['_', ':']) || text.is_empty();
    let is_good = |directive: &str| is_log_filter(directive) || is_module(directive.trim());
    (!directives.split(',').all(is_good)).then(|| SettingsError::BadValue {
        key: "RUST_LOG".to_owned(),
        origin: "the environment".to_owned(),
        reason: "must be off, error, warn, info, debug or trace, or a list such as info,module=debug"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] =
        ["auth.secret", "auth.secret_file", "server.public_addr", "session.heartbeat_interval"];

    fn message_for(name: &str, value: &str) -> Option<String> {
        check(name, value, KEYS.into_iter()).map(|finding| match finding {
            Finding::Error(error) => error.to_string(),
            Finding::Warning(warning) => format!("warning: {warning}"),
        })
    }

    #[test]
    fn misspelt_variables_get_a_suggestion() {
        for (name, suggestion) in [
            ("GATEWAY_PROFIL", "GATEWAY_PROFILE"),
            ("GATEWAY_CONFIG_DIRECTORY", "GATEWAY_CONFIG_DIR"),
            ("gateway_profile", "GATEWAY_PROFILE"),
            ("GATEWAY_AUTH__SECRET", "GATEWAY__AUTH__SECRET"),
            ("GATEWAY_AUTH__SECERT", "GATEWAY__AUTH__SECRET"),
            ("GATWAY__AUTH__SECRET", "GATEWAY__AUTH__SECRET"),
            ("Gateway__Server__Public_Addr", "GATEWAY__SERVER__PUBLIC_ADDR"),
            ("GATEWAY_SESION__HEARTBEAT_INTERVAL", "GATEWAY__SESSION__HEARTBEAT_INTERVAL"),
            ("GATEWAY_SESION__HEARTBEAT", "GATEWAY__SESSION__HEARTBEAT_INTERVAL"),
            ("Gateway__Session__Heartbeat", "GATEWAY__SESSION__HEARTBEAT_INTERVAL"),
        ] {
            assert!(may_be_setting(name), "{name}");
            let expected = format!("unknown environment variable {name}; did you mean {suggestion}?");
            assert_eq!(message_for(name, "x"), Some(expected));
        }
        for name in ["GATEWAY_AUTH_SECRET", "GATEWAY_AUTH_SECERT"] {
            let expected = format!(
                "warning: the environment variable {name} is not used; did you mean GATEWAY__AUTH__SECRET?"
            );
            assert_eq!(message_for(name, "x"), Some(expected));
        }
    }

    #[test]
    fn an_old_name_with_one_underscore_leads_to_the_new_one() {
        for (name, suggestion) in [
            ("GATEWAY_BROKER__SWEEP_INTERVAL", "GATEWAY__BROKER__HISTORY_CHECK_INTERVAL"),
            ("gateway__broker__sweep_interval", "GATEWAY__BROKER__HISTORY_CHECK_INTERVAL"),
            ("GATEWAY_BROKER_SWEEP_INTERVAL", "GATEWAY__BROKER__HISTORY_CHECK_INTERVAL"),
            ("GATEWAY_SESSION_RECOVERY_LIMIT", "GATEWAY__SESSION__MAX_RECOVERED_MESSAGES"),
            ("GATEWAY_BROKER_RECONNECT_MIN", "GATEWAY__BROKER__MIN_RECONNECT_DELAY"),
            ("GATEWAY_BROKER_RECONNECT_MAX", "GATEWAY__BROKER__MAX_RECONNECT_DELAY"),
            ("GATEWAY_SESSION__MAX_RECOVERED", "GATEWAY__SESSION__MAX_RECOVERED_MESSAGES"),
        ] {
            // As in config/default.toml, with a key that is spelled like the old name.
            let keys = ["broker.ping_interval", "session.max_fragments", "session.max_recovered_messages"];
            let found = check(name, "1", keys.into_iter()).map(|finding| match finding {
                Finding::Error(error) => error.to_string(),
                Finding::Warning(warning) => warning,
            });
            let (found, expected) = (found.unwrap_or_default(), format!("; did you mean {suggestion}?"));
            assert!(found.ends_with(&expected), "{name}: {found}");
        }
    }

    #[test]
    fn variables_of_other_programs_are_ignored() {
        for name in [
            "GATEWAY_PROFILE",
            "GATEWAY_CONFIG_DIR",
            "GATEWAY_PORT",
            "GATEWAY_SERVICE_HOST",
            "GATEWAY_SERVICE_PORT_HTTP",
            "GATEWAY_ADMIN_PORT_8081_TCP_ADDR",
            "GATEWAY_IMAGE",
            "GATEWAY_REPLICAS",
            "GATEWAY_API__SECRET",
            "GATEWAY_AUTH__URL",
        ] {
            assert_eq!(message_for(name, "x"), None, "{name}");
        }
        assert!(
            !may_be_setting("PATH")
                && !may_be_setting("__CF_USER_TEXT_ENCODING")
                && !may_be_setting("API_GATEWAY")
        );
    }

    #[test]
    fn a_wrong_log_filter_is_refused() {
        for good in
            ["info", "DEBUG", "info,redis=debug", "my_app", "a::b", "info/text", "trace,emagine_gateway", ""]
        {
            assert_eq!(message_for("RUST_LOG", good), None, "{good}");
        }
        for bad in ["loud", "infoo", "info,verbose", "redis=loud", "info,=debug"] {
            assert!(
                message_for("RUST_LOG", bad).is_some_and(|message| message.starts_with("RUST_LOG ")),
                "{bad}"
            );
        }
    }
}

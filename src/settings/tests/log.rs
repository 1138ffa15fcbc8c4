//! Levels and formats of the log.

use super::{assert_refused, development};

#[test]
fn log_levels_are_checked() {
    for good in ["off", "info", "DEBUG", "info,emagine_gateway::broker=trace", "warn, actix_server=error"] {
        assert!(development(&[("log.level", good)]).is_ok(), "{good}");
    }
    for bad in ["", "loud", "info,", "=info", "x=loud"] {
        assert_refused(development(&[("log.level", bad)]), &["log.level"]);
    }
}

#[test]
fn the_log_format_is_text_or_json() {
    for good in ["text", "json"] {
        assert!(development(&[("log.format", good)]).is_ok(), "{good}");
    }
    for bad in ["", "JSON", "xml"] {
        assert_refused(development(&[("log.format", bad)]), &["log.format"]);
    }
}

//! The effective settings as text, for the `check` command.

use serde_json::Value;

use super::{DEFAULT, Settings};

impl Settings {
    /// Every effective key as TOML, in the order of `config/default.toml`, with secrets masked as `***`. The profile is
    /// in a comment, because a file cannot set it.
    pub fn to_masked_toml(&self) -> String {
        let values = serde_json::to_value(self).unwrap_or_default();
        let mut text = format!("# profile: {}\n", self.profile);
        let mut section = "";
        for line in DEFAULT.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
                if section == "namespaces.default" {
                    text.push_str(&namespaces_toml(&values["namespaces"]));
                } else {
                    text.push_str(&format!("\n[{section}]\n"));
                }
            } else if let Some((key, _)) =
                line.split_once(" = ").filter(|_| !line.starts_with('#') && section != "namespaces.default")
            {
                text.push_str(&format!("{key} = {}\n", toml_value(&values[section][key])));
            }
        }
        text
    }
}

/// A section for each namespace.
fn namespaces_toml(namespaces: &Value) -> String {
    let mut text = String::new();
    for (name, options) in namespaces.as_object().into_iter().flatten() {
        text.push_str(&format!("\n[namespaces.{name}]\n"));
        for (option, value) in options.as_object().into_iter().flatten() {
            text.push_str(&format!("{option} = {}\n", toml_value(value)));
        }
    }
    text
}

/// JSON strings, numbers and lists of strings are valid TOML, except for one character. An absent value is an empty
/// string.
fn toml_value(value: &Value) -> String {
    match value {
        Value::Null => r#""""#.to_owned(),
        other => other.to_string().replace('\u{7f}', "\\u007f"),
    }
}

//! The options of namespaces among the settings of the data.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::super::HistoryOptions;
use super::super::history::HistoryLimits;
use crate::settings::format_duration;

/// The options of each namespace with a section, of `default`, and of the public namespaces.
///
/// They stay text, because most readers need at most one of them. Options that a later version adds are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct DataNamespaces(BTreeMap<String, Box<RawValue>>);

/// The options of presence. A gateway without presence refuses them in its settings.
const REPORTS: [&str; 2] = ["presence", "occupancy"];

/// An option, and its value in force and at this process.
type Pair = (String, String, String);

impl DataNamespaces {
    /// The options of this process.
    pub(super) fn own(history: &HistoryOptions) -> Self {
        let namespaces = &history.namespaces;
        let sections = namespaces.entries().map(|(name, _)| name);
        let names: BTreeSet<&str> = sections.chain(namespaces.public_names()).chain(["default"]).collect();
        let text_of = |name: &str| {
            let limits = history.limits(name);
            // Serialising these fields cannot fail.
            let mut options = serde_json::to_value(namespaces.options(name)).unwrap_or_default();
            if let Some(options) = options.as_object_mut() {
                options.remove("history_ttl");
                options.insert("history_size".into(), limits.size.into());
                options.insert("history_ttl_ms".into(), limits.ttl_ms.into());
            }
            to_raw_value(&options).unwrap_or_default()
        };
        Self(names.into_iter().map(|name| (name.to_owned(), text_of(name))).collect())
    }

    /// How long the histories of a namespace are stored after their last message, where `broker_ms` is the TTL of
    /// `[broker]`. `None`: not known.
    pub(super) fn history_ttl_ms(&self, namespace: &str, broker_ms: u64) -> Option<u64> {
        #[derive(Deserialize)]
        struct Ttl {
            history_ttl_ms: u64,
        }
        let Some(options) = self.entry(namespace) else { return Some(broker_ms) };
        serde_json::from_str(options.get()).ok().map(|Ttl { history_ttl_ms }| history_ttl_ms)
    }

    /// The entry of a namespace, or that of `default`. `online` takes nothing from `default`.
    fn entry(&self, namespace: &str) -> Option<&RawValue> {
        let own = self.0.get(namespace);
        own.or_else(|| self.0.get("default").filter(|_| namespace != "online")).map(|options| &**options)
    }

    /// How these options, which are in force, differ from the process' own. `in_force` and `here` are the limits in
    /// `[broker]`. A difference that a namespace has taken from `[broker]` or from `default` is not repeated.
    pub(super) fn differences(
        &self,
        own: &Self,
        [in_force, here]: [HistoryLimits; 2],
        have_presence: bool,
    ) -> Vec<String> {
        let mut inherited: BTreeSet<Pair> = [
            ("history_size".into(), in_force.size.to_string(), here.size.to_string()),
            ("history_ttl".into(), ttl_text(in_force.ttl_ms), ttl_text(here.ttl_ms)),
        ]
        .into();
        let names: BTreeSet<&str> = self.0.keys().chain(own.0.keys()).map(String::as_str).collect();
        let others = names.into_iter().filter(|name| *name != "default");
        let mut notes = Vec::new();
        for name in ["default"].into_iter().chain(others) {
            let pairs = self.differing(own, name).into_iter();
            let is_compared = |(option, ..): &Pair| have_presence || !REPORTS.contains(&option.as_str());
            for pair in pairs.filter(is_compared).filter(|pair| !inherited.contains(pair)).collect::<Vec<_>>()
            {
                let (option, in_force, here) = &pair;
                notes.push(format!("namespaces.{name}.{option} is {in_force} in force, {here} here"));
                if name == "default" {
                    inherited.insert(pair);
                }
            }
        }
        notes
    }

    /// The options of a namespace that differ. An option that one side lacks is of another version.
    fn differing(&self, own: &Self, name: &str) -> Vec<Pair> {
        let (in_force, here) = (self.texts(name), own.texts(name));
        let pairs = in_force.into_iter().filter_map(|(option, in_force)| {
            let here = here.get(&option)?.clone();
            Some((option, in_force, here))
        });
        pairs.filter(|(_, in_force, here)| in_force != here).collect()
    }

    /// The options of a namespace as text, by the names of the settings.
    fn texts(&self, name: &str) -> BTreeMap<String, String> {
        let parse = |options: &RawValue| serde_json::from_str::<BTreeMap<String, Value>>(options.get()).ok();
        let mut options = self.entry(name).and_then(parse).unwrap_or_default();
        // These namespaces are public only by name.
        if ["user", "all"].contains(&name) && !self.0.contains_key(name) {
            options.insert("subscribe".into(), "token".into());
        }
        if name == "online" {
            options.retain(|option, _| option == "subscribe");
            options.entry("subscribe".into()).or_insert_with(|| "token".into());
        }
        let text = |(option, value): (String, Value)| match (&*option, value) {
            ("history_ttl_ms", Value::Number(ms)) => {
                ("history_ttl".to_owned(), ttl_text(ms.as_u64().unwrap_or_default()))
            }
            (_, Value::String(text)) => (option, text),
            (_, value) => (option, value.to_string()),
        };
        options.into_iter().map(text).collect()
    }
}

fn ttl_text(ms: u64) -> String {
    format_duration(Duration::from_millis(ms))
}

impl PartialEq for DataNamespaces {
    fn eq(&self, other: &Self) -> bool {
        let is_equal = |((name, options), (other_name, other)): ((&String, &Box<_>), (&String, &Box<_>))| {
            let (options, other): (&RawValue, &RawValue) = (options, other);
            name == other_name && options.get() == other.get()
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(is_equal)
    }
}

impl Eq for DataNamespaces {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::settings::{NamespaceSettings, Namespaces, SubscribeRule};

    const BROKER: HistoryLimits = HistoryLimits { size: 9, ttl_ms: 60_000 };

    fn options(size: usize, seconds: u64) -> NamespaceSettings {
        let history_ttl = Duration::from_secs(seconds);
        NamespaceSettings { history_size: size, history_ttl, ..Default::default() }
    }

    fn of(entries: &[(&str, NamespaceSettings)]) -> DataNamespaces {
        let entries = entries.iter().map(|(name, options)| ((*name).to_owned(), *options));
        let namespaces = Arc::new(Namespaces::from_iter(entries));
        let ttl = Duration::from_millis(BROKER.ttl_ms);
        DataNamespaces::own(&HistoryOptions { ttl, namespaces, ..HistoryOptions::of_size(BROKER.size) })
    }

    fn differences(in_force: &DataNamespaces, here: &DataNamespaces) -> Vec<String> {
        in_force.differences(here, [BROKER, BROKER], true)
    }

    #[test]
    fn the_options_of_a_namespace_are_whole() {
        let namespaces = of(&[("room", options(5, 7))]);
        let text = serde_json::to_string(&namespaces).unwrap();
        let room = r#""room":{"history_size":5,"history_ttl_ms":7000,"max_last":0,"occupancy":false,"presence":"off","send":false,"signals":false,"subscribe":"token"}"#;
        assert!(text.contains(room), "{text}");
        assert!(text.contains(r#""default":{"history_size":9,"history_ttl_ms":60000,"#), "{text}");
        assert_eq!(serde_json::from_str::<DataNamespaces>(&text).unwrap(), namespaces);
    }

    #[test]
    fn a_ttl_comes_from_the_namespace_the_default_or_the_broker() {
        let namespaces = of(&[("room", options(5, 7)), ("default", options(0, 8))]);
        let ttl = |namespace| namespaces.history_ttl_ms(namespace, 1);
        assert_eq!([ttl("room"), ttl("user"), ttl("online")], [Some(7_000), Some(8_000), Some(1)]);
        let broken: DataNamespaces = serde_json::from_str(r#"{"room":{},"team":7}"#).unwrap();
        let ttl = |namespace| broken.history_ttl_ms(namespace, 1);
        assert_eq!([ttl("room"), ttl("team"), ttl("user")], [None, None, Some(1)]);
    }

    #[test]
    fn each_differing_option_is_named_once() {
        let in_force = of(&[("room", options(5, 7))]);
        assert!(differences(&in_force, &in_force).is_empty());
        let mut room = options(77, 3600);
        (room.send, room.max_last, room.subscribe) = (true, 3, SubscribeRule::Public);
        assert_eq!(
            differences(&in_force, &of(&[("room", room)])),
            [
                "namespaces.room.history_size is 5 in force, 77 here",
                "namespaces.room.history_ttl is 7s in force, 1h here",
                "namespaces.room.max_last is 0 in force, 3 here",
                "namespaces.room.send is false in force, true here",
                "namespaces.room.subscribe is token in force, public here",
            ]
        );
        assert_eq!(
            differences(&of(&[]), &in_force),
            [
                "namespaces.room.history_size is 9 in force, 5 here",
                "namespaces.room.history_ttl is 1m in force, 7s here",
            ],
            "a namespace without a section has the options of the default"
        );
    }

    #[test]
    fn an_inherited_difference_is_not_repeated() {
        let of_both = |size| of(&[("default", options(size, 7)), ("room", options(size, 7))]);
        let note = "namespaces.default.history_size is 5 in force, 6 here";
        assert_eq!(differences(&of_both(5), &of_both(6)), [note]);
        let here = HistoryLimits { size: 6, ..BROKER };
        let in_force = HistoryLimits { size: 5, ..BROKER };
        assert!(of_both(5).differences(&of_both(6), [in_force, here], true).is_empty());
    }
}

//! `[namespaces.<name>]`: what a namespace takes from the default, and which names and options are refused.

use super::super::{Folder, Settings, Sources, assert_refused, development, sources};
use crate::settings::{NamespaceSettings, RoomPresence};

const ON: (&str, &str) = ("presence.enabled", "true");

#[test]
fn a_namespace_takes_missing_options_from_the_default() {
    let folder = Folder::new("namespaces");
    let file = folder.file(
        "n.toml",
        "[presence]\nenabled = true\n[namespaces.room]\npresence = \"members\"\n\
         [namespaces.default]\noccupancy = true\n",
    );
    let environment = [("GATEWAY__NAMESPACES__GAME__PRESENCE", "count")];
    let settings =
        Settings::load(&Sources { file: Some(file), ..sources("development", &environment) }).unwrap();
    for (namespace, presence) in [
        ("room", RoomPresence::Members),
        ("game", RoomPresence::Count),
        ("other", RoomPresence::Off),
        ("default", RoomPresence::Off),
    ] {
        let expected = NamespaceSettings { presence, occupancy: true };
        assert_eq!(settings.namespaces.options(namespace), expected, "{namespace}");
    }
    assert_eq!(settings.namespaces.options("online"), NamespaceSettings::default());
    let printed = settings.to_masked_toml();
    let expected = "[namespaces.game]\noccupancy = true\npresence = \"count\"\n";
    assert!(printed.contains(expected), "{printed}");
}

#[test]
fn names_of_namespaces_are_checked() {
    for good in ["room", "user", "all", "a-b_C9"] {
        assert!(development(&[(&format!("namespaces.{good}.presence"), "off")]).is_ok(), "{good}");
    }
    for bad in ["online", "ä", "a b", "a[0]", &"n".repeat(65)] {
        assert_refused(
            development(&[(&format!("namespaces.{bad}.occupancy"), "false")]),
            &["must name a namespace"],
        );
    }
}

#[test]
fn a_misspelt_option_of_a_namespace_gets_a_suggestion() {
    let refused = development(&[("namespaces.room.presense", "off")]);
    assert_refused(refused, &["namespaces.room.presense", "did you mean namespaces.room.presence?"]);
    let refused = development(&[ON, ("namespaces.room.presence", "yes")]);
    assert_refused(refused, &["namespaces.room.presence", "must be off, count or members"]);
    let refused = development(&[ON, ("namespaces.room.occupancy", "yes")]);
    assert_refused(refused, &["namespaces.room.occupancy", "must be true or false"]);
}

#[test]
fn namespaces_with_presence_need_presence() {
    for option in [("namespaces.room.presence", "count"), ("namespaces.default.occupancy", "true")] {
        assert_refused(development(&[option]), &["presence.enabled", "must be true"]);
        assert!(development(&[ON, option]).is_ok());
    }
}

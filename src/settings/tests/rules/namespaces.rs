//! `[namespaces.<name>]`: what a namespace takes from the default, and which names and options are refused.

use super::super::{Folder, Settings, Sources, assert_refused, development, sources};
use std::time::Duration;

use crate::settings::{RoomPresence, SubscribeRule};

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
        let options = settings.namespaces.options(namespace);
        assert_eq!((options.presence, options.occupancy), (presence, true), "{namespace}");
    }
    let online = settings.namespaces.options("online");
    assert_eq!((online.presence, online.occupancy), (RoomPresence::Off, false));
    let printed = settings.to_masked_toml();
    let expected = "[namespaces.game]\nhistory_size = 1000\nhistory_ttl = \"1d\"\nmax_last = 0\n\
                    occupancy = true\npresence = \"count\"\nsend = false\nsignals = false\n\
                    subscribe = \"token\"\n";
    assert!(printed.contains(expected), "{printed}");
}

#[test]
fn the_page_about_namespaces_has_every_option() {
    let page = include_str!("../../../../docs/namespaces.md");
    let options = serde_json::to_value(super::super::Namespaces::default().options("room")).unwrap();
    for option in options.as_object().unwrap().keys() {
        assert!(page.contains(&format!("| `{option}` |")), "{option}");
    }
}

#[test]
fn names_of_namespaces_are_checked() {
    for good in ["room", "user", "all", "a-b_C9"] {
        assert!(development(&[(&format!("namespaces.{good}.presence"), "off")]).is_ok(), "{good}");
    }
    for bad in ["ä", "a b", "a[0]", &"n".repeat(65)] {
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
fn a_history_comes_from_the_namespace_the_default_or_the_broker() {
    let settings = development(&[
        ("broker.history_size", "7"),
        ("broker.history_ttl", "70s"),
        ("namespaces.default.history_ttl", "60s"),
        ("namespaces.room.history_size", "9"),
        ("namespaces.room.max_last", "9"),
        ("namespaces.user.send", "true"),
    ])
    .unwrap();
    let limits = |namespace: &str| {
        let options = settings.namespaces.options(namespace);
        (options.history_size, options.history_ttl.as_secs(), options.max_last, options.send)
    };
    assert_eq!(limits("room"), (9, 60, 9, false));
    assert_eq!(limits("user"), (7, 60, 0, true));
    assert_eq!(limits("other"), (7, 60, 0, false));
    assert_eq!(limits("online"), (7, 70, 0, false));
    let built_in = development(&[]).unwrap();
    assert_eq!(built_in.namespaces.options("x").history_size, built_in.broker.history_size);
    let unset = super::super::Namespaces::default().options("x");
    assert_eq!((unset.history_size, unset.history_ttl), (1000, Duration::from_secs(86400)));
}

#[test]
fn public_namespaces_are_a_shorthand() {
    let list = ("channels.public_namespaces", "room,a.b,online");
    let is_public = |settings: &Settings, namespace: &str| {
        settings.namespaces.options(namespace).subscribe == SubscribeRule::Public
    };
    let settings = development(&[list, ("namespaces.team.subscribe", "public")]).unwrap();
    for public in ["room", "a.b", "online", "team"] {
        assert!(is_public(&settings, public), "{public}");
    }
    // The section of a public namespace is printed as public, so the printed settings can be loaded again.
    let printed = development(&[list, ("namespaces.room.send", "true")]).unwrap().to_masked_toml();
    assert!(printed.contains("[namespaces.room]") && printed.contains("subscribe = \"public\""), "{printed}");
    let folder = Folder::new("public");
    let file = folder.file("printed.toml", &printed);
    let again = Settings::load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
    assert_eq!(again.to_masked_toml(), printed);
    let settings =
        development(&[("namespaces.default.subscribe", "public"), ("namespaces.all.send", "true")]);
    let settings = settings.unwrap();
    assert!(is_public(&settings, "room") && is_public(&settings, "default"));
    for never in ["user", "all", "online"] {
        assert!(!is_public(&settings, never), "{never}");
    }
}

#[test]
fn conflicting_options_of_namespaces_are_refused() {
    let list = ("channels.public_namespaces", "room");
    for (settings, parts) in [
        (
            &[list, ("namespaces.room.subscribe", "token")][..],
            ["channels.public_namespaces", "must not contain room, because namespaces.room.subscribe"],
        ),
        (&[("namespaces.room.subscribe", "open")], ["namespaces.room.subscribe", "must be token or public"]),
        (&[("namespaces.user.subscribe", "public")], ["namespaces.user.subscribe", "must be \"token\""]),
        (&[("namespaces.all.subscribe", "public")], ["namespaces.all.subscribe", "must be \"token\""]),
        (
            &[("namespaces.room.max_last", "6"), ("namespaces.room.history_size", "5")],
            ["namespaces.room.max_last", "must be at most 5"],
        ),
        (
            &[("namespaces.room.max_last", "6"), ("broker.history_size", "5")],
            ["namespaces.room.max_last", "must be at most 5"],
        ),
        (
            &[("namespaces.default.max_last", "6"), ("namespaces.room.history_size", "5")],
            ["namespaces.room.max_last", "must be at most 5"],
        ),
        (
            &[("namespaces.room.presence", "members")],
            ["presence.enabled", "namespaces.room.presence is \"members\""],
        ),
        (&[("namespaces.online.signals", "true")], ["namespaces.online.signals", "belong to presence"]),
        (&[("namespaces.online.send", "true")], ["namespaces.online.send", "belong to presence"]),
        (
            &[("namespaces.online.history_size", "5")],
            ["namespaces.online.history_size", "belong to presence"],
        ),
    ] {
        let refused = development(settings);
        assert_eq!(refused.as_ref().map_err(|errors| errors.iter().count()).err(), Some(1), "{refused:?}");
        assert_refused(refused, &parts);
    }
}

#[test]
fn namespaces_with_presence_need_presence() {
    for option in [("namespaces.room.presence", "count"), ("namespaces.default.occupancy", "true")] {
        assert_refused(development(&[option]), &["presence.enabled", "must be true"]);
        assert!(development(&[ON, option]).is_ok());
    }
}

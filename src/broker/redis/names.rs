//! The names of all keys and channels in Redis, for each layout.
//!
//! | what | `Plain`, and `OneSlot` with `{gateway}` | `Slots` |
//! | --- | --- | --- |
//! | a channel, its history and its receipts | `gateway:room:1` | the same |
//! | `online:<user>` | `gateway:online:<user>` | `gateway:{presence}:online:<user>` |
//! | presence, control | `gateway:{presence}:…`, `gateway:{control}:…` | the same, one slot each |
//! | the dataset marker, the settings | `gateway:dataset`, `gateway:settings` | one of each for each slot |
//!
//! In `Slots`, the functions of presence publish on `online:<user>`, so these channels are in the slot of presence. The
//! marker and the settings have the slot in their names, so they move with the data that they describe.

use std::fmt::Display;

use super::cluster::slot::Slot;
use super::options::Layout;

/// What the names of control begin with, after the prefix.
const CONTROL: &str = "{control}:";
/// What the names of presence begin with, and in `Slots` also those of the channels `online:<user>`.
const PRESENCE: &str = "{presence}:";
/// The namespace of the channels on which presence publishes.
const ONLINE: &str = "online:";

/// The names in one layout. `prefix` is the effective one: in `OneSlot` it is in braces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) layout: Layout,
    pub(super) prefix: &'a str,
}

/// What has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name<'n> {
    /// A channel, or `users`.
    Channel(&'n str),
    /// A key or a channel of presence.
    Presence(&'n str),
    /// A key or a channel of control.
    Control(&'n str),
}

/// The keys that describe the data of a slot, or all data of the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DatasetKeys {
    pub(super) marker: String,
    pub(super) settings: String,
}

impl Names<'_> {
    /// The name of a channel, which is also the key of its history.
    pub(super) fn channel(&self, channel: &str) -> String {
        if self.is_sharded() && channel.starts_with(ONLINE) {
            return self.presence(channel);
        }
        self.key(channel)
    }

    /// What has this name; `None`: nothing of this gateway.
    pub(super) fn parse<'n>(&self, name: &'n str) -> Option<Name<'n>> {
        let rest = name.strip_prefix(self.prefix)?.strip_prefix(':')?;
        if let Some(name) = rest.strip_prefix(CONTROL) {
            return Some(Name::Control(name));
        }
        let is_online = |channel: &str| channel.starts_with(ONLINE);
        match rest.strip_prefix(PRESENCE) {
            Some(channel) if self.is_sharded() && is_online(channel) => Some(Name::Channel(channel)),
            Some(name) => Some(Name::Presence(name)),
            None if self.is_sharded() && is_online(rest) => None,
            None => Some(Name::Channel(rest)),
        }
    }

    /// The namespace of the channel with this name.
    pub(super) fn namespace_of<'n>(&self, name: &'n str) -> &'n str {
        let Some(Name::Channel(channel)) = self.parse(name) else { return "" };
        channel.split(':').next().unwrap_or_default()
    }

    /// The slot of a channel.
    pub(super) fn slot_of(&self, channel: &str) -> Slot {
        Slot::of_key(&self.channel(channel))
    }

    /// The slot whose keys describe the data at this key; `None`: the same keys describe all data.
    pub(super) fn dataset_slot_of(&self, key: &str) -> Option<Slot> {
        self.is_sharded().then(|| Slot::of_key(key))
    }

    /// The keys that describe the data at this key. No channel has such a name, because it has braces or no namespace.
    pub(super) fn dataset_keys_of(&self, key: &str) -> DatasetKeys {
        self.dataset_slot_of(key).map_or_else(|| self.shared_dataset_keys(), |slot| self.dataset_keys(slot))
    }

    /// The keys that describe the data of this slot, in `Slots`.
    pub(super) fn dataset_keys(&self, slot: Slot) -> DatasetKeys {
        let tag = slot.tag();
        DatasetKeys {
            marker: self.key(&format!("dataset:{{{tag}}}")),
            settings: self.key(&format!("settings:{{{tag}}}")),
        }
    }

    /// A key of presence.
    pub(super) fn presence(&self, name: &str) -> String {
        format!("{}:{PRESENCE}{name}", self.prefix)
    }

    /// A key of control.
    pub(super) fn control(&self, name: &str) -> String {
        format!("{}:{CONTROL}{name}", self.prefix)
    }

    /// The stream of the clients' messages.
    pub(super) fn inbox(&self) -> String {
        self.key("inbox")
    }

    /// The channel for one write to many users.
    pub(super) fn users(&self) -> String {
        self.key(super::USERS)
    }

    /// The stream of payloads that reached no subscriber.
    pub(super) fn rejected(&self) -> String {
        self.key("rejected")
    }

    /// The claims of an opaque token.
    pub(super) fn token(&self, hash: &impl Display) -> String {
        self.key(&format!("token:{hash}"))
    }

    /// The channel of the probes of one link. `slot` is one of the link's slots; `None`: it has all.
    pub(super) fn probe(&self, random: &str, slot: Option<Slot>) -> String {
        match slot {
            Some(slot) => self.key(&format!("probe/{random}:{{{}}}", slot.tag())),
            None => self.key(&format!("probe/{random}")),
        }
    }

    /// Whether each channel is in its own slot.
    pub(super) fn is_sharded(&self) -> bool {
        self.layout == Layout::Slots
    }

    /// The command that publishes.
    pub(super) fn publish_command(&self) -> &'static str {
        if self.is_sharded() { "SPUBLISH" } else { "PUBLISH" }
    }

    /// The keys that describe all data of the prefix. Not for `Slots`.
    pub(super) fn shared_dataset_keys(&self) -> DatasetKeys {
        DatasetKeys { marker: self.key("dataset"), settings: self.key("settings") }
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: Names<'_> = Names { layout: Layout::Slots, prefix: "gateway" };
    const ONE_SLOT: Names<'_> = Names { layout: Layout::OneSlot, prefix: "{gateway}" };
    const PLAIN: Names<'_> = Names { layout: Layout::Plain, prefix: "gateway" };

    #[test]
    fn each_channel_is_found_by_its_name() {
        for names in [PLAIN, ONE_SLOT, SLOTS] {
            for channel in ["all", "room:1", "online:7", "users"] {
                assert_eq!(names.parse(&names.channel(channel)), Some(Name::Channel(channel)), "{names:?}");
            }
            assert_eq!(names.parse(&names.presence("rooms:x")), Some(Name::Presence("rooms:x")));
            assert_eq!(names.parse(&names.control("commands")), Some(Name::Control("commands")));
            assert_eq!(names.namespace_of(&names.channel("online:7")), "online");
            assert_eq!(names.namespace_of(&names.channel("all")), "all");
            assert_eq!(names.parse("other:room:1"), None);
        }
        assert_eq!(SLOTS.channel("online:7"), "gateway:{presence}:online:7");
        assert_eq!(SLOTS.parse("gateway:online:7"), None);
        assert_eq!(ONE_SLOT.channel("online:7"), "{gateway}:online:7");
    }

    #[test]
    fn a_slot_has_its_own_marker_and_settings() {
        let slot = SLOTS.slot_of("room:1");
        let keys = SLOTS.dataset_keys(slot);
        assert_eq!((Slot::of_key(&keys.marker), Slot::of_key(&keys.settings)), (slot, slot));
        assert_eq!(SLOTS.dataset_keys_of(&SLOTS.channel("room:1")), keys);
        assert_eq!(Slot::of_key(&SLOTS.probe("x", Some(slot))), slot);
        let presence = Slot::of_key("presence");
        assert_eq!((SLOTS.slot_of("online:7"), Slot::of_key(&SLOTS.presence("edges"))), (presence, presence));
    }

    #[test]
    fn one_slot_has_all_names_of_the_prefix() {
        let slot = Slot::of_key("gateway");
        let DatasetKeys { marker, settings } = ONE_SLOT.dataset_keys_of("{gateway}:room:1");
        let (presence, control) = (ONE_SLOT.presence("edges"), ONE_SLOT.control("commands"));
        for name in [ONE_SLOT.channel("online:7"), ONE_SLOT.inbox(), presence, control, marker, settings] {
            assert_eq!(Slot::of_key(&name), slot, "{name}");
        }
        assert_eq!(PLAIN.dataset_keys_of("gateway:room:1").marker, "gateway:dataset");
    }
}

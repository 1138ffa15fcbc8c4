//! The slot of a key in a Redis Cluster.

use std::fmt;

/// The number of slots of every cluster.
pub(in super::super) const SLOTS: u16 = 16_384;

/// The tag of slot 0x3639 has only the character `@`.
const TAG_BASE: u16 = 0x3639;

/// For each bit of a slot: the change of a tag's nibbles that changes exactly this bit of the checksum. CRC16 is linear,
/// so the changes add up with XOR.
const TAG_BASIS: [u16; 14] = [
    0x88d4, 0x808a, 0x9007, 0x9efb, 0x19a2, 0x0c93, 0x1184, 0x8eed, 0x1efb, 0x8022, 0x89c4, 0x82aa, 0x9447,
    0x967b,
];

/// One of the 16384 slots of a cluster. One master owns each slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) struct Slot(u16);

impl Slot {
    /// The slot with this number; `None`: there is no such slot.
    pub(in super::super) const fn new(number: u16) -> Option<Self> {
        if number < SLOTS { Some(Self(number)) } else { None }
    }

    /// The slot of a key or of a sharded channel.
    pub(in super::super) fn of_key(key: &str) -> Self {
        Self(crc16(hashed_part(key).as_bytes()) % SLOTS)
    }

    pub(in super::super) fn all() -> impl Iterator<Item = Self> + Clone {
        (0..SLOTS).map(Self)
    }

    #[cfg(test)]
    pub(in super::super) const fn number(self) -> u16 {
        self.0
    }

    pub(in super::super) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Four characters in this slot. A key with them as its hash tag is in this slot too. `gateway_mark` computes the
    /// same tags.
    pub(in super::super) fn tag(self) -> String {
        let bits = self.0 ^ TAG_BASE;
        let is_set = |bit: &usize| bits >> bit & 1 == 1;
        let mask = (0..TAG_BASIS.len()).filter(is_set).fold(0, |mask, bit| mask ^ TAG_BASIS[bit]);
        (0..4).map(|at| char::from(0x40 + (mask >> (4 * at) & 15) as u8)).collect()
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The hash tag of a key: the text between its first `{` and the next `}`, if it is not empty. Otherwise the whole key.
fn hashed_part(key: &str) -> &str {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let (mut crc, mut bit) = ((byte as u16) << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // The first checksum is in the specification of Redis Cluster; the slots are answers to CLUSTER KEYSLOT.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in [("", 0), ("foo", 12182), ("123456789", 12739), ("@@@@", TAG_BASE)] {
            assert_eq!(Slot::of_key(key).0, slot, "{key}");
        }
    }

    #[test]
    fn only_the_first_hash_tag_decides_about_the_slot() {
        for (key, hashed) in [
            ("{user1000}.following", "user1000"),
            ("foo{bar}{zap}", "bar"),
            ("foo{{bar}}zap", "{bar"),
            ("{gateway}:{presence}:online", "gateway"),
            ("gateway:{presence}:online", "presence"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{bar", "foo{bar"),
            ("foo}bar{zap}", "zap"),
        ] {
            assert_eq!(hashed_part(key), hashed);
            assert_eq!(Slot::of_key(key), Slot::of_key(hashed));
        }
    }

    #[test]
    fn the_tag_of_each_slot_is_in_that_slot() {
        for slot in Slot::all() {
            let tag = slot.tag();
            assert!(tag.len() == 4 && tag.bytes().all(|byte| (0x40..0x50).contains(&byte)), "{tag}");
            assert_eq!(Slot::of_key(&tag), slot);
            assert_eq!(Slot::of_key(&format!("gateway:dataset:{{{tag}}}")), slot);
        }
        assert_eq!((Slot(0).tag(), Slot(16383).tag()), ("DLH@".into(), "EKCA".into()));
    }

    #[test]
    fn there_are_16384_slots() {
        assert_eq!(Slot::new(16_384), None);
        assert_eq!(Slot::all().last(), Slot::new(16_383));
    }
}

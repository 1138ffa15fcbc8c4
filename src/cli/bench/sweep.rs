//! `--sweep`: one option, and the values that it takes one after the other.

use std::str::FromStr;

/// Which option takes which values.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    pub(super) swept: Swept,
    pub(super) values: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Swept {
    Sockets,
    Channels,
    MessageBytes,
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected sockets=, channels= or message-bytes= and numbers with commas".to_owned();
        let (name, values) = text.split_once('=').ok_or_else(expected)?;
        let swept = match name {
            "sockets" => Swept::Sockets,
            "channels" => Swept::Channels,
            "message-bytes" => Swept::MessageBytes,
            _ => return Err(expected()),
        };
        let values: Result<Vec<_>, _> = values.split(',').map(str::parse).collect();
        Ok(Self { swept, values: values.map_err(|_| expected())? })
    }
}

impl Sweep {
    pub(super) fn name(&self) -> &'static str {
        match self.swept {
            Swept::Sockets => "sockets",
            Swept::Channels => "channels",
            Swept::MessageBytes => "bytes of a message",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_and_its_values_are_read() {
        let sweep: Sweep = "message-bytes=64,65536".parse().unwrap();
        assert_eq!((sweep.name(), sweep.values), ("bytes of a message", vec![64, 65_536]));
        for wrong in ["sockets", "sockets=", "sockets=1,x", "rate=1", "=1"] {
            assert!(wrong.parse::<Sweep>().is_err(), "{wrong}");
        }
    }
}

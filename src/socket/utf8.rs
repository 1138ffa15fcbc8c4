//! Checks UTF-8 as it arrives, so that an invalid byte is an error before the message ends.

/// The state between two pieces of one text: the bytes of an incomplete character.
#[derive(Debug, Default)]
pub(super) struct Utf8Check {
    /// The first `length` bytes are valid.
    partial: [u8; 4],
    length: u8,
}

/// The text is not UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidUtf8;

impl Utf8Check {
    /// Checks the next piece.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), InvalidUtf8> {
        while self.length > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.partial[usize::from(self.length)] = byte;
            self.length += 1;
            match std::str::from_utf8(&self.partial[..usize::from(self.length)]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_some() => return Err(InvalidUtf8),
                Err(_) => {}
            }
        }
        match std::str::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
            Err(error) => {
                let tail = &piece[error.valid_up_to()..];
                self.partial[..tail.len()].copy_from_slice(tail);
                self.length = tail.len() as u8;
                Ok(())
            }
        }
    }

    /// Checks that the text ends with a complete character, and resets the state for the next text.
    pub(super) fn finish(&mut self) -> Result<(), InvalidUtf8> {
        if std::mem::take(&mut self.length) == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pieces: &[&[u8]]) -> Result<(), InvalidUtf8> {
        let mut check = Utf8Check::default();
        pieces.iter().try_for_each(|piece| check.push(piece))?;
        check.finish()
    }

    #[test]
    fn an_invalid_byte_is_an_error_at_once() {
        let mut check = Utf8Check::default();
        assert_eq!(check.push(b"\xF4"), Ok(()));
        assert_eq!(check.push(b"\x90"), Err(InvalidUtf8), "above U+10FFFF, two bytes before the end");
        assert_eq!(Utf8Check::default().push(b"ok \xC0"), Err(InvalidUtf8));
        assert_eq!(Utf8Check::default().push(b"\xED\xA0"), Err(InvalidUtf8), "a surrogate");
    }

    #[test]
    fn a_text_may_not_end_inside_a_character() {
        assert_eq!(check(&["\u{1F600}".as_bytes()]), Ok(()));
        assert_eq!(check(&[&"\u{1F600}".as_bytes()[..3]]), Err(InvalidUtf8));
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library_for_any_cut(
            bytes in prop_oneof![
                any::<Vec<u8>>(),
                any::<String>().prop_map(String::into_bytes),
                (any::<String>(), any::<u8>()).prop_map(|(text, byte)| {
                    let mut bytes = text.into_bytes();
                    bytes.push(byte);
                    bytes
                }),
            ],
            cut in 1_usize..8,
        ) {
            let pieces: Vec<_> = bytes.chunks(cut).collect();
            prop_assert_eq!(check(&pieces).is_ok(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}

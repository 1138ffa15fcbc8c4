//! The limits of a message, the same for every way to publish: its length, its depth, and no lone surrogates.

use serde_json::value::RawValue;

use super::publication::PayloadError;

/// The default maximum nesting depth of arrays and objects. Many parsers have the same limit.
pub const DEFAULT_MAX_DEPTH: usize = 128;

/// The bounds of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadLimits {
    /// Its length in bytes.
    pub max_bytes: usize,
    /// The maximum nesting depth of arrays and objects.
    pub max_depth: usize,
}

impl From<usize> for PayloadLimits {
    fn from(max_bytes: usize) -> Self {
        Self { max_bytes, max_depth: DEFAULT_MAX_DEPTH }
    }
}

impl PayloadLimits {
    /// Reads a message.
    ///
    /// # Errors
    /// It is too big, not JSON, too deep, or has a lone surrogate.
    pub fn parse(self, json: &str) -> Result<Box<RawValue>, PayloadError> {
        if json.len() > self.max_bytes {
            return Err(PayloadError::TooBig);
        }
        let message: Box<RawValue> = serde_json::from_str(json).map_err(|_| PayloadError::NotJson)?;
        self.check_text(message.get())?;
        Ok(message)
    }

    /// Makes the checks that `serde_json` skips for raw text.
    ///
    /// # Errors
    /// The message is too deep, or has a lone surrogate. Clients' parsers refuse such a message or overflow.
    pub fn check_text(self, json: &str) -> Result<(), PayloadError> {
        let bytes = json.as_bytes();
        let (mut at, mut depth) = (0, 0_usize);
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'[' | b'{' if depth == self.max_depth => return Err(PayloadError::TooDeep),
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                b'"' => at = end_of_string(json, at)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// The index after a string that starts at `at`, in valid JSON. The standard library searches many bytes at a time.
fn end_of_string(json: &str, mut at: usize) -> Result<usize, PayloadError> {
    let find = |from: usize, to: usize, wanted: char| {
        let found = json.get(from..to).and_then(|part| part.find(wanted));
        found.map(|found| from + found)
    };
    let mut quote = at;
    loop {
        // The quotation mark found before, unless it was part of an escape.
        if quote <= at {
            quote = find(at, json.len(), '"').unwrap_or(json.len());
        }
        match find(at, quote, '\\') {
            Some(escape) => at = end_of_escape(json.as_bytes(), escape)?,
            None => return Ok(quote + 1),
        }
    }
}

/// The index after an escape, or after both escapes of a surrogate pair.
fn end_of_escape(bytes: &[u8], at: usize) -> Result<usize, PayloadError> {
    match code_unit(bytes, at) {
        None => Ok(at + 2),
        Some(0xD800..=0xDBFF) if matches!(code_unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) => Ok(at + 12),
        Some(0xD800..=0xDFFF) => Err(PayloadError::LoneSurrogate),
        Some(_) => Ok(at + 6),
    }
}

/// The value of `\uXXXX`; `None` for anything else.
fn code_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<(), PayloadError> {
        PayloadLimits { max_bytes: 1_000, max_depth: 3 }.parse(json).map(|_| ())
    }

    #[test]
    fn depth_is_counted_outside_of_strings() {
        for good in ["1", "[[[1]]]", r#"{"a":{"b":[1]}}"#, "[[[]],[[]],[[]]]", r#"["[[[[\"{{{{\\"]"#] {
            assert_eq!(parse(good), Ok(()), "{good}");
        }
        for deep in ["[[[[]]]]", r#"{"a":{"b":[{}]}}"#, r#"["\\",[[[]]]]"#] {
            assert_eq!(parse(deep), Err(PayloadError::TooDeep), "{deep}");
        }
    }

    #[test]
    fn a_lone_surrogate_is_an_error() {
        for good in
            [r#""\ud83d\ude00""#, r#""\\ud800""#, r#""\uD7FF\uE000\n""#, r#""\ud83d\ude00\ud83d\ude00""#]
        {
            assert_eq!(parse(good), Ok(()), "{good}");
        }
        for half in
            [r#""\ud800""#, r#""\uDC00""#, r#""\ud800x""#, r#""\ud800\n""#, r#"{"\ud83d\ud83d\ude00":1}"#]
        {
            assert_eq!(parse(half), Err(PayloadError::LoneSurrogate), "{half}");
        }
    }
}

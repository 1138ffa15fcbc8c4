//! The limits of a message for every way to publish: its length, its depth, and no lone surrogates.

use serde_json::value::RawValue;

use super::publication::PayloadError;

/// The default maximum nesting depth of arrays and objects. Many parsers have this limit.
pub const DEFAULT_MAX_DEPTH: usize = 128;

/// The limits of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadLimits {
    /// The maximum length in bytes.
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
    /// Parses a message.
    ///
    /// # Errors
    /// The message is too big, not JSON, too deep, or has a lone surrogate.
    pub fn parse(self, json: &str) -> Result<Box<RawValue>, PayloadError> {
        if json.len() > self.max_bytes {
            return Err(PayloadError::TooBig);
        }
        let message: Box<RawValue> = serde_json::from_str(json).map_err(|_| PayloadError::NotJson)?;
        self.check_text(message.get())?;
        Ok(message)
    }

    /// Checks the depth and the surrogates, which `serde_json` does not check in raw JSON.
    ///
    /// # Errors
    /// The message is too deep, or has a lone surrogate. Parsers of clients reject such messages or overflow.
    pub fn check_text(self, json: &str) -> Result<(), PayloadError> {
        let bytes = json.as_bytes();
        let (mut index, mut depth) = (0, 0_usize);
        while let Some(byte) = bytes.get(index) {
            index += 1;
            match byte {
                b'[' | b'{' if depth == self.max_depth => return Err(PayloadError::TooDeep),
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                b'"' => index = end_of_string(json, index)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// The index after the string whose text starts at `start`, in valid JSON. `str::find` searches many bytes at a time.
fn end_of_string(json: &str, start: usize) -> Result<usize, PayloadError> {
    let find = |from: usize, to: usize, target: char| {
        let offset = json.get(from..to).and_then(|part| part.find(target));
        offset.map(|offset| from + offset)
    };
    let (mut index, mut quote) = (start, start);
    loop {
        // A quotation mark inside an escape does not end the string: search again after the escape.
        if quote <= index {
            quote = find(index, json.len(), '"').unwrap_or(json.len());
        }
        match find(index, quote, '\\') {
            Some(escape) => index = end_of_escape(json.as_bytes(), escape)?,
            None => return Ok(quote + 1),
        }
    }
}

/// The index after the escape at `index`, or after both escapes of a surrogate pair.
fn end_of_escape(bytes: &[u8], index: usize) -> Result<usize, PayloadError> {
    match code_unit(bytes, index) {
        None => Ok(index + 2),
        Some(0xD800..=0xDBFF) if matches!(code_unit(bytes, index + 6), Some(0xDC00..=0xDFFF)) => {
            Ok(index + 12)
        }
        Some(0xD800..=0xDFFF) => Err(PayloadError::LoneSurrogate),
        Some(_) => Ok(index + 6),
    }
}

/// The value of `\uXXXX` at `index`; `None` for anything else.
fn code_unit(bytes: &[u8], index: usize) -> Option<u32> {
    let digits = bytes.get(index..index + 6)?.strip_prefix(b"\\u")?;
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

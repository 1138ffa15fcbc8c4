//! A second implementation of JSON's grammar (RFC 8259), without recursion: tells whether a text is exactly one value.

/// Whether `text` is one JSON value, with only white space around it.
pub fn is_json(text: &str) -> bool {
    let mut rest = text.as_bytes();
    let mut open: Vec<u8> = Vec::new();
    loop {
        // A value begins here.
        skip_space(&mut rest);
        match rest.first() {
            Some(b'{') => {
                rest = &rest[1..];
                skip_space(&mut rest);
                if rest.first() == Some(&b'}') {
                    rest = &rest[1..];
                } else {
                    if !skip_name(&mut rest) {
                        return false;
                    }
                    open.push(b'}');
                    continue;
                }
            }
            Some(b'[') => {
                rest = &rest[1..];
                skip_space(&mut rest);
                if rest.first() == Some(&b']') {
                    rest = &rest[1..];
                } else {
                    open.push(b']');
                    continue;
                }
            }
            _ if !skip_scalar(&mut rest) => return false,
            _ => {}
        }
        // A value has ended: closes the arrays and objects that end after it, up to a comma.
        loop {
            skip_space(&mut rest);
            let Some(&closes) = open.last() else { return rest.is_empty() };
            let Some((&sign, after)) = rest.split_first() else { return false };
            rest = after;
            if sign == closes {
                open.pop();
            } else if sign == b',' {
                if closes == b'}' && !skip_name(&mut rest) {
                    return false;
                }
                break;
            } else {
                return false;
            }
        }
    }
}

/// Removes JSON's white space from both ends.
pub fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

fn skip_space(rest: &mut &[u8]) {
    while let [b' ' | b'\t' | b'\n' | b'\r', after @ ..] = rest {
        *rest = after;
    }
}

/// Skips a member's name and its colon. Like each function below, returns false if the text is not valid there.
fn skip_name(rest: &mut &[u8]) -> bool {
    skip_space(rest);
    if !skip_string(rest) {
        return false;
    }
    skip_space(rest);
    rest.split_off_first() == Some(&b':')
}

fn skip_scalar(rest: &mut &[u8]) -> bool {
    for word in [&b"null"[..], b"true", b"false"] {
        if let Some(after) = rest.strip_prefix(word) {
            *rest = after;
            return true;
        }
    }
    if rest.first() == Some(&b'"') { skip_string(rest) } else { skip_number(rest) }
}

fn skip_string(rest: &mut &[u8]) -> bool {
    if rest.split_off_first() != Some(&b'"') {
        return false;
    }
    loop {
        match rest.split_off_first() {
            Some(b'"') => return true,
            Some(b'\\') => match rest.split_off_first() {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                Some(b'u') => match rest.split_off(..4) {
                    Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {}
                    _ => return false,
                },
                _ => return false,
            },
            Some(0..0x20) | None => return false,
            Some(_) => {}
        }
    }
}

fn skip_number(rest: &mut &[u8]) -> bool {
    if rest.first() == Some(&b'-') {
        rest.split_off_first();
    }
    if rest.first() == Some(&b'0') {
        rest.split_off_first();
    } else if skip_digits(rest) == 0 {
        return false;
    }
    if rest.first() == Some(&b'.') {
        rest.split_off_first();
        if skip_digits(rest) == 0 {
            return false;
        }
    }
    if let Some(b'e' | b'E') = rest.first() {
        rest.split_off_first();
        if let Some(b'+' | b'-') = rest.first() {
            rest.split_off_first();
        }
        return skip_digits(rest) > 0;
    }
    true
}

fn skip_digits(rest: &mut &[u8]) -> usize {
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    *rest = &rest[count..];
    count
}

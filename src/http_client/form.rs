//! Bodies of forms, and client credentials.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::settings::Secret;

/// The body of a form (`application/x-www-form-urlencoded`).
pub(crate) fn form_body(fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    fields.collect::<Vec<_>>().join("&")
}

/// The value of the Authorization header with the credentials of an OAuth client. Both are encoded as in a form
/// (RFC 6749, section 2.3.1), so they may contain a colon.
pub(crate) fn basic_credentials(client_id: &str, secret: &Secret) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(client_id), encode(secret.expose()))))
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            b'-' | b'.' | b'_' | b'*' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_percent_encoded() {
        assert_eq!(
            form_body(&[("token", "a b&c=d+é"), ("x", "-._*~")]),
            "token=a+b%26c%3Dd%2B%C3%A9&x=-._*%7E"
        );
    }

    #[test]
    fn credentials_may_contain_colons() {
        let header = basic_credentials("a:b", &Secret::from("c d".to_owned()));
        assert_eq!(STANDARD.decode(&header[6..]).unwrap(), b"a%3Ab:c+d");
    }
}

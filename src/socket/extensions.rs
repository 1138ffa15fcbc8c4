//! Negotiates permessage-deflate (RFC 7692, section 7.1).

use super::request::RequestHead;

/// The answer to an accepted offer. Neither side keeps its context between messages, so that a publication is
/// compressed once for all its receivers. By section 7.1.1 a server may add both parameters to any offer.
const ACCEPTED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The answer to an offer that limits the server's window. It must repeat the limit (section 7.1.2.1); otherwise
/// clients fail the connection.
const ACCEPTED_WITH_WINDOW: &str = "permessage-deflate; server_no_context_takeover; \
     client_no_context_takeover; server_max_window_bits=15";

/// The answer to the first acceptable offer; `None` if there is no such offer.
pub(super) fn negotiate_deflate(request: &RequestHead<'_>) -> Option<&'static str> {
    request
        .texts("sec-websocket-extensions")
        .flat_map(|list| split_unquoted(list, ','))
        .find_map(answer_offer)
}

/// The answer to one offer; `None` if a parameter is unknown or cannot be satisfied.
fn answer_offer(offer: &str) -> Option<&'static str> {
    let mut parts = split_unquoted(offer, ';').map(str::trim);
    if parts.next() != Some("permessage-deflate") {
        return None;
    }
    let mut seen = Vec::new();
    let mut answer = ACCEPTED;
    for part in parts {
        let (name, value) = match part.split_once('=') {
            None => (part, None),
            Some((name, value)) => (name.trim_end(), Some(unquote(value.trim_start())?)),
        };
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match (name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
            // The inflater has the largest window, so the client may use any. The parameter needs no answer (section
            // 7.1.2.2).
            ("client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(bits)) if is_window_bits(bits) => {}
            // A smaller window is declined, because each message would have to be compressed again for it.
            ("server_max_window_bits", Some("15")) => answer = ACCEPTED_WITH_WINDOW,
            _ => return None,
        }
    }
    Some(answer)
}

/// A decimal number from 8 to 15 without leading zeros (section 7.1.2).
fn is_window_bits(text: &str) -> bool {
    matches!(text, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
}

/// The parts between separators outside quoted strings.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        if is_escaped {
            is_escaped = false;
        } else if character == '"' {
            is_quoted = !is_quoted;
        } else if is_quoted {
            is_escaped = character == '\\';
        } else {
            return character == separator;
        }
        false
    })
}

/// The value of a parameter: a token, or a quoted string that holds a token (RFC 6455, section 9.1). Escapes stay as
/// they are, because no known value needs one.
fn unquote(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        None => Some(value),
        Some(rest) => rest.strip_suffix('"'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::request::tests::with_headers;

    /// The answer to a request with these lines of the header.
    fn answer(values: &[&str]) -> Option<&'static str> {
        let lines: Vec<_> = values.iter().map(|value| ("Sec-WebSocket-Extensions", *value)).collect();
        with_headers(&lines, negotiate_deflate)
    }

    #[test]
    fn an_offer_is_accepted_if_every_parameter_can_be_satisfied() {
        for (parameters, expected) in [
            ("", Some(ACCEPTED)),
            ("; client_max_window_bits", Some(ACCEPTED)),
            ("; client_max_window_bits=8", Some(ACCEPTED)),
            ("; client_max_window_bits=10; server_no_context_takeover", Some(ACCEPTED)),
            (";client_no_context_takeover;server_no_context_takeover", Some(ACCEPTED)),
            (" ; client_max_window_bits = \"15\" ", Some(ACCEPTED)),
            ("; server_max_window_bits=15", Some(ACCEPTED_WITH_WINDOW)),
            ("; server_max_window_bits=\"15\"", Some(ACCEPTED_WITH_WINDOW)),
            ("; server_max_window_bits=15; client_max_window_bits=15", Some(ACCEPTED_WITH_WINDOW)),
            ("; server_max_window_bits=14", None),
            ("; server_max_window_bits=8", None),
            // Violations of section 7.1.
            ("; server_max_window_bits", None),
            ("; server_max_window_bits=", None),
            ("; server_max_window_bits=16", None),
            ("; server_max_window_bits=015", None),
            ("; server_max_window_bits=+15", None),
            ("; server_max_window_bits=\"15", None),
            ("; server_max_window_bits=15\"", None),
            ("; server_max_window_bits=15; server_max_window_bits=15", None),
            ("; client_max_window_bits=7", None),
            ("; client_max_window_bits=16", None),
            ("; client_max_window_bits=09", None),
            ("; client_max_window_bits=+9", None),
            ("; client_max_window_bits=\"\"9\"\"", None),
            ("; client_max_window_bits; client_max_window_bits=9", None),
            ("; server_no_context_takeover=1", None),
            ("; client_no_context_takeover=\"\"", None),
            ("; server_no_context_takeover; server_no_context_takeover", None),
            ("; unknown", None),
            (";", None),
        ] {
            assert_eq!(answer_offer(&format!("permessage-deflate{parameters}")), expected, "{parameters}");
        }
        for other in ["x-webkit-deflate-frame", "permessage-deflates", "permessage-deflate=1", ""] {
            assert_eq!(answer_offer(other), None, "{other}");
        }
    }

    /// Each parameter is absent, or present in each of its forms.
    #[test]
    fn every_combination_of_parameters_has_the_right_answer() {
        let forms = |name: &str| {
            let bits = (8..=15).map(|bits| format!("; {name}={bits}"));
            [String::new()].into_iter().chain(bits).collect::<Vec<_>>()
        };
        let is_present = |name: &str| [String::new(), format!("; {name}")];
        let mut client_windows = forms("client_max_window_bits");
        client_windows.push("; client_max_window_bits".to_owned());
        for ours in forms("server_max_window_bits") {
            for theirs in &client_windows {
                for server in is_present("server_no_context_takeover") {
                    for client in is_present("client_no_context_takeover") {
                        let offer = format!("permessage-deflate{server}{theirs}{client}{ours}");
                        let expected = match ours.as_str() {
                            "" => Some(ACCEPTED),
                            "; server_max_window_bits=15" => Some(ACCEPTED_WITH_WINDOW),
                            _ => None,
                        };
                        assert_eq!(answer_offer(&offer), expected, "{offer}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_acceptable_offer_is_answered() {
        assert_eq!(answer(&[]), None);
        let (small, whole) = ("permessage-deflate; server_max_window_bits=10", "permessage-deflate");
        let bounded = "permessage-deflate; server_max_window_bits=15";
        for (values, expected) in [
            (&[&format!("{small}, {whole}")[..]][..], Some(ACCEPTED)),
            (&[&format!("{small}, {bounded}, {whole}")], Some(ACCEPTED_WITH_WINDOW)),
            (&[&format!("{whole}, {bounded}")], Some(ACCEPTED)),
            (&[small, "x-other", bounded], Some(ACCEPTED_WITH_WINDOW)),
            (&[small, small], None),
            // Text inside a quoted string is not an offer.
            (&["x-other; a=\", permessage-deflate\""], None),
            (&["x-other; a=\"\\\", permessage-deflate, \""], None),
            (&["x-other; a=\"b\", permessage-deflate"], Some(ACCEPTED)),
        ] {
            assert_eq!(answer(values), expected, "{values:?}");
        }
    }
}

//! Negotiating permessage-deflate (RFC 7692, section 7.1).

use actix_http::header::{HeaderMap, SEC_WEBSOCKET_EXTENSIONS};

/// What the gateway answers to an offer that it accepts. No context is kept from message to message on
/// either side, so that a publication is compressed once for all its receivers.
pub(super) const ACCEPTED: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Whether one of the client's offers can be accepted.
pub(super) fn offers_deflate(headers: &HeaderMap) -> bool {
    headers
        .get_all(SEC_WEBSOCKET_EXTENSIONS)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(is_acceptable)
}

/// An offer is acceptable if we know each of its parameters and can keep to it. A smaller window for us is
/// declined: it would make a compression of its own for those who ask for it.
fn is_acceptable(offer: &str) -> bool {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next() != Some("permessage-deflate") {
        return false;
    }
    let mut seen = Vec::new();
    parts.all(|part| {
        let (name, value) = match part.split_once('=') {
            None => (part, None),
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
        };
        let is_new = !seen.contains(&name);
        seen.push(name);
        is_new
            && match (name, value) {
                (
                    "server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits",
                    None,
                ) => true,
                ("client_max_window_bits", Some(bits)) => matches!(bits.parse(), Ok(8..=15)),
                ("server_max_window_bits", Some("15")) => true,
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_accepted_if_all_of_it_can_be_kept() {
        for (offer, accepted) in [
            ("permessage-deflate", true),
            ("permessage-deflate; client_max_window_bits", true),
            ("permessage-deflate; client_max_window_bits=10; server_no_context_takeover", true),
            ("permessage-deflate; server_max_window_bits=\"15\"", true),
            ("permessage-deflate; server_max_window_bits=10", false),
            ("permessage-deflate; server_max_window_bits", false),
            ("permessage-deflate; client_max_window_bits=7", false),
            ("permessage-deflate; server_no_context_takeover=1", false),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", false),
            ("permessage-deflate; unknown", false),
            ("x-webkit-deflate-frame", false),
            ("", false),
        ] {
            assert_eq!(is_acceptable(offer), accepted, "{offer}");
        }
    }

    #[test]
    fn the_second_offer_may_be_the_one() {
        let mut headers = HeaderMap::new();
        assert!(!offers_deflate(&headers));
        let offers = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, offers.parse().unwrap());
        assert!(offers_deflate(&headers));
    }
}

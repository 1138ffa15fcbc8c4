//! Parses a JSON Web Key Set (RFC 7517).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::VerificationKey;
use crate::settings::name_text;

/// The maximum length of a key set, in bytes.
pub(in crate::auth) const MAX_BYTES: usize = 256 * 1024;
/// The most keys of a key set.
const MAX_KEYS: usize = 100;
/// The shortest secret, in bytes (RFC 7518, section 3.2, for HS256).
const MIN_SECRET_BYTES: usize = 32;
/// The shortest modulus of an RSA key, in bits (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;
/// The longest exponent that the cryptography supports, in bits.
const MAX_EXPONENT_BITS: usize = 33;
/// The encodings of the points of Ed25519 whose order is 8 at most.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];
/// The length of an Ed25519 key, in bytes.
const ED25519_BYTES: usize = 32;
/// The longest modulus that the cryptography supports, in bits.
const MAX_RSA_BITS: usize = 4096;

/// The usable keys of a document, and what is wrong with others. The sentences contain nothing of a key but its `kid`.
#[derive(Default)]
pub(in crate::auth) struct ParsedKeys {
    pub(in crate::auth) keys: Vec<VerificationKey>,
    /// Keys that are too weak or broken; each sentence follows the name of the document.
    pub(in crate::auth) faults: Vec<String>,
    /// Keys that are used, but should not be in the document as they are.
    pub(in crate::auth) warnings: Vec<String>,
}

/// Why a document has no keys. The sentence follows the name of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::auth) enum JwksError {
    #[error("is not a JSON Web Key Set: an object with the list \"keys\"")]
    NotAKeySet,
    #[error("has more than {MAX_KEYS} keys")]
    TooManyKeys,
    #[error("has no key for auth.algorithms; list the algorithms of its keys there, such as ES256")]
    NoKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// The parameters of one key. Those of unknown types are not read.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    d: Option<Value>,
}

/// Parses the keys for the algorithms in `allowed`. Keys of other types, for other algorithms or for encryption are
/// ignored, because a document may serve several applications.
pub(in crate::auth) fn parse(text: &str, allowed: &[Algorithm]) -> Result<ParsedKeys, JwksError> {
    let document: Document = serde_json::from_str(text).map_err(|_| JwksError::NotAKeySet)?;
    if document.keys.len() > MAX_KEYS {
        return Err(JwksError::TooManyKeys);
    }
    let mut parsed = ParsedKeys::default();
    for (index, value) in document.keys.into_iter().enumerate() {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else {
            parsed.faults.push(format!("has an invalid key (number {})", index + 1));
            continue;
        };
        let name = jwk.kid.as_deref().map_or_else(|| format!("number {}", index + 1), name_text);
        let algorithms = algorithms_of(&jwk, allowed);
        if algorithms.is_empty() {
            continue;
        }
        match decoding_key(&jwk) {
            Err(reason) => parsed.faults.push(format!("has a key ({name}) that {reason}")),
            Ok(key) => {
                let has_private_part = jwk.d.is_some();
                let key = VerificationKey { id: jwk.kid, algorithms, key };
                if !key.is_usable() {
                    parsed.faults.push(format!("has a key ({name}) that is not valid"));
                    continue;
                }
                if has_private_part {
                    parsed.warnings.push(format!(
                        "has the private part of a key ({name}), which the gateway does not need; publish only the public part"
                    ));
                }
                parsed.keys.push(key);
            }
        }
    }
    if parsed.keys.is_empty() && parsed.faults.is_empty() { Err(JwksError::NoKey) } else { Ok(parsed) }
}

/// The allowed algorithms of the key: its `alg`, or all of its type. Empty: the key is for another purpose.
fn algorithms_of(jwk: &Jwk, allowed: &[Algorithm]) -> Vec<Algorithm> {
    let verifies = jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") || !verifies {
        return Vec::new();
    }
    let suits = |algorithm: &Algorithm| match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("oct", _) => algorithm.family() == AlgorithmFamily::Hmac,
        ("RSA", _) => algorithm.family() == AlgorithmFamily::Rsa,
        ("EC", Some("P-256")) => *algorithm == Algorithm::ES256,
        ("EC", Some("P-384")) => *algorithm == Algorithm::ES384,
        ("OKP", Some("Ed25519")) => *algorithm == Algorithm::EdDSA,
        _ => false,
    };
    // RFC 9864 names the curve in the algorithm.
    let is_named = |algorithm: &Algorithm| match jwk.alg.as_deref() {
        Some("Ed25519") => *algorithm == Algorithm::EdDSA,
        Some(name) => name.parse() == Ok(*algorithm),
        None => true,
    };
    let algorithms = allowed.iter().filter(|algorithm| suits(algorithm) && is_named(algorithm));
    algorithms.copied().collect()
}

/// The public part of the key, or the secret. The error follows "a key that".
fn decoding_key(jwk: &Jwk) -> Result<DecodingKey, String> {
    let field = |name: &str, value: &Option<String>| {
        let decoded = value.as_ref().and_then(|text| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok());
        decoded.ok_or_else(|| format!("has no valid \"{name}\""))
    };
    match jwk.kty.as_str() {
        "oct" => {
            let secret = field("k", &jwk.k)?;
            if secret.len() < MIN_SECRET_BYTES {
                return Err(format!("is a secret of fewer than {MIN_SECRET_BYTES} bytes"));
            }
            Ok(DecodingKey::from_secret(&secret))
        }
        "RSA" => {
            let (modulus, exponent) = (field("n", &jwk.n)?, field("e", &jwk.e)?);
            // The library would accept these and refuse every token. With the exponent 1, every padded text would be
            // its own signature.
            let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
            if !is_odd(&modulus) || !is_odd(&exponent) || !(2..=MAX_EXPONENT_BITS).contains(&bits(&exponent))
            {
                return Err("is an RSA key with an invalid modulus or exponent".to_owned());
            }
            match bits(&modulus) {
                MIN_RSA_BITS..=MAX_RSA_BITS => Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent)),
                0..MIN_RSA_BITS => Err(format!("is an RSA key of fewer than {MIN_RSA_BITS} bits")),
                _ => Err(format!("is an RSA key of more than {MAX_RSA_BITS} bits")),
            }
        }
        "EC" => {
            let length = if jwk.crv.as_deref() == Some("P-256") { 32 } else { 48 };
            let (x, y) = (field("x", &jwk.x)?, field("y", &jwk.y)?);
            if x.len() != length || y.len() != length {
                return Err("is not a point of its curve".to_owned());
            }
            Ok(DecodingKey::from_ec_der(&[&[4][..], &x, &y].concat()))
        }
        _ => match field("x", &jwk.x)? {
            x if is_of_small_order(&x) => Err("is a point of small order".to_owned()),
            // The library panics on another length.
            x if x.len() == ED25519_BYTES => Ok(DecodingKey::from_ed_der(&x)),
            _ => Err("is not a point of its curve".to_owned()),
        },
    }
}

/// Whether anyone can sign for this Ed25519 key: the point has the order 1, 2, 4 or 8. The highest bit is a sign.
fn is_of_small_order(point: &[u8]) -> bool {
    let digit = |(at, byte): (usize, &u8)| format!("{:02x}", if at == 31 { byte & 0x7f } else { *byte });
    SMALL_ORDER.contains(&&*point.iter().enumerate().map(digit).collect::<String>())
}

/// The length of a big-endian number in bits.
fn bits(bytes: &[u8]) -> usize {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let Some(first) = bytes.get(zeros) else { return 0 };
    (bytes.len() - zeros) * 8 - first.leading_zeros() as usize
}

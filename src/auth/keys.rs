//! Key sets: several keys, each with its own algorithms, chosen by the `kid` of a token.
//!
//! - `jwks`: parses a JSON Web Key Set.
//! - `schedule`: decides when to fetch a key set; reads no clock.
//! - `remote`: the key set of a URL, and the tokens that wait for it.
//! - `fetch`: fetches a key set.

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};

pub(super) mod fetch;
pub(super) mod jwks;
pub(super) mod remote;
pub(super) mod schedule;
#[cfg(test)]
mod tests;

/// A token without a `kid`, or with a `kid` that several keys have, is tried with at most this many keys. Each try
/// costs the worker a verification, and a rotation needs two.
const MAX_CANDIDATES: usize = 4;

/// A signature of zeros, in base64, as long as those of ES256 and EdDSA.
const ZERO_SIGNATURE: &str =
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A key, with what it may verify.
#[derive(Clone)]
pub(super) struct VerificationKey {
    /// The `kid` in the key set. A key outside of key sets has none.
    pub(super) id: Option<String>,
    /// The algorithms that the settings and the key allow. Each suits the type of the key.
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

impl VerificationKey {
    /// Whether the cryptography can use the key with each of its algorithms: the library would report a broken key only
    /// at the first token. A signature of zeros must be refused as wrong.
    pub(super) fn is_usable(&self) -> bool {
        self.algorithms.iter().all(|algorithm| {
            let found = jsonwebtoken::crypto::verify(ZERO_SIGNATURE, b"self-test", &self.key, *algorithm);
            matches!(found, Ok(false))
        })
    }
}

/// Keys in the order in which they are tried.
#[derive(Clone, Default)]
pub(super) struct KeySet(Vec<VerificationKey>);

impl KeySet {
    pub(super) fn new(keys: Vec<VerificationKey>) -> Self {
        Self(keys)
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &VerificationKey> {
        self.0.iter()
    }

    pub(super) fn extend(&mut self, keys: impl IntoIterator<Item = VerificationKey>) {
        self.0.extend(keys);
    }
}

/// The keys that may have signed a token with this header. With a `kid`, those with the same `kid`; if there is none,
/// those without a `kid`. Without a `kid`, every key of the algorithm.
pub(super) fn candidates<'a>(
    sets: &[&'a KeySet],
    id: Option<&str>,
    algorithm: Algorithm,
) -> Vec<&'a VerificationKey> {
    let suitable = |is_right: &dyn Fn(Option<&str>) -> bool| -> Vec<&'a VerificationKey> {
        let keys = sets.iter().flat_map(|set| set.iter());
        keys.filter(|key| key.algorithms.contains(&algorithm) && is_right(key.id.as_deref()))
            .take(MAX_CANDIDATES)
            .collect()
    };
    let Some(id) = id else { return suitable(&|_| true) };
    let named = suitable(&|own| own == Some(id));
    if named.is_empty() { suitable(&|own| own.is_none()) } else { named }
}

/// Whether a secret signs with this algorithm.
pub(super) fn is_hmac(algorithm: Algorithm) -> bool {
    algorithm.family() == AlgorithmFamily::Hmac
}

//! Rules of `[auth]`.

use super::{HS_SECRET, assert_refused, development, production};

#[test]
fn insecure_is_for_development_on_a_loopback_address() {
    assert_refused(production(&[("auth.kind", "insecure")]), &["auth.kind", "production"]);
    let on_loopback = [("auth.kind", "insecure"), ("server.public_addr", "127.0.0.1:8080")];
    assert_refused(production(&on_loopback), &["auth.kind", "production"]);
    assert_refused(development(&[("server.public_addr", "0.0.0.0:8080")]), &["auth.kind", "loopback"]);
    assert_refused(development(&[("server.public_addr", "[::]:8080")]), &["auth.kind", "loopback"]);
    assert!(development(&[("server.public_addr", "[::1]:8080")]).is_ok());
}

#[test]
fn jwt_with_a_secret() {
    for profile in [development, production] {
        let jwt = |secret| profile(&[("auth.kind", "jwt"), ("auth.secret", secret)]);
        assert!(jwt(HS_SECRET).is_ok());
        assert_refused(jwt(&HS_SECRET[1..]), &["auth.secret", "32 bytes"]);
        assert_refused(jwt(""), &["auth.secret", "must be set"]);
        let key = [("auth.kind", "jwt"), ("auth.secret", HS_SECRET), ("auth.public_key_file", "key.pem")];
        assert_refused(profile(&key), &["auth.public_key_file", "HS"]);
    }
    assert!(production(&[("auth.algorithms", "HS256,HS384,HS512")]).is_ok());
}

#[test]
fn jwt_with_a_public_key() {
    for algorithms in ["RS256", "RS256,PS512", "ES256", "ES384", "EdDSA"] {
        let with = |secret, file| {
            production(&[
                ("auth.algorithms", algorithms),
                ("auth.secret", secret),
                ("auth.public_key_file", file),
            ])
        };
        assert!(with("", "key.pem").is_ok());
        assert_refused(with("", ""), &["auth.public_key_file", "must be set"]);
        assert_refused(with(HS_SECRET, "key.pem"), &["auth.secret", "must not be set"]);
    }
}

#[test]
fn jwt_algorithms_are_of_one_family() {
    for mixed in ["HS256,RS256", "RS256,HS256", "ES256,ES384", "RS256,EdDSA", "HS256,ES256"] {
        assert_refused(production(&[("auth.algorithms", mixed)]), &["auth.algorithms", "one family"]);
    }
    for bad in ["", "none", "HS256,none", "hs256", "ES512"] {
        assert_refused(production(&[("auth.algorithms", bad)]), &["auth.algorithms", "HS256"]);
    }
}

#[test]
fn signed_needs_a_secret() {
    let signed = |profile: fn(&[(&str, &str)]) -> _, secret| {
        profile(&[("auth.kind", "signed"), ("auth.secret", secret)])
    };
    assert!(signed(development, "x").is_ok());
    assert_refused(signed(development, ""), &["auth.secret", "signed"]);
    assert!(signed(production, "0123456789abcdef").is_ok());
    assert_refused(signed(production, "0123456789abcde"), &["auth.secret", "16 bytes"]);
}

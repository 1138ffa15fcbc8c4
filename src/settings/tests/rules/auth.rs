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
        assert_refused(jwt(""), &["auth.secret", "must be set", "auth.jwks_url"]);
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

#[test]
fn a_key_set_may_mix_families() {
    let jwt = |more: &[(&'static str, &'static str)]| {
        let base = [("auth.secret", ""), ("auth.algorithms", "RS256,ES384,EdDSA")];
        production(&[&base[..], more].concat())
    };
    let (file, url) = (("auth.keys_file", "keys.json"), ("auth.jwks_url", "https://login.example.com/jwks"));
    for keys in [&[file][..], &[url], &[file, url]] {
        assert!(jwt(keys).is_ok(), "{keys:?}");
    }
    assert_refused(jwt(&[]), &["auth.algorithms", "one family", "auth.jwks_url"]);
    assert_refused(jwt(&[file, ("auth.public_key_file", "key.pem")]), &["auth.public_key_file", "together"]);
    assert_refused(jwt(&[file, ("auth.secret", HS_SECRET)]), &["auth.secret", "needs an HS algorithm"]);
    let with_secret = [file, ("auth.secret", HS_SECRET), ("auth.algorithms", "HS256,RS256")];
    assert!(jwt(&with_secret).is_ok());
    assert_refused(jwt(&[file, ("auth.algorithms", "RS256,none")]), &["auth.algorithms", "HS256"]);
    for key in [file, url] {
        let signed = production(&[("auth.kind", "signed"), key]);
        assert_refused(signed, &[key.0, "only if auth.kind is jwt"]);
    }
}

#[test]
fn a_key_set_is_fetched_over_https() {
    let fetched = |url| production(&[("auth.jwks_url", url)]);
    for url in ["https://h/jwks", "http://127.0.0.1:1/jwks", "http://[::1]/jwks", "http://localhost/jwks"] {
        assert!(fetched(url).is_ok(), "{url}");
    }
    for url in
        ["http://login.example.com/jwks", "http://10.0.0.1/", "ftp://h/", "http://localhost.example.com/"]
    {
        assert_refused(fetched(url), &["auth.jwks_url", "https://"]);
    }
    for url in ["login.example.com", "https://", "/jwks", "https://h h/"] {
        assert_refused(fetched(url), &["auth.jwks_url", "must"]);
    }
    for url in ["https://h:0/", "https://h:99999/", "https://[::1]:/", "https://h:"] {
        assert_refused(fetched(url), &["auth.jwks_url", "must have a port"]);
    }
    assert_refused(fetched("https://me:hunter2@h/"), &["auth.jwks_url", "must not contain a user name"]);
    let interval = [("auth.jwks_url", "https://h/"), ("auth.jwks_refresh_interval", "9s")];
    assert_refused(production(&interval), &["auth.jwks_refresh_interval", "10s to 1d"]);
}

#[test]
fn the_previous_secret_is_as_strong_as_the_secret() {
    for (kind, short, reason) in
        [("jwt", &HS_SECRET[1..], "32 bytes"), ("signed", "0123456789abcde", "16 bytes")]
    {
        let previous = |secret| production(&[("auth.kind", kind), ("auth.previous_secret", secret)]);
        assert!(previous(HS_SECRET).is_ok());
        assert_refused(previous(short), &["auth.previous_secret", reason]);
    }
    let placeholder = [("auth.previous_secret", "replace-me-with-32-bytes-or-more-before-use")];
    assert_refused(production(&placeholder), &["auth.previous_secret", "placeholder"]);
    let alone = [("auth.secret", ""), ("auth.previous_secret", HS_SECRET)];
    assert_refused(production(&alone), &["auth.secret", "must be set"]);
}

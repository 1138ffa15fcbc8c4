"""Writes jwt.json: tokens of PyJWT and of an attacker, for the tests of src/auth/jwt.rs.

Run it again like this (new keys each time; the private ones are never written anywhere):

    python3 -m venv venv && venv/bin/pip install "pyjwt[crypto]==2.15.1"
    venv/bin/python tests/data/jwt_vectors.py > tests/data/jwt.json

For each case `expect` is what the gateway must say at the time `now`: "ok", or the label of its AuthError.
"""

import base64
import hashlib
import hmac
import json

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.api_jws import PyJWS

NOW = 1_732_390_000
# Long enough for every HS algorithm.
SECRET = "test-only-secret-of-sixty-four-bytes-for-all-three-hs-algorithms"


def pem(private_key):
    return private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


rsa_key = rsa.generate_private_key(65537, 2048)
private = {
    "rsa": rsa_key,
    "other_rsa": rsa.generate_private_key(65537, 2048),
    "short_rsa": rsa.generate_private_key(65537, 1024),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}
public = {name: pem(key) for name, key in private.items()}
family = {"HS": None, "RS": "rsa", "PS": "rsa", "ES256": "p256", "ES384": "p384", "Ed": "ed25519"}


def key_of(algorithm):
    return family.get(algorithm) or family.get(algorithm[:2])


def sign(claims, algorithm="HS256", key=None, headers=None):
    """Claims may be bytes, to be signed as they are."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    if key is None:
        key = private[key_of(algorithm)] if key_of(algorithm) else SECRET
    return PyJWS().encode(payload, key, algorithm=algorithm, headers=headers)


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header, claims, secret=SECRET):
    message = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
    return f"{message}.{encode(hmac.new(secret.encode(), message.encode(), hashlib.sha256).digest())}"


def claims(**changes):
    result = {"sub": "42", "exp": NOW + 3600, **changes}
    return {name: value for name, value in result.items() if value is not ...}


cases = []


def case(name, token, expect="ok", user="42", expires_at=NOW + 3600, channels=(), **options):
    entry = {"name": name, "token": token, "now": NOW, "algorithms": ["HS256"], "key": None, "audience": None,
             "issuer": None, "leeway": 0, "expect": expect, **options}
    if expect == "ok":
        entry |= {"user": user, "expires_at": expires_at, "channels": list(channels)}
    cases.append(entry)


# Every algorithm, by itself.
for algorithm in ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]:
    options = {"algorithms": [algorithm], "key": key_of(algorithm)}
    token = sign(claims(), algorithm)
    header, payload, signature = token.split(".")
    case(f"{algorithm} good", token, **options)
    case(f"{algorithm} tampered payload", f"{header}.{encode(json.dumps(claims(sub='1')).encode())}.{signature}", "bad_signature", **options)
    case(f"{algorithm} tampered signature", f"{header}.{payload}.{('B' if signature[0] == 'A' else 'A') + signature[1:]}", "bad_signature", **options)
    case(f"{algorithm} no signature", f"{header}.{payload}.", "bad_signature", **options)

# The algorithm is ours to choose.
for spelling in ["none", "None", "NONE"]:
    header = encode(json.dumps({"alg": spelling}).encode())
    case(f"alg {spelling}", f"{header}.{encode(json.dumps(claims()).encode())}.", "malformed")
    case(f"alg {spelling}, signed", by_hand({"alg": spelling}, claims()), "malformed")
case("RS setting, public key used as HS secret", by_hand({"alg": "HS256"}, claims(), public["rsa"]), "wrong_algorithm", algorithms=["RS256"], key="rsa")
case("RS setting, HS body under an RS header", by_hand({"alg": "RS256"}, claims(), public["rsa"]), "bad_signature", algorithms=["RS256"], key="rsa")
case("HS setting, RS token", sign(claims(), "RS256"), "wrong_algorithm")
case("HS256 setting, HS512 token", sign(claims(), "HS512"), "wrong_algorithm")
case("HS512 allowed too", sign(claims(), "HS512"), algorithms=["HS256", "HS512"])
case("RS256 setting, PS256 token", sign(claims(), "PS256"), "wrong_algorithm", algorithms=["RS256"], key="rsa")
case("wrong secret", sign(claims(), key="x" * 64), "bad_signature")
case("wrong key", sign(claims(), "RS256", private["other_rsa"]), "bad_signature", algorithms=["RS256"], key="rsa")
case("key in the header", by_hand({"alg": "HS256", "jwk": {"kty": "oct", "k": encode(b"x" * 64)}}, claims(), "x" * 64), "bad_signature")
case("critical header", by_hand({"alg": "HS256", "crit": ["b64"], "b64": False}, claims()), "malformed")
case("no algorithm", by_hand({"typ": "JWT"}, claims()), "malformed")
case("header of another type", by_hand({"alg": "HS256", "typ": "at+jwt", "kid": "7"}, claims()))

# Times.
case("at its last second", sign(claims(exp=NOW + 1)), expires_at=NOW + 1)
case("expires now", sign(claims(exp=NOW)), "expired")
case("expired", sign(claims(exp=NOW - 1)), "expired")
case("expired within the leeway", sign(claims(exp=NOW - 4)), expires_at=NOW - 4, leeway=5)
case("expired beyond the leeway", sign(claims(exp=NOW - 5)), "expired", leeway=5)
case("fraction of a second", sign(claims(exp=NOW + 10.5)), expires_at=NOW + 10.5)
case("no exp", sign(claims(exp=...)), "no_expiry")
case("exp null", sign(claims(exp=None)), "no_expiry")
for name, value in [("text", str(NOW + 3600)), ("boolean", True), ("list", [NOW + 3600]), ("object", {}), ("milliseconds", NOW * 1000), ("negative", -1), ("huge", 1e300)]:
    case(f"exp {name}", sign(claims(exp=value)), "malformed")
case("exp infinite", sign(b'{"sub":"42","exp":1e999}'), "malformed")
case("nbf now", sign(claims(nbf=NOW)))
case("nbf in a second", sign(claims(nbf=NOW + 1)), "not_yet_valid")
case("nbf within the leeway", sign(claims(nbf=NOW + 5)), leeway=5)
case("nbf beyond the leeway", sign(claims(nbf=NOW + 6)), "not_yet_valid", leeway=5)
case("nbf zero", sign(claims(nbf=0)))
for name, value in [("text", str(NOW + 3600)), ("old text", "0"), ("boolean", False), ("negative", -1), ("milliseconds", NOW * 1000)]:
    case(f"nbf {name}", sign(claims(nbf=value)), "malformed")
case("nbf null", sign(claims(nbf=None)))
case("iat in the future is not looked at", sign(claims(iat=NOW + 100)))

# For whom and from whom.
app = {"audience": "app"}
case("aud", sign(claims(aud="app")), **app)
case("aud list", sign(claims(aud=["web", "app"])), **app)
for name, value in [("missing", ...), ("null", None), ("other", "web"), ("other list", ["web"]), ("empty list", []), ("number", 7), ("part", "ap"), ("object", {"app": 1}), ("mixed list", ["app", 7])]:
    case(f"aud {name}", sign(claims(aud=value)), "wrong_audience", **app)
case("aud without a setting", sign(claims(aud="web")))
login = {"issuer": "login"}
case("iss", sign(claims(iss="login")), **login)
for name, value in [("missing", ...), ("null", None), ("other", "logout"), ("list", ["login"]), ("number", 7)]:
    case(f"iss {name}", sign(claims(iss=value)), "wrong_issuer", **login)
case("iss without a setting", by_hand({"alg": "HS256"}, claims(iss=7)))

# The user.
case("sub a number", sign(claims(sub=42)))
case("sub a great number", sign(claims(sub=2**64 - 1)), user=str(2**64 - 1))
case("sub of 128 bytes", sign(claims(sub="x" * 128)), user="x" * 128)
for name, value in [("missing", ...), ("null", None), ("empty", "")]:
    case(f"sub {name}", sign(claims(sub=value)), "no_user")
for name, value in [("fraction", 4.2), ("too great", 2**64), ("negative", -1)]:
    case(f"sub {name}", sign(claims(sub=value)), "user_not_allowed")
for name, value in [("boolean", True), ("list", ["42"]), ("object", {})]:
    case(f"sub {name}", sign(claims(sub=value)), "malformed")
for name, value in [("space", "4 2"), ("line end", "42\n"), ("nul", "42\0"), ("brace", "{42}"), ("star", "*"), ("unicode", "é"), ("129 bytes", "x" * 129)]:
    case(f"sub with {name}", sign(claims(sub=value)), "user_not_allowed")

# The channels.
lists = ["room:7", "news:*", "a:b:c"]
case("channels", sign(claims(channels=lists)), channels=lists)
case("channels null", sign(claims(channels=None)))
case("channels none", sign(claims(channels=[])))
case("channel of 255 bytes", sign(claims(channels=["a:" + "x" * 253])), channels=["a:" + "x" * 253])
for value in ["room:7", 7, {}, [7], [None], [""], ["*"], ["room"], ["room:"], [":7"], ["*:7"], ["ro*:7"], ["room:7*"], ["room:**"], ["room: 7"], ["room:{7}"], ["room:é"], ["a:" + "x" * 254]]:
    case(f"channels {str(value)[:20]}", sign(claims(channels=value)), "bad_channels")

# What is not a token.
good = sign(claims())
header, payload, signature = good.split(".")
for name, token in [("empty", ""), ("one part", header), ("two parts", f"{header}.{payload}"), ("only dots", ".."),
                    ("three dots", "..."), ("four parts", good + ".x"), ("not base64", f"{header}.!!.{signature}"[2:]),
                    ("payload not JSON", sign(b"42.")), ("payload an array", sign(b'["42"]')), ("payload text", sign(b'"42"')),
                    ("payload not UTF-8", sign(b'{"sub":"\xff","exp":9999999999}')), ("payload empty", sign(b"")),
                    ("sub twice", sign(b'{"sub":"42","sub":"1","exp":1732393600}')),
                    ("exp twice", sign(b'{"sub":"42","exp":1,"exp":1732393600}')),
                    ("space before", " " + good), ("padded signature", good + "="), ("unicode", "é.é.é")]:
    case(name, token, "malformed")

print(json.dumps({"secret": SECRET, "public_keys": public, "cases": cases}, indent=1))

"""Writes itsdangerous.json: tokens made by itsdangerous itself, for the tests of src/auth/signed.rs.

Run it again, with the same result, like this:

    python3 -m venv venv && venv/bin/pip install itsdangerous==2.2.0
    venv/bin/python tests/data/itsdangerous_vectors.py > tests/data/itsdangerous.json

The times are fixed. For each case `expect` is what the gateway must say at the time `now` with the given `max_age`:
"ok", or the label of its AuthError. What itsdangerous itself says is computed here and must agree (`accepted`), except
where the gateway looks closer: the form of the user id.
"""

import base64
import json
import struct

from itsdangerous import BadSignature, Signer, TimestampSigner

SECRET = "test-only-secret-of-the-login-service"
ISSUED = 1_732_390_000
MAX_AGE = 2_592_000


class FixedClockSigner(TimestampSigner):
    clock = ISSUED

    def get_timestamp(self):
        return self.clock


def signer(at=ISSUED, secret=SECRET, **options):
    result = FixedClockSigner(secret, **options)
    result.clock = at
    return result


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(user, at=ISSUED, **options):
    return signer(at, **options).sign(encode(user.encode())).decode()


def with_timestamp(timestamp):
    """A correct signature over a timestamp part that no clock produces."""
    return Signer(SECRET).sign(f"{encode(b'42')}.{timestamp}").decode()


cases = []


def case(name, token, expect, now=ISSUED + 60, max_age=MAX_AGE, user=None, looks_closer=False):
    try:
        signer(now).unsign(token, max_age=max_age)
        accepted = True
    except (BadSignature, ValueError, OverflowError):
        accepted = False
    if not looks_closer:
        assert accepted == (expect == "ok"), name
    entry = {"name": name, "token": token, "now": now, "max_age": max_age, "expect": expect}
    if expect == "ok":
        entry["user"] = user
        entry["issued"] = int(signer(now).unsign(token, return_timestamp=True)[1].timestamp())
    cases.append(entry)


good = token("42")
value, timestamp, signature = good.split(".")
later = token("42", ISSUED + 1).split(".")[1]
flipped = ("A" if signature[0] != "A" else "B") + signature[1:]

case("good", good, "ok", user="42")
case("long id", token("1234567890123456789"), "ok", user="1234567890123456789")
case("id of punctuation", token("a.b/c:d@e"), "ok", user="a.b/c:d@e")
case("id of 128 bytes", token("x" * 128), "ok", user="x" * 128)
case("at once", good, "ok", now=ISSUED, user="42")
case("at its greatest age", good, "ok", now=ISSUED + MAX_AGE, user="42")
case("after 2038", token("42", 4_102_444_800), "ok", now=4_102_444_801, user="42")

case("tampered payload", f"{encode(b'43')}.{timestamp}.{signature}", "bad_signature")
case("tampered timestamp", f"{value}.{later}.{signature}", "bad_signature")
case("tampered signature", f"{value}.{timestamp}.{flipped}", "bad_signature")
case("shortened signature", good[:-1], "bad_signature")
case("lengthened signature", good + "A", "bad_signature")
case("signature that is not base64", f"{value}.{timestamp}.!!!!", "bad_signature")
case("signature of another token", f"{value}.{timestamp}.{token('43').rsplit('.', 1)[1]}", "bad_signature")
case("empty signature", f"{value}.{timestamp}.", "bad_signature")
case("wrong secret", token("42", secret="another"), "bad_signature")
case("wrong salt", token("42", salt="another"), "bad_signature")
case("wrong key derivation", token("42", key_derivation="hmac"), "bad_signature")
case("wrong separator", token("42", sep=":"), "malformed")

case("expired by a second", good, "expired", now=ISSUED + MAX_AGE + 1)
case("very old", token("42", 86_400), "expired")
case("of the epoch", with_timestamp(""), "expired")
case("from the future by a second", good, "not_yet_valid", now=ISSUED - 1)
case("from the far future", token("42", 2**33), "not_yet_valid")
case("timestamp beyond 64 bits", with_timestamp(encode(b"\xff" * 9)), "malformed")
case("timestamp of 64 bits", with_timestamp(encode(struct.pack(">Q", 2**64 - 1))), "not_yet_valid")
case("timestamp that is not base64", with_timestamp("!!!"), "malformed")
case("zeros in front of the timestamp", with_timestamp(encode(struct.pack(">Q", ISSUED))), "ok", user="42")

case("empty", "", "malformed")
case("only separators", "..", "bad_signature")
case("one separator", Signer(SECRET).sign(encode(b"42")).decode(), "malformed")
case("no separator", good.replace(".", ""), "malformed")
case("payload that is not base64", signer().sign("!!!").decode(), "malformed", looks_closer=True)
case("padded payload", signer().sign("NDI=").decode() if encode(b"42") == "NDI" else "", "malformed", looks_closer=True)
case("payload with a separator", signer().sign("a.b").decode(), "malformed", looks_closer=True)
case("empty user id", token(""), "no_user", looks_closer=True)
case("unicode user id", token("é"), "user_not_allowed", looks_closer=True)
case("user id that is not UTF-8", signer().sign(encode(b"\xff\xfe")).decode(), "user_not_allowed", looks_closer=True)
case("user id with a space", token("4 2"), "user_not_allowed", looks_closer=True)
case("user id with a brace", token("{42}"), "user_not_allowed", looks_closer=True)
case("user id with a line end", token("42\n"), "user_not_allowed", looks_closer=True)
case("user id of 129 bytes", token("x" * 129), "user_not_allowed", looks_closer=True)

print(json.dumps({"secret": SECRET, "cases": cases}, indent=1, ensure_ascii=True))

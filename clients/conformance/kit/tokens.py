"""Tokens: `42/a` in a scenario stands for a JWT of the user 42."""

import base64
import json
import re

NAME = re.compile(r"^(\w+)/(\w+)$")


def text_of(name):
    """The token that a name stands for; any other value unchanged."""
    parts = NAME.match(name) if isinstance(name, str) else None
    if not parts:
        return name
    head, claims = ({"typ": "JWT", "alg": "HS256"}, {"sub": parts[1], "jti": parts[2]})
    return ".".join([_encode(head), _encode(claims), "c2lnbmF0dXJlLW9mLXRoZS1raXQ"])


def _encode(value):
    text = json.dumps(value, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def with_token_text(frame):
    """A frame or pattern with the text of the token that its `token` names."""
    return {**frame, "token": text_of(frame["token"])} if "token" in frame else frame

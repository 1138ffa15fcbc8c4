"""The JSON of frames, and copies of the values that the app sends."""

import json
from typing import Any


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# One for all frames: `json.loads` would make a decoder each time.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def decode(data: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError if it is none."""
    try:
        return _DECODER.decode(data if isinstance(data, str) else data.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def encode(value: Any) -> str:
    """The JSON text of a value, without escapes that it does not need."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def size_of(value: Any) -> int:
    """The length of the JSON text in bytes."""
    return len(encode(value).encode("utf-8", "replace"))


def snapshot(value: Any, max_bytes: int | None = None) -> Any:
    """A copy of a JSON value, because the app may change it afterwards.

    Half of a surrogate pair becomes U+FFFD: the gateway would end the session. Raises TypeError if
    the value is not JSON, and ValueError if it is longer than ``max_bytes`` as JSON.
    """
    try:
        text = encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"the value is not JSON: {error}") from None
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if max_bytes is not None and len(text.encode()) > max_bytes:
        raise ValueError(f"the value is longer than {max_bytes} bytes")
    return decode(text)

"""Checks the frames of the client as the gateway does: docs/protocol.md says what is malformed."""

import json

from .failure import Failure

MAX_CHANNELS = 1000
HEARTBEATS = (10, 11)
SEND, SIGNAL = 16, 18
MEMBERS, HISTORY = 15, 19


def is_text(value):
    return isinstance(value, str)


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_anything(value):
    return True


def is_id(value):
    return is_text(value) and 1 <= len(value.encode()) <= 64


def is_entry(value):
    fields = {"channel": is_text, "since?": is_text, "last?": is_count}
    return isinstance(value, dict) and _problem(value, fields) is None


def is_list_of(is_one):
    def check(value):
        return isinstance(value, list) and len(value) <= MAX_CHANNELS and all(map(is_one, value))

    return check


# The fields of each op; with `?` if they may be absent.
FIELDS = {
    1: {"token": is_text, "channels?": is_list_of(is_entry)},
    4: {"channel?": is_text, "since?": is_text, "last?": is_count, "channels?": is_list_of(is_entry)},
    5: {"channel?": is_text, "channels?": is_list_of(is_text)},
    10: {"time?": is_number},
    11: {"time?": is_anything},
    12: {"token": is_text},
    15: {"id": is_id, "channel": is_text, "after?": is_text},
    16: {"id": is_id, "channel": is_text, "message": is_anything},
    18: {"channel": is_text, "signal": is_anything},
    19: {"id": is_id, "channel": is_text, "before?": is_text, "limit?": is_count},
}


def parse(text):
    """The frame of a text, or a Failure if the gateway would close the session with 4001."""
    try:
        frame = json.loads(text, object_pairs_hook=_without_duplicates)
    except ValueError as error:
        raise Failure(f"the client sent a malformed frame ({error}): {text}") from None
    op = frame.get("op") if isinstance(frame, dict) else None
    if not is_count(op) or op not in FIELDS:
        raise Failure(f"the client sent a frame with no op of a client: {text}")
    why = _problem(frame, FIELDS[op])
    if op in (4, 5) and ("channel" in frame) == ("channels" in frame):
        why = "has neither channel nor channels, or both"
    if op in (4, 5) and frame.get("channels") == []:
        why = "has no channels"
    if why:
        raise Failure(f"the client sent a malformed frame: it {why}: {text}")
    return frame


def singles(frame):
    """The frame itself; for a batch of op 4 or 5, the frame of each of its channels."""
    op = frame["op"]
    if op == 4 and "channels" in frame:
        return [{"op": op, **entry} for entry in frame["channels"]]
    if op == 5 and "channels" in frame:
        return [{"op": op, "channel": channel} for channel in frame["channels"]]
    return [frame]


def _without_duplicates(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError("a field occurs twice")
    return dict(pairs)


def _problem(frame, fields):
    for key, is_valid in fields.items():
        name = key.rstrip("?")
        if name not in frame:
            if name == key:
                return f"lacks {name}"
        elif not is_valid(frame[name]):
            return f"has an invalid {name}"
    return None

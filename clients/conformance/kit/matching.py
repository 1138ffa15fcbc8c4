"""Compares what the client did with what a scenario expects."""

import json

ABSENT = object()


def resolve(value, saved):
    """Replaces each `{"$ref": name}` by the saved value."""
    if isinstance(value, dict):
        if set(value) == {"$ref"}:
            return saved[value["$ref"]]
        return {key: resolve(one, saved) for key, one in value.items()}
    if isinstance(value, list):
        return [resolve(one, saved) for one in value]
    return value


def mismatch(expected, actual, saved, path="", name=""):
    """Says where the two differ, or returns None. Fills `saved` only if there is no difference."""
    found = {}
    where = _mismatch(expected, actual, {**saved}, found, path, name)
    if where is None:
        saved.update(found)
    return where


def _mismatch(expected, actual, saved, found, path, name):
    if isinstance(expected, dict):
        special = _special(expected, actual, found)
        if special is not ABSENT:
            return special and f"{path or 'it'} {special}"
        if not isinstance(actual, dict):
            return f"{path or 'it'} is {_show(actual)}, expected {_show(expected)}"
        for key, one in expected.items():
            inner = f"{path}.{key}" if path else key
            where = _mismatch(one, actual.get(key, ABSENT), saved, found, inner, key)
            if where:
                return where
        return None
    if isinstance(expected, list):
        return _list_mismatch(expected, actual, saved, found, path, name)
    # In Python, 1 == True.
    if type(expected) is bool or type(actual) is bool:
        same = expected is actual
    else:
        same = expected == actual
    return None if same else f"{path or 'it'} is {_show(actual)}, expected {_show(expected)}"


def _special(expected, actual, found):
    if set(expected) == {"$absent"}:
        return None if actual is ABSENT else f"is {_show(actual)}, expected to be absent"
    if set(expected) == {"$any"}:
        return "is absent" if actual is ABSENT else None
    if set(expected) == {"$save"}:
        if actual is ABSENT:
            return "is absent"
        found[expected["$save"]] = actual
        return None
    return ABSENT


def _list_mismatch(expected, actual, saved, found, path, name):
    if not isinstance(actual, list) or len(actual) != len(expected):
        return f"{path or 'it'} is {_show(actual)}, expected {_show(expected)}"
    if name != "channels":
        for index, (one, other) in enumerate(zip(expected, actual)):
            where = _mismatch(one, other, saved, found, f"{path}[{index}]", "")
            if where:
                return where
        return None
    left = list(actual)
    for one in expected:
        for other in left:
            if _mismatch(one, other, saved, found, path, "") is None:
                left.remove(other)
                break
        else:
            return f"{path or 'it'} is {_show(actual)}, expected an entry like {_show(one)}"
    return None


def _show(value):
    return "absent" if value is ABSENT else json.dumps(value)

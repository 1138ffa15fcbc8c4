"""The part of JSON Schema that scenario.schema.json uses, so that the runner needs no package."""

import json
import re

TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "null": lambda value: value is None,
}
BOUNDS = {
    "minimum": lambda value, bound: value >= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
    "minItems": lambda value, bound: len(value) >= bound,
    "maxItems": lambda value, bound: len(value) <= bound,
    "pattern": lambda value, pattern: re.search(pattern, value),
    "enum": lambda value, values: value in values,
    "const": lambda value, one: type(value) is type(one) and value == one,
}
KNOWN = {"$schema", "$defs", "$ref", "title", "description", "type", "properties", "required"}
KNOWN |= {"additionalProperties", "items", "oneOf", *BOUNDS}


def problem(value, schema, root=None, path="it"):
    """Says why the value does not follow the schema, or returns None."""
    root = root or schema
    if "$ref" in schema:
        return problem(value, root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root, path)
    assert set(schema) <= KNOWN, f"the validator lacks {set(schema) - KNOWN}"
    types = schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    if types and not any(TYPES[one](value) for one in types):
        return f"{path} is not of the type {' or '.join(types)}"
    for keyword, holds in BOUNDS.items():
        if keyword in schema and not holds(value, schema[keyword]):
            return f"{path} violates {keyword} {json.dumps(schema[keyword])}"
    return (
        _one_of(value, schema.get("oneOf"), root, path)
        or _object_problem(value, schema, root, path)
        or _array_problem(value, schema, root, path)
    )


def _one_of(value, choices, root, path):
    if not choices:
        return None
    problems = [problem(value, choice, root, path) for choice in choices]
    if problems.count(None) == 1:
        return None
    # The choice that shares a key is the one that was meant.
    meant = [why for why, choice in zip(problems, choices) if set(choice["required"]) & set(value)]
    return meant[0] if len(meant) == 1 else f"{path} is none or several of the choices: {json.dumps(value)}"


def _object_problem(value, schema, root, path):
    if not isinstance(value, dict):
        return None
    properties = schema.get("properties", {})
    for key in schema.get("required", []):
        if key not in value:
            return f"{path}.{key} is missing"
    for key, one in value.items():
        if key in properties:
            why = problem(one, properties[key], root, f"{path}.{key}")
            if why:
                return why
        elif schema.get("additionalProperties") is False:
            return f"{path}.{key} is unknown"
    return None


def _array_problem(value, schema, root, path):
    if not isinstance(value, list) or "items" not in schema:
        return None
    problems = (
        problem(one, schema["items"], root, f"{path}[{index}]") for index, one in enumerate(value)
    )
    return next((why for why in problems if why), None)

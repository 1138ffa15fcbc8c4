"""Adapters that do not keep to the README. The first argument says how."""

import json
import pathlib
import sys

HOW = sys.argv[1]
SCHEMA = json.loads((pathlib.Path(__file__).parents[2] / "scenario.schema.json").read_text("utf-8"))
FEATURES = SCHEMA["properties"]["needs"]["items"]["enum"]

for line in sys.stdin:
    command = json.loads(line)["cmd"]
    if command == "info":
        print(json.dumps({"client": "odd", "features": FEATURES}), flush=True)
    elif HOW == "ends":
        sys.exit(0)
    elif HOW == "prints":
        print("connected!", flush=True)
    elif HOW == "incomplete":
        print("{}", flush=True)
    elif HOW == "endless":
        print(json.dumps({"effects": [], "next": 0}), flush=True)
    elif HOW == "idle":
        print(json.dumps({"effects": [], "next": None}), flush=True)

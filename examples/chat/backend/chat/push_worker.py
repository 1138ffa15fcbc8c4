"""Sends a push to users that are away. This one only prints; a real one calls a push service."""

import json

from . import worker


def handle(fields: dict[str, str]) -> None:
    message = json.loads(fields["message"])
    print(f"push to user {fields['user']}: {message['from']}: {message['text']}", flush=True)


def main() -> None:
    worker.run(worker.connect(), "gateway:{presence}:offline", "push", handle)


if __name__ == "__main__":
    main()

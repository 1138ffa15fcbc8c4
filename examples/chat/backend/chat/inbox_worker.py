"""Stores the messages that clients send, and publishes them to the room and to its members."""

import json
import re
from typing import Any

import redis

from . import worker
from .store import Store

MAX_TEXT = 4_000
# A number that SQLite can store.
NUMBER = re.compile(r"[0-9]{1,18}")


def parse(fields: dict[str, str]) -> tuple[int, int, str] | None:
    """
    The room, the sender and the text of an entry; None for one that can never be stored. An exception would end the worker
    each time it reads this entry, before it handles the next ones.
    """
    namespace, _, room = fields["channel"].partition(":")
    if namespace != "room" or not NUMBER.fullmatch(room) or not NUMBER.fullmatch(fields["user"]):
        return None
    try:
        message = json.loads(fields["message"])
    except ValueError:
        # JSON, but with a number of more digits than Python reads.
        return None
    text = message.get("text") if isinstance(message, dict) else None
    if not isinstance(text, str):
        return None
    text = text.strip()
    return (int(room), int(fields["user"]), text) if 0 < len(text) <= MAX_TEXT else None


def publish(client: redis.Redis, channel: str, message: dict[str, Any], key: str, *options: str) -> None:
    """Publishes durably. A repeated call with the same key publishes nothing."""
    client.fcall("gateway_publish", 1, f"gateway:{channel}", json.dumps(message), key, *options)


def handle(store: Store, client: redis.Redis, fields: dict[str, str]) -> None:
    found = parse(fields)
    if found is None or not store.is_member(found[0], found[1]):
        print("dropped: not a message for a room of its sender", flush=True)
        return
    room, user, text = found
    message = store.add_message(room, user, fields["id"], text, int(fields["at"]))
    if message is None:
        return
    key = f"chat-{user}-{fields['id']}"
    publish(client, f"room:{room}", {**message, "user": str(user)}, key)
    # Each other member gets a note, from which the page counts unread messages. A member that is away also gets a push.
    for one in store.members_of(room):
        if one["id"] != user:
            note = {"room": room, "number": message["number"], "from": message["name"], "text": text[:100]}
            publish(client, f"user:{one['id']}", note, key, "push")


def main() -> None:
    store, client = Store(), worker.connect()
    store.prepare()
    worker.run(client, "gateway:inbox", "chat", lambda fields: handle(store, client, fields))


if __name__ == "__main__":
    main()

"""Stores the messages that clients send, and publishes them to the room and to its members."""

import json
from typing import Any

import redis

from . import worker
from .store import Store

MAX_TEXT = 4_000


def parse(fields: dict[str, str]) -> tuple[int, str] | None:
    """The room and the text of an entry. The gateway has checked neither."""
    namespace, _, room = fields["channel"].partition(":")
    message = json.loads(fields["message"])
    text = message.get("text") if isinstance(message, dict) else None
    if namespace != "room" or not room.isascii() or not room.isdigit() or not isinstance(text, str):
        return None
    return (int(room), text.strip()) if 0 < len(text.strip()) <= MAX_TEXT else None


def publish(client: redis.Redis, channel: str, message: dict[str, Any], key: str, *options: str) -> None:
    """Publishes durably. A repeated call with the same key publishes nothing."""
    client.fcall("gateway_publish", 1, f"gateway:{channel}", json.dumps(message), key, *options)


def handle(store: Store, client: redis.Redis, fields: dict[str, str]) -> None:
    found, user = parse(fields), int(fields["user"])
    if found is None or not store.is_member(found[0], user):
        print("dropped: not a message for a room of its sender", flush=True)
        return
    room, text = found
    message = store.add_message(room, user, fields["id"], text, int(fields["at"]))
    if message is None:
        return
    key = f"chat-{user}-{fields['id']}"
    publish(client, f"room:{room}", {**message, "user": str(user)}, key)
    # Those who are elsewhere get the number of unread messages; those who are away also get a push.
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

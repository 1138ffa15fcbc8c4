"""Sends a push to users that are away. This one only prints; a real one calls a push service."""

from . import worker


def handle(fields: dict[str, str]) -> None:
    print(f"push to user {fields['user']}: {fields['message']}", flush=True)


def main() -> None:
    worker.run(worker.connect(), "gateway:{presence}:offline", "push", handle)


if __name__ == "__main__":
    main()

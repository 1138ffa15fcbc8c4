"""A worker that stores its position and resumes from it after a restart.

pip install ./clients/python
GATEWAY=ws://localhost:8080/ TOKEN=42 python3 clients/python/examples/consumer.py user:42
"""

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

from emagine_gateway import Gap, GatewayClient, Message, SessionEnded, SubscriptionRefused


async def consume(channel: str) -> None:
    """Prints each message, then stores its position."""
    file = Path(re.sub(r"[^\w-]", "_", channel) + ".position")
    since = file.read_text() if file.exists() else None

    def on_gap(gap: Gap) -> None:
        print(f"messages on {channel} may be missing ({gap.reason}): load its data", file=sys.stderr)

    url, token = os.environ.get("GATEWAY", "ws://localhost:8080/"), os.environ.get("TOKEN", "42")
    async with GatewayClient(url, token=token) as client:
        room = client.subscribe(channel, since=since)
        for name in (signal.SIGINT, signal.SIGTERM):
            # The loop ends after the messages that have arrived.
            asyncio.get_running_loop().add_signal_handler(name, room.unsubscribe)
        async for event in room.messages(on_gap):
            handle(event)
            # After a crash before this line, the message arrives again.
            if room.position:
                file.write_text(room.position)


def handle(event: Message) -> None:
    """The work for a message."""
    print(json.dumps(event.message), flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(consume(sys.argv[1] if len(sys.argv) > 1 else "all"))
    except (SessionEnded, SubscriptionRefused) as error:
        sys.exit(str(error))

"""The socket of the package ``websockets``."""

import asyncio
import contextlib
import gc
import unittest
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

from websockets.exceptions import ConnectionClosedError

from emagine_gateway import transport


class BrokenSocket:
    """Fails to send, and then to read."""

    def __init__(self) -> None:
        self._has_failed = asyncio.Event()

    async def send(self, text: str) -> None:
        self._has_failed.set()
        raise ConnectionClosedError(None, None)

    async def recv(self) -> str:
        await self._has_failed.wait()
        await asyncio.sleep(0)
        raise ConnectionClosedError(None, None)


@contextlib.asynccontextmanager
async def connect(url: str, **options: Any) -> AsyncIterator[BrokenSocket]:
    """Takes the place of ``websockets.connect``."""
    yield BrokenSocket()


class Transport(unittest.IsolatedAsyncioTestCase):
    async def test_a_failed_send_is_reported_once(self) -> None:
        problems: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        ends: list[tuple[int, str, Exception | None]] = []
        with mock.patch.object(transport, "connect", connect):
            options = transport.SocketOptions()
            socket = transport.WebSocketTransport(
                "ws://gateway.test/", options, lambda data: None, lambda *end: ends.append(end)
            )
            socket.send("hello")
            await asyncio.wait_for(socket.wait_closed(), 10)
        # asyncio reports an error that nobody has looked at when its task is deleted.
        gc.collect()
        self.assertEqual((ends, problems), ([(1006, "", None)], []))


if __name__ == "__main__":
    unittest.main()

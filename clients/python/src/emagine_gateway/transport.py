"""One WebSocket of the package ``websockets``."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

# At the level DEBUG, `websockets` would log every frame, with tokens and messages.
_LOGGER = logging.getLogger("emagine_gateway.websocket")
_LOGGER.setLevel(logging.INFO)

_CLOSE_TIMEOUT = 1.0
"""How long the other side may take to close, in seconds."""


class Transport(Protocol):
    """A socket that is being opened, is open, or is closed."""

    def send(self, text: str) -> None:
        """Sends a text, in order."""

    def close(self, code: int) -> None:
        """Closes it. Nothing is reported after that."""

    async def wait_closed(self) -> None:
        """Returns when nothing of it is left."""


OnMessage = Callable[[str | bytes], None]
OnEnd = Callable[[int, str, Exception | None], None]
"""Gets the close code (1006 without a Close), the reason, and the error if there is one."""
OpenTransport = Callable[[str, OnMessage, OnEnd], Transport]


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """How sockets are opened."""

    ssl: SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``connect``.

        The core has its own timeouts and heartbeats. A message may be as long as the gateway allows,
        so the client sets no limit.
        """
        arguments: dict[str, Any] = {
            "additional_headers": dict(self.headers),
            "open_timeout": None,
            "close_timeout": _CLOSE_TIMEOUT,
            "ping_interval": None,
            "max_size": None,
            "logger": _LOGGER,
        }
        if self.ssl is not None:
            arguments["ssl"] = self.ssl
        return arguments


class WebSocketTransport:
    """A socket. It reads when the event loop is free, so a busy process reads less."""

    def __init__(self, url: str, options: SocketOptions, on_message: OnMessage, on_end: OnEnd) -> None:
        self._url = url
        self._options = options
        self._on_message = on_message
        self._on_end = on_end
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._socket: ClientConnection | None = None
        self._is_closed = False
        self._tasks = [asyncio.create_task(self._run())]

    def send(self, text: str) -> None:
        """Sends a text, in order."""
        self._outgoing.put_nowait(text)

    def close(self, code: int) -> None:
        """Closes it. Nothing is reported after that."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._socket is None:
            self._tasks[0].cancel()
        else:
            self._tasks.append(asyncio.create_task(self._socket.close(code)))

    async def wait_closed(self) -> None:
        """Returns when nothing of it is left."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        code, reason, error = 1006, "", None
        try:
            async with connect(self._url, **self._options.arguments()) as socket:
                self._socket = socket
                await self._read(socket)
        except ConnectionClosed as closed:
            if closed.rcvd:
                code, reason = closed.rcvd.code, closed.rcvd.reason
        except Exception as problem:  # The handshake, DNS, TLS: each has errors of its own.
            error = problem
        if not self._is_closed:
            self._is_closed = True
            self._on_end(code, reason, error)

    async def _read(self, socket: ClientConnection) -> None:
        writer = asyncio.create_task(self._write(socket))
        try:
            while True:
                data = await socket.recv()
                if not self._is_closed:
                    self._on_message(data)
        finally:
            writer.cancel()

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            # A socket that cannot send ends the reader, which reports it.
            await socket.send(await self._outgoing.get())

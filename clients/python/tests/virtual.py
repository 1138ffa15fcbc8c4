"""An event loop in virtual time, and sockets whose other end is the test."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from emagine_gateway import GatewayClient, Subscription
from emagine_gateway.runner import Environment
from emagine_gateway.transport import OnEnd, OnMessage

START_MS = 1_700_000_000_000
_TURNS = 20
"""How many turns of the loop end all work that is left at one time."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only in ``advance``."""

    def __init__(self) -> None:
        super().__init__()
        self.ms = 0.0
        # Timers are due in spite of rounding.
        self._clock_resolution = 1e-6
        self.set_exception_handler(self._on_exception)

    def time(self) -> float:
        """The virtual time in seconds."""
        return self.ms / 1_000

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A test may end before it looks at the result of a task."""
        if "never retrieved" not in context["message"]:
            self.default_exception_handler(context)

    def settle(self) -> None:
        """Runs until nothing is left to do at this time."""
        for _ in range(_TURNS):
            self.call_soon(self.stop)
            self.run_forever()


class FakeTransport:
    """A socket. ``sent`` has the texts that the client sent."""

    def __init__(self, url: str, on_message: OnMessage, on_end: OnEnd) -> None:
        self.url = url
        self.sent: list[str] = []
        self.closed_with: int | None = None
        self.is_over = False
        self._on_message = on_message
        self._on_end = on_end
        self.on_send: Callable[[str], None] = lambda text: None
        self.on_close: Callable[[int], None] = lambda code: None

    def send(self, text: str) -> None:
        """The client sends a text."""
        self.sent.append(text)
        self.on_send(text)

    def close(self, code: int) -> None:
        """The client closes the socket."""
        self.is_over = True
        self.closed_with = code
        self.on_close(code)

    async def wait_closed(self) -> None:
        """Nothing is left."""

    def receive(self, frame: object) -> None:
        """The client receives a frame, or a text."""
        if not self.is_over:
            self._on_message(frame if isinstance(frame, str) else json.dumps(frame))

    def end(self, code: int = 1006, reason: str = "", error: Exception | None = None) -> None:
        """The socket ends."""
        if not self.is_over:
            self.is_over = True
            self._on_end(code, reason, error)

    def frames(self, op: int) -> list[dict[str, Any]]:
        """The frames that the client sent with this op."""
        return [frame for frame in map(json.loads, self.sent) if frame["op"] == op]


class World:
    """A client with a virtual loop, fake sockets, and records of what it reports."""

    def __init__(self, **options: Any) -> None:
        self.loop = VirtualLoop()
        self.random = 0.5
        self.is_silent = False
        """The gateway does not answer heartbeats."""
        self.sockets: list[FakeTransport] = []
        self.states: list[Any] = []
        self.errors: list[Any] = []
        self.events: list[Any] = []
        environment = Environment(self.now, lambda: self.random, self._open)
        given: dict[str, Any] = {"token": "secret-token", "environment": environment, **options}
        self.client = GatewayClient("ws://gateway.test/", **given)
        self.client.on("state", self.states.append)
        self.client.on("error", self.errors.append)
        self.client.on("event", self.events.append)

    def now(self) -> float:
        """Unix time in milliseconds."""
        return START_MS + self.loop.ms

    @property
    def socket(self) -> FakeTransport:
        """The latest socket."""
        return self.sockets[-1]

    def subscribe(self, channel: str, **options: Any) -> Subscription:
        """Subscribes in the loop."""
        subscription: Subscription = self.do(lambda: self.client.subscribe(channel, **options))
        return subscription

    def do(self, call: Callable[[], Any]) -> Any:
        """Runs a function of the app in the loop, and returns its result."""
        results: list[Any] = []
        errors: list[Exception] = []

        def run() -> None:
            try:
                results.append(call())
            except Exception as error:
                errors.append(error)

        self.loop.call_soon(run)
        self.loop.settle()
        if errors:
            raise errors[0]
        return results[0]

    def task(self, coroutine: Any) -> "asyncio.Task[Any]":
        """Starts a task."""
        task = self.loop.create_task(coroutine)
        self.loop.settle()
        return task

    @property
    def next_ms(self) -> float | None:
        """The time until the next timer of the client."""
        timers = self.client._core.timers
        return None if timers.deadline is None else max(0, timers.deadline - self.now())

    def advance(self, ms: float) -> None:
        """Passes time, and runs each timer that is due."""
        end = self.loop.ms + ms
        while (next_ms := self.next_ms) is not None and self.loop.ms + next_ms <= end:
            self.loop.ms += next_ms
            self.loop.settle()
        self.loop.ms = end
        self.loop.settle()

    def hello(self, **limits: int) -> dict[str, Any]:
        """Sends Hello. Returns the Identify of the client."""
        given = {"message_bytes": 65_536, "messages_per_minute": 120, **limits}
        self.receive({"op": 0, "heartbeat_interval": 45_000, "v": 2, "session": "00", "limits": given})
        return self.socket.frames(1)[0]

    def ready(self, *channels: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Sends Hello, and Ready with these channels and the session's own. Returns the Identify."""
        identify = self.hello(**more.pop("limits", {}))
        names = [channel["channel"] for channel in channels]
        own = [{"channel": name, "position": "1-0"} for name in ("user:42", "all") if name not in names]
        self.receive({"op": 2, "user": "42", "session": "00", "channels": [*own, *channels], **more})
        return identify

    def receive(self, frame: object) -> None:
        """The client receives a frame."""
        self.socket.receive(frame)
        self.loop.settle()

    def end(self, code: int = 1006, reason: str = "") -> None:
        """The latest socket ends."""
        self.socket.end(code, reason)
        self.loop.settle()

    def reconnect(self) -> None:
        """Passes the wait before the next attempt."""
        self.advance(self.states[-1].retry_in * 1_000)

    def close(self) -> None:
        """Closes the client and the loop."""
        self.loop.run_until_complete(self.client.close())
        self.loop.close()

    def _open(self, url: str, on_message: OnMessage, on_end: OnEnd) -> FakeTransport:
        socket = FakeTransport(url, on_message, on_end)
        socket.on_send = lambda text: self._answer(socket, json.loads(text))
        self.sockets.append(socket)
        return socket

    def _answer(self, socket: FakeTransport, frame: dict[str, Any]) -> None:
        """Answers heartbeats."""
        if frame["op"] == 10 and not self.is_silent:
            self.loop.call_soon(socket.receive, {"op": 11, "time": frame["time"]})

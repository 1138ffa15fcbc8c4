"""The adapter of this client for clients/conformance. The README there describes the commands."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Any

from virtual import FakeTransport, World

from emagine_gateway import BackoffOptions, ChannelEvent, GatewayError, Subscription
from emagine_gateway.events import ErrorEvent, StateEvent
from emagine_gateway.transport import OnEnd, OnMessage

FEATURES = [
    "disconnect",
    "history",
    "last",
    "members",
    "presence",
    "refresh",
    "send",
    "signal",
    "token_function",
    "wake",
]


class ConformanceWorld(World):
    """A client that reports all that it does."""

    def __init__(self, options: dict[str, Any], random: float) -> None:
        self.effects: list[dict[str, Any]] = []
        self.asked: list[asyncio.Future[str | None]] = []
        self.subscriptions: dict[str, Subscription] = {}
        super().__init__(
            token=options.get("token", self._ask),
            backoff=BackoffOptions(
                options["backoff_base_ms"] / 1_000,
                options["backoff_max_ms"] / 1_000,
                options["backoff_stable_ms"] / 1_000,
            ),
            connect_timeout=options["connect_timeout_ms"] / 1_000,
            heartbeat_timeout=options["heartbeat_timeout_ms"] / 1_000,
        )
        self.random = random
        self.client.on("state", self._on_state)
        self.client.on("error", self._on_error)
        self.client.on("event", self._on_event)

    def report(self, type: str, **fields: Any) -> None:
        """Adds an effect."""
        self.effects.append(
            {"type": type, **{key: value for key, value in fields.items() if value is not None}}
        )

    def act(self, action: str, given: dict[str, Any]) -> None:
        """Calls the client."""
        client, label = self.client, given.pop("as", None)
        match action:
            case "connect" | "refresh" | "wake":
                self.do(getattr(client, action))
            case "close" | "disconnect":
                self.task(getattr(client, action)())
            case "subscribe":
                channel = given.pop("channel")
                self.subscriptions[channel] = self.do(lambda: client.subscribe(channel, **given))
            case "unsubscribe":
                self.do(self.subscriptions[given["channel"]].unsubscribe)
            case "signal":
                self.do(lambda: client.signal(**given))
            case "send":
                self._settle(label, client.send(**given), lambda id: {"id": id})
            case "history" | "members":
                self._settle(label, getattr(client, action)(**given), asdict)

    def _settle(
        self, label: str | None, call: Coroutine[Any, Any, Any], fields_of: Callable[[Any], dict[str, Any]]
    ) -> None:
        """Reports the result of a call."""

        async def run() -> None:
            try:
                self.report("done", **{"as": label}, **fields_of(await call))
            except GatewayError as error:
                self.report("failed", **{"as": label}, code=error.code)

        self.task(run())

    async def _ask(self, reason: str) -> str | None:
        self.report("token", reason=reason)
        answer: asyncio.Future[str | None] = self.loop.create_future()
        self.asked.append(answer)
        return await answer

    def _on_state(self, event: StateEvent) -> None:
        self.report("state", state=event.state, code=event.code)

    def _on_error(self, event: ErrorEvent) -> None:
        self.report("error", where=event.where)

    def _on_event(self, event: ChannelEvent) -> None:
        fields = asdict(event)
        if isinstance(presence := fields.pop("presence", None), dict):
            fields.update(presence)
        effect = {"event": event.type, **fields}
        self.report("event", **effect)
        if "message" in effect or "signal" in effect:
            # A message may be null.
            self.effects[-1].update({key: effect[key] for key in ("message", "signal") if key in effect})

    def _open(self, url: str, on_message: OnMessage, on_end: OnEnd) -> FakeTransport:
        socket = super()._open(url, on_message, on_end)
        number = len(self.sockets)
        self.report("open", socket=number, url=url)
        socket.on_send = lambda text: self.report("frame", socket=number, text=text)
        socket.on_close = lambda code: self.report("close", socket=number, code=code)
        return socket


def carry_out(world: ConformanceWorld, cmd: str, given: dict[str, Any]) -> None:
    """Carries out a command."""
    socket = world.sockets[given["socket"] - 1] if "socket" in given else None
    match cmd:
        case "do":
            world.act(given.pop("action"), given)
        case "receive" if socket:
            socket.receive(given["text"])
        case "close" if socket:
            socket.end(given["code"], given.get("reason", ""))
        case "cut" if socket:
            socket.end()
        case "refuse" if socket:
            socket.end(error=ConnectionError(f"HTTP {given['status']}"))
        case "advance":
            world.advance(given["ms"])
        case "random":
            world.random = given["value"]
        case "token":
            answer = world.asked.pop(0)
            if answer.done():
                pass
            elif given.get("error"):
                answer.set_exception(RuntimeError("no token"))
            else:
                answer.set_result(given["token"])
    world.loop.settle()


def main() -> None:
    """Replies to each line."""
    world: ConformanceWorld | None = None
    for line in sys.stdin:
        given = json.loads(line)
        cmd = given.pop("cmd")
        if cmd == "info":
            reply: dict[str, Any] = {"client": "emagine-gateway (Python)", "features": FEATURES}
        else:
            if cmd == "start":
                if world:
                    world.close()
                world = ConformanceWorld(given["options"], given["random"])
            elif world:
                carry_out(world, cmd, given)
            assert world is not None
            reply = {"effects": world.effects, "next": world.next_ms}
            world.effects = []
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()

"""Real gateways and Redis servers on free ports, and a proxy that cuts connections."""

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[3]
_TARGET = Path(os.environ.get("CARGO_TARGET_DIR", _REPOSITORY / "target"))
BINARY = os.environ.get("GATEWAY_BINARY", str(_TARGET / "debug/emagine-gateway"))
_DEADLINE_S = 20


async def eventually(what: str, is_so: Callable[[], bool | Awaitable[bool]]) -> None:
    """Waits until something is so."""
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while True:
                result = is_so()
                if result if isinstance(result, bool) else await result:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {_DEADLINE_S} s: {what}") from None


@contextlib.asynccontextmanager
async def _running(*command: str, stderr: int | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs a program in a temporary directory."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env={**environment, "RUST_LOG": "info"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@dataclass(frozen=True)
class Ports:
    """The ports of a gateway."""

    public: int
    admin: int


@contextlib.asynccontextmanager
async def redis_server() -> AsyncIterator[int]:
    """A redis-server without persistence. Yields its port."""
    if not shutil.which("redis-server"):
        raise AssertionError("redis-server is not installed: run scripts/setup redis")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    async with _running("redis-server", *arguments):

        async def answers() -> bool:
            try:
                publisher = await Publisher.connect(port)
            except OSError:
                return False
            await publisher.close()
            return True

        await eventually("Redis answers", answers)
        yield port


@contextlib.asynccontextmanager
async def gateway(redis_port: int, **settings: str) -> AsyncIterator[Ports]:
    """A gateway. Yields its ports."""
    if not os.path.exists(BINARY):
        raise AssertionError(f"{BINARY} does not exist: run cargo build --bin emagine-gateway")
    given = {
        "server.public_addr": "127.0.0.1:0",
        "server.admin_addr": "127.0.0.1:0",
        "server.workers": "2",
        "auth.kind": "insecure",
        "broker.url": f"redis://127.0.0.1:{redis_port}",
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    arguments = [part for name, value in given.items() for part in ("--set", f"{name}={value}")]
    async with _running(BINARY, *arguments, stderr=asyncio.subprocess.PIPE) as process:
        assert process.stderr is not None
        lines: list[str] = []
        ports: dict[str, int] = {}
        async with asyncio.timeout(_DEADLINE_S):
            while len(ports) < 2:
                line = (await process.stderr.readline()).decode()
                if not line:
                    raise AssertionError("the gateway has ended:\n" + "".join(lines))
                lines.append(line)
                if found := re.search(r"(public|admin): listening on [^ ]*:(\d+)", line):
                    ports[found[1]] = int(found[2])
        drain = asyncio.create_task(process.stderr.read())
        try:

            async def is_ready() -> bool:
                return (await get(ports["admin"], "/readyz"))[0] == 200

            # It has a link to Redis, and has loaded its functions.
            await eventually("the gateway is ready", is_ready)
            yield Ports(ports["public"], ports["admin"])
        finally:
            drain.cancel()


async def get(port: int, path: str) -> tuple[int, bytes]:
    """The status and the body of a GET of the admin port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def inbox_of(port: int) -> list[Any]:
    """All messages of the inbox, from the admin port."""
    messages: list[Any] = []
    after = ""
    while True:
        page = json.loads((await get(port, f"/v1/inbox?limit=100{after}"))[1])
        messages += [entry["message"] for entry in page["messages"]]
        if page["next"] is None:
            return messages
        after = f"&after={page['next']}"


class Publisher:
    """Publishes durable messages with the function of Redis."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "Publisher":
        """Connects to Redis."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def publish(self, channel: str, message: object) -> str:
        """Publishes a durable message. Returns its position."""
        return await self.command("FCALL", "gateway_publish", "1", f"gateway:{channel}", json.dumps(message))

    async def command(self, *words: str) -> str:
        """Sends a command whose reply is a text."""
        encoded = [word.encode() for word in words]
        parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
        self._writer.write(b"*%d\r\n%s" % (len(parts), b"".join(parts)))
        line = await self._reader.readline()
        if line.startswith(b"-"):
            raise AssertionError(line.decode())
        if not line.startswith(b"$"):
            return line[1:-2].decode()
        return (await self._reader.readexactly(int(line[1:]) + 2))[:-2].decode()

    async def close(self) -> None:
        """Disconnects."""
        self._writer.close()
        await self._writer.wait_closed()


class FaultProxy:
    """Forwards to a gateway, and cuts connections at seeded random points.

    While ``cuts_left`` is more than 0, each connection is cut after a random number of bytes to the
    client: in the handshake, in the middle of a frame, or long after Ready. It is reset, closed in
    order, or becomes silent, which only the client's heartbeat detects.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.cuts_left = 0
        self.cuts = {"reset": 0, "end": 0, "silence": 0}
        self.on_silence: Callable[[], None] = lambda: None
        self._port = port
        self._random = random.Random(seed)
        self._clients: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Yields the URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        finally:
            server.close()
            self.cut_all()

    def cut_all(self) -> None:
        """Resets every connection."""
        for client in list(self._clients):
            _reset(client)

    async def _serve(self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self._clients.add(client)
        from_gateway, gateway = await asyncio.open_connection("127.0.0.1", self._port)
        up = asyncio.create_task(_copy(from_client, gateway))
        try:
            await self._copy_until_cut(from_gateway, client)
        except OSError:
            pass
        finally:
            up.cancel()
            gateway.transport.abort()
            client.close()
            self._clients.discard(client)

    async def _copy_until_cut(self, from_gateway: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        kind = "silence" if self._random.random() < 0.05 else self._random.choice(["reset", "end"])
        left = self._random.randrange(4_000) if self.cuts_left > 0 else 1 << 60
        while data := await from_gateway.read(65_536):
            # The bytes before the cut are forwarded, so that frames are cut in two.
            client.write(data[:left])
            left -= len(data)
            if left > 0 or self.cuts_left <= 0:
                continue
            await client.drain()
            self.cuts_left -= 1
            self.cuts[kind] += 1
            if kind == "reset":
                _reset(client)
            elif kind == "silence":
                self.on_silence()
                await client.wait_closed()
            return


def _reset(client: asyncio.StreamWriter) -> None:
    """Ends a connection with RST instead of FIN."""
    raw = client.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

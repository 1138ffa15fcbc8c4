"""The client against a real gateway and Redis, through a proxy that cuts connections."""

import asyncio
import os
import sys
import tempfile
import unittest
from contextlib import AsyncExitStack
from pathlib import Path

from readme import readme_programs
from servers import FaultProxy, Publisher, eventually, gateway, inbox_of, redis_server

from emagine_gateway import (
    BackoffOptions,
    Gap,
    GatewayClient,
    Message,
    SessionEnded,
    Signal,
    Subscribed,
    Subscription,
    SubscriptionRefused,
)

CUTS = int(os.environ.get("CUTS", "100"))
SEED = int(os.environ.get("SEED", "42"))
CHANNELS = ("user:42", "all", "room:7")
CONSUMER = str(Path(__file__).parents[1] / "examples/consumer.py")
AHEAD = 300
"""How far the publisher may be ahead of the reader: less than the length of a history (1000)."""


class GatewayTest(unittest.IsolatedAsyncioTestCase):
    """One Redis and one gateway for each test."""

    async def asyncSetUp(self) -> None:
        # The debug mode of the base class reports each slow turn of a busy machine.
        asyncio.get_running_loop().set_debug(False)
        stack = await self.enterAsyncContext(AsyncExitStack())
        redis = await stack.enter_async_context(redis_server())
        self.ports = await stack.enter_async_context(gateway(redis, **self.settings()))
        self.publisher = await Publisher.connect(redis)
        stack.push_async_callback(self.publisher.close)

    def settings(self) -> dict[str, str]:
        """The settings of the gateway."""
        return {}

    def client(self, user: str = "42") -> GatewayClient:
        """A client without a proxy."""
        return GatewayClient(f"ws://127.0.0.1:{self.ports.public}/", token=user)


class OpenGateway(GatewayTest):
    """A gateway that accepts every token."""

    def settings(self) -> dict[str, str]:
        return {
            "namespaces__room__subscribe": "public",
            "namespaces__room__send": "true",
            "namespaces__room__signals": "true",
            "namespaces__room__max_last": "50",
            "session__sends_per_minute": "60000",
            "limits__connects_per_second_per_address": "0",
            "limits__identifies_per_minute_per_user": "0",
        }

    async def test_delivers_and_sends_every_message_once_over_cuts(self) -> None:
        proxy = FaultProxy(self.ports.public, SEED)
        received: dict[str, list[int]] = {channel: [] for channel in CHANNELS}
        gaps: list[Gap] = []

        async def read(room: Subscription) -> None:
            async for event in room:
                if isinstance(event, Message):
                    received[event.channel].append(event.message["n"])
                elif isinstance(event, Gap):
                    gaps.append(event)

        fast = BackoffOptions(base=0.005, max=0.05, stable=0.001)
        async with (
            asyncio.TaskGroup() as tasks,
            proxy.listening() as url,
            GatewayClient(
                url, token="42", backoff=fast, connect_timeout=1.0, heartbeat_timeout=0.2
            ) as client,
        ):
            # The heartbeat detects a silent connection within 45 s; `wake` checks at once.
            proxy.on_silence = client.wake
            for room in [client.subscribe(channel) for channel in CHANNELS]:
                tasks.create_task(read(room))
                # From now on it has a position.
                await room.ready()
            proxy.cuts_left = CUTS
            proxy.cut_all()
            sending = tasks.create_task(self._send_until_cut(proxy, client))
            published = await self._publish_until_cut(proxy, received)
            sent = await sending
        for channel in CHANNELS:
            self.assertEqual(received[channel], list(range(1, published + 1)), f"{channel}, seed {SEED}")
        self.assertEqual(gaps, [])
        self.assertEqual(sum(proxy.cuts.values()), CUTS)
        self.assertEqual(await inbox_of(self.ports.admin), list(range(1, sent + 1)))

    async def _publish_until_cut(self, proxy: FaultProxy, received: dict[str, list[int]]) -> int:
        """Publishes until all cuts are made and all messages have arrived. Returns their number."""
        published = 0

        def is_near() -> bool:
            return min(map(len, received.values())) > published - AHEAD

        def has_all() -> bool:
            return min(map(len, received.values())) >= published

        while proxy.cuts_left > 0:
            published += 1
            for channel in CHANNELS:
                await self.publisher.publish(channel, {"n": published, "pad": "x" * (published % 200)})
            if published % 20 == 0:
                await eventually("the reader keeps up", is_near)
        await eventually(f"all {published} messages of each channel arrive", has_all)
        return published

    async def _send_until_cut(self, proxy: FaultProxy, client: GatewayClient) -> int:
        """Sends messages to the backend until all cuts are made. Returns their number."""
        sent = 0
        while proxy.cuts_left > 0:
            sent += 1
            await client.send("room:7", sent)
        return sent

    async def test_sends_signals_and_reads_history(self) -> None:
        async with self.client() as one, self.client("43") as other:
            async with one.subscribe("room:7") as room, other.subscribe("room:7") as heard:
                await asyncio.gather(room.ready(), heard.ready())
                one.signal("room:7", {"typing": True})
                self.assertEqual(await one.send("room:7", {"text": "hello"}, id="c1"), "c1")
                await self.publisher.publish("room:7", {"n": 1})
                events = [await anext(heard) for _ in range(3)]
            self.assertIsInstance(events[0], Subscribed)
            self.assertIn(Signal("room:7", "42", {"typing": True}), events)
            page = await one.history("room:7")
            self.assertEqual([stored.message for stored in page.messages], [{"n": 1}])
            self.assertIsNone(page.before)
            with self.assertRaises(SubscriptionRefused) as refused:
                await one.subscribe("secret:1").ready()
            self.assertEqual(refused.exception.code, "not_allowed")
        self.assertEqual(one.state, "closed")

    async def test_runs_the_consumer_which_resumes_after_a_restart(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        first = await self._start(CONSUMER, "user:42", cwd=folder)
        await self._publish_until_printed(first, {"n": 1})
        for n in (2, 3):
            await self.publisher.publish("user:42", {"n": n})
        first.terminate()
        rest, _ = await first.communicate()
        self.assertEqual(first.returncode, 0)
        second = await self._start(CONSUMER, "user:42", cwd=folder)
        await self.publisher.publish("user:42", {"n": 4})
        assert second.stdout is not None
        printed = rest.splitlines()
        async with asyncio.timeout(20):
            while b'{"n": 4}' not in printed:
                line = await second.stdout.readline()
                self.assertTrue(line, "the consumer has ended")
                printed.append(line.strip())
        self.assertEqual(
            [line for line in printed if line != b'{"n": 1}'], [b'{"n": %d}' % n for n in (2, 3, 4)]
        )

    async def test_runs_the_quick_start_of_the_readme(self) -> None:
        program = readme_programs()[0].replace("localhost:8080", f"127.0.0.1:{self.ports.public}")
        process = await self._start("-u", "-c", program)
        line = await self._publish_until_printed(process, {"text": "hello"}, "room:7")
        self.assertEqual(line, b"{'text': 'hello'}\n")

    async def _start(self, *arguments: str, cwd: str | None = None) -> asyncio.subprocess.Process:
        """Runs a program of Python until the test ends."""
        environment = {**os.environ, "GATEWAY": f"ws://127.0.0.1:{self.ports.public}/", "TOKEN": "42"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=cwd, env=environment, stdout=asyncio.subprocess.PIPE
        )

        async def end() -> None:
            if process.returncode is None:
                process.kill()
                await process.communicate()

        self.addAsyncCleanup(end)
        return process

    async def _publish_until_printed(
        self, process: asyncio.subprocess.Process, message: object, channel: str = "user:42"
    ) -> bytes:
        """Publishes a message until the program is subscribed. Returns its first line."""
        assert process.stdout is not None
        reading = asyncio.create_task(process.stdout.readline())

        async def is_printed() -> bool:
            await self.publisher.publish(channel, message)
            return reading.done()

        await eventually("the message is printed", is_printed)
        return await reading


class VerifyingGateway(GatewayTest):
    """A gateway that verifies tokens."""

    def settings(self) -> dict[str, str]:
        return {"auth__kind": "jwt", "auth__secret": "a secret of at least thirty-two bytes"}

    async def test_raises_after_its_token_is_refused(self) -> None:
        async with self.client("nobody") as client:
            with self.assertRaises(SessionEnded) as ended:
                await anext(client.subscribe("room:7"))
            self.assertEqual(ended.exception.close_code, 4003)
            with self.assertRaises(SessionEnded):
                await client.ready()

    async def test_never_logs_a_token(self) -> None:
        with self.assertLogs(level="DEBUG") as logs:
            async with self.client("nobody") as client:
                with self.assertRaises(SessionEnded):
                    await client.ready()
        self.assertIn("4003", str(logs.output))
        self.assertNotIn("nobody", str(logs.output))


if __name__ == "__main__":
    unittest.main()

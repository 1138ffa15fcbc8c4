"""What an app sees: loops, errors and requests, in virtual time."""

import asyncio
import unittest
from typing import Any

from virtual import World

from emagine_gateway import (
    BufferOverflow,
    ChannelEvent,
    Gap,
    GatewayClient,
    GatewayError,
    Message,
    MessageError,
    Online,
    Presence,
    RequestError,
    RoomCount,
    SessionEnded,
    Signal,
    Subscribed,
    SubscriptionRefused,
)


def message(n: int, position: str | None = None, channel: str = "room:7") -> dict[str, Any]:
    """A message frame."""
    return {"op": 3, "channel": channel, "message": n, **({"position": position} if position else {})}


ROOM = {"channel": "room:7", "position": "5-0"}


class ClientTest(unittest.TestCase):
    def world(self, *channels: dict[str, Any], **options: Any) -> World:
        """A client that is connected and subscribed to these channels."""
        world = World(**options)
        self.addCleanup(world.close)
        self.subscriptions = [world.subscribe(channel["channel"]) for channel in channels]
        world.do(world.client.connect)
        world.ready(*{channel["channel"]: channel for channel in channels}.values())
        return world

    def take(self, world: World, stream: Any, count: int = 1) -> list[ChannelEvent]:
        """The next events, which are there already."""
        return [world.task(anext(stream)).result() for _ in range(count)]


class Loops(ClientTest):
    def test_yields_the_events_since_the_subscription(self) -> None:
        world = self.world(ROOM)
        world.receive(message(1, "5-1"))
        world.receive({"op": 8, "channel": "room:7", "reason": "link_lost"})
        self.assertEqual(
            self.take(world, self.subscriptions[0], 3),
            [Subscribed("room:7", "5-0"), Message("room:7", 1, "5-1"), Gap("room:7", "link_lost")],
        )
        self.assertFalse(world.task(anext(self.subscriptions[0])).done())

    def test_gives_every_subscription_every_event(self) -> None:
        world = self.world(ROOM, ROOM)
        late = world.subscribe("room:7")
        world.receive(message(1, "5-1"))
        for subscription in (*self.subscriptions, late):
            self.assertEqual(
                self.take(world, subscription, 2),
                [Subscribed("room:7", "5-0"), Message("room:7", 1, "5-1")],
            )

    def test_loses_nothing_when_a_wait_is_cancelled(self) -> None:
        world = self.world(ROOM)
        room = self.subscriptions[0]
        self.take(world, room)
        waiting = world.task(anext(room))
        world.loop.call_soon(waiting.cancel)
        world.loop.call_soon(world.socket.receive, message(1, "5-1"))
        world.loop.settle()
        self.assertTrue(waiting.cancelled())
        self.assertEqual(self.take(world, room), [Message("room:7", 1, "5-1")])

    def test_knows_the_position_of_the_last_event_it_yielded(self) -> None:
        world = self.world(ROOM)
        room = self.subscriptions[0]
        world.receive(message(1, "5-1"))
        self.assertIsNone(room.position)
        positions = []
        for _ in range(2):
            self.take(world, room)
            positions.append(room.position)
        self.assertEqual(positions, ["5-0", "5-1"])

    def test_throws_buffer_overflow_after_the_buffered_events(self) -> None:
        world = self.world(ROOM, buffer_size=3)
        room = self.subscriptions[0]
        self.take(world, room)
        for n in range(1, 5):
            world.receive(message(n, f"5-{n}"))
        self.assertEqual(room.state, "closed")
        self.assertEqual(world.socket.frames(5), [{"op": 5, "channels": ["room:7"]}])
        self.assertEqual(self.take(world, room, 3)[-1], Message("room:7", 3, "5-3"))
        error = world.task(anext(room)).exception()
        assert isinstance(error, BufferOverflow)
        self.assertEqual((error.code, error.position), ("buffer_overflow", "5-3"))
        self.assertIsInstance(world.task(anext(room)).exception(), StopAsyncIteration)
        world.receive({"op": 6, "channels": [{"channel": "room:7", "state": "unsubscribed"}]})
        world.subscribe("room:7", since=error.position)
        self.assertEqual(world.socket.frames(4)[-1]["channels"], [{"channel": "room:7", "since": "5-3"}])

    def test_stays_subscribed_for_listeners_without_a_loop(self) -> None:
        world = self.world(ROOM, buffer_size=3)
        room = self.subscriptions[0]
        for n in range(1, 9):
            world.receive(message(n, f"5-{n}"))
        self.assertEqual(world.events[-1], Message("room:7", 8, "5-8"))
        self.assertEqual(room.state, "subscribed")
        self.assertIsInstance(world.task(anext(room)).exception(), BufferOverflow)
        self.assertEqual(room.state, "closed")

    def test_ends_when_the_app_unsubscribes_or_closes(self) -> None:
        world = self.world(ROOM, ROOM)
        loops = [world.task(self._count(room)) for room in (*self.subscriptions, world.client.events())]
        world.do(self.subscriptions[0].unsubscribe)
        self.assertEqual([loop.done() for loop in loops], [True, False, False])
        world.task(world.client.close())
        self.assertEqual([loop.done() for loop in loops], [True, True, True])
        self.assertFalse(world.client._subscriptions or world.client._streams)

    async def _count(self, stream: Any) -> int:
        return len([event async for event in stream])

    def test_raises_once_when_the_gateway_ends_the_client(self) -> None:
        world = self.world(ROOM)
        room = self.subscriptions[0]
        self.take(world, room)
        waiting = world.task(anext(room))
        world.end(4010, "banned")
        error = waiting.exception()
        assert isinstance(error, SessionEnded)
        self.assertEqual((error.code, error.close_code, error.reason), ("closed", 4010, "banned"))
        waiting = world.task(anext(room))
        world.do(world.client.connect)
        self.assertEqual(world.ready({**ROOM, "recovered": True})["channels"][2]["since"], "5-0")
        self.assertEqual(waiting.result(), Subscribed("room:7", "5-0"))

    def test_includes_the_own_channels_in_all_events(self) -> None:
        world = self.world()
        stream = world.client.events()
        world.receive(message(1, "1-1", "user:42"))
        self.assertEqual(self.take(world, stream), [Message("user:42", 1, "1-1")])
        stream.close()
        self.assertFalse(world.client._streams)

    def test_yields_only_messages_and_tells_gaps(self) -> None:
        world = self.world(ROOM)
        gaps: list[Gap] = []

        async def on_gap(gap: Gap) -> None:
            gaps.append(gap)

        messages = self.subscriptions[0].messages(on_gap)
        world.receive({"op": 8, "channel": "room:7", "reason": "link_lost"})
        world.receive(message(1))
        self.assertEqual(self.take(world, messages), [Message("room:7", 1)])
        self.assertEqual(gaps, [Gap("room:7", "link_lost")])

    def test_raises_when_the_channel_of_messages_is_refused(self) -> None:
        world = self.world()
        room = world.subscribe("room:7")
        waiting = [world.task(anext(room.messages())), world.task(room.ready())]
        world.receive({"op": 6, "channel": "room:7", "state": "refused", "reason": "not_allowed"})
        for task in waiting:
            error = task.exception()
            assert isinstance(error, SubscriptionRefused)
            self.assertEqual((error.code, error.channel), ("not_allowed", "room:7"))

    def test_reads_the_presence_of_users_and_rooms(self) -> None:
        online = {"channel": "online:ada", "position": "7-0", "presence": {"online": True, "at": 5}}
        world = self.world(online, ROOM)
        ada, room = self.subscriptions
        self.assertEqual(
            self.take(world, ada), [Subscribed("online:ada", "7-0", presence=Online(online=True, at=5))]
        )
        edge = {"online": False, "at": 6}
        world.receive({"op": 3, "channel": "online:ada", "position": "7-1", "message": edge})
        world.receive({"op": 14, "channel": "room:7", "count": 2, "joined": ["ada"]})
        self.assertEqual(self.take(world, room, 2)[1], Presence("room:7", RoomCount(2), ("ada",)))
        late = world.subscribe("online:ada")
        self.assertEqual(
            self.take(world, late), [Subscribed("online:ada", "7-1", presence=Online(online=False, at=6))]
        )


class Listeners(ClientTest):
    def test_survives_a_listener_that_raises(self) -> None:
        world = self.world(ROOM)
        world.client.on("message", lambda event: 1 // 0)
        seen: list[Message] = []
        off = world.client.on("message", seen.append)
        world.receive(message(1, "5-1"))
        self.assertEqual(seen, [Message("room:7", 1, "5-1")])
        self.assertEqual([error.where for error in world.errors], ["listener"])
        off()
        world.receive(message(2, "5-2"))
        self.assertEqual(len(seen), 1)

    def test_accepts_every_call_inside_a_listener(self) -> None:
        world = self.world(ROOM)
        first = self.subscriptions[0]

        def on_message(event: Message) -> None:
            first.unsubscribe()
            world.client.subscribe("room:7", since="5-0")
            world.client.signal("room:7", 1)
            world.client.wake()

        off = world.client.on("message", on_message)
        world.receive(message(1, "5-1"))
        off()
        self.assertEqual(world.socket.frames(5), [{"op": 5, "channels": ["room:7"]}])
        world.receive(message(2, "5-2"))
        world.receive({"op": 6, "channels": [{"channel": "room:7", "state": "unsubscribed"}]})
        self.assertEqual(world.socket.frames(4)[-1]["channels"], [{"channel": "room:7", "since": "5-0"}])

    def test_waits_until_the_client_is_connected(self) -> None:
        world = World()
        self.addCleanup(world.close)
        waiting = world.task(world.client.ready())
        world.do(world.client.connect)
        self.assertFalse(waiting.done())
        world.ready()
        self.assertIsNone(waiting.result())
        world.task(world.client.disconnect())
        error = world.task(world.client.ready()).exception()
        assert isinstance(error, SessionEnded)
        self.assertEqual(error.code, "disconnected")

    def test_refuses_wrong_options(self) -> None:
        with self.assertRaises(ValueError):
            GatewayClient("http://gateway.test/", token="42")
        with self.assertRaises(TypeError):
            GatewayClient("ws://gateway.test/", token=42)  # type: ignore[arg-type]


class Sending(ClientTest):
    def test_returns_when_the_gateway_has_stored_it(self) -> None:
        world = self.world()
        sending = [world.task(world.client.send("room:7", n, id=f"c{n}")) for n in (1, 2)]
        frame = {"op": 16, "id": "c1", "channel": "room:7", "message": 1}
        self.assertEqual(world.socket.frames(16), [frame])
        self.assertEqual(world.client.queued, 2)
        world.receive({"op": 17, "id": "c1"})
        world.receive({"op": 17, "id": "c2"})
        self.assertEqual([task.result() for task in sending], ["c1", "c2"])

    def test_repeats_a_message_with_its_id_after_a_reconnect(self) -> None:
        world = World()
        self.addCleanup(world.close)
        sending = world.task(world.client.send("room:7", "hello"))
        world.do(world.client.connect)
        world.ready()
        first = world.socket.frames(16)
        world.end()
        world.reconnect()
        world.ready()
        self.assertEqual(world.socket.frames(16), first)
        world.receive({"op": 9, "code": "busy", "detail": "", "id": first[0]["id"], "after": 1_000})
        world.advance(1_200)
        self.assertEqual(world.socket.frames(16), first * 2)
        world.receive({"op": 9, "code": "unavailable", "detail": "", "id": first[0]["id"]})
        world.advance(1_000)
        world.receive({"op": 17, "id": first[0]["id"]})
        self.assertEqual(sending.result(), first[0]["id"])

    def test_raises_an_error_with_a_code(self) -> None:
        world = self.world()
        client = world.client
        self._fails(world.task(client.send("a b", 1)), "bad_channel")
        refused = world.task(client.send("room:7", 1, id="c1"))
        self._fails(world.task(client.send("room:7", 2, max_queued=1)), "queue_full")
        world.receive({"op": 9, "code": "not_allowed", "detail": "no", "id": "c1"})
        self.assertEqual(str(self._fails(refused, "not_allowed")), "no")
        malformed = world.task(client.send("room:7", 1))
        world.end(4001)
        self.assertTrue(self._fails(malformed, "malformed").may_be_stored)
        late = world.task(client.send("room:7", 1, repeat_for=1))
        world.task(client.close())
        self._fails(late, "closed")
        self._fails(world.task(client.send("room:7", 1)), "closed")

    def _fails(self, task: "asyncio.Task[Any]", code: str) -> MessageError:
        error = task.exception()
        assert isinstance(error, MessageError), error
        self.assertEqual(error.code, code)
        return error

    def test_forgets_a_message_whose_task_is_cancelled(self) -> None:
        world = self.world()
        first, second = (world.task(world.client.send("room:7", n, id=f"c{n}")) for n in (1, 2))
        world.loop.call_soon(first.cancel)
        world.loop.settle()
        self.assertEqual([frame["id"] for frame in world.socket.frames(16)], ["c1", "c2"])
        world.receive({"op": 17, "id": "c2"})
        self.assertEqual(second.result(), "c2")

    def test_connects_in_a_listener_of_the_end(self) -> None:
        async def token(reason: str) -> str:
            await asyncio.sleep(0)
            return "42"

        def reconnect(event: Any) -> None:
            if event.state == "idle":
                world.client.connect()

        world = self.world(token=token)
        world.client.on("state", reconnect)
        world.task(world.client.disconnect())
        self.assertEqual((world.client.state, len(world.sockets)), ("connecting", 2))

    def test_does_not_send_as_another_user(self) -> None:
        tokens = iter(("ada", "bob"))
        world = self.world(token=lambda reason: next(tokens))
        # So many that no call may recurse for each.
        count = 1_000
        send = world.client.send
        sendings = world.do(
            lambda: [world.loop.create_task(send("room:7", n, max_queued=count)) for n in range(count)]
        )
        world.end()
        world.reconnect()
        world.hello()
        world.receive({"op": 2, "user": "43", "channels": []})
        for sending in sendings:
            self._fails(sending, "user_changed")

    def test_refuses_values_that_are_not_json(self) -> None:
        world = self.world()
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        for value in (object(), float("nan"), {1, 2}, deep):
            self.assertIsInstance(world.task(world.client.send("room:7", value)).exception(), TypeError)
        world.task(world.client.send("room:7", "\ud83d\ude00 \ud800"))
        self.assertEqual(world.socket.frames(16)[0]["message"], "\U0001f600 \ufffd")

    def test_sends_the_newest_signal_of_an_interval(self) -> None:
        world = self.world(ROOM)
        for n in range(3):
            world.do(lambda n=n: world.client.signal("room:7", n))  # type: ignore[misc]
        world.advance(250)
        self.assertEqual([frame["signal"] for frame in world.socket.frames(18)], [0, 2])
        with self.assertRaises(ValueError):
            world.do(lambda: world.client.signal("room:7", "x" * 1_024))
        world.receive({"op": 18, "channel": "room:7", "user": "43", "signal": None})
        self.assertEqual(self.take(world, self.subscriptions[0], 2)[1], Signal("room:7", "43", None))


class Pages(ClientTest):
    def test_reads_all_pages_of_the_history(self) -> None:
        world = self.world(ROOM)

        async def read() -> list[list[int]]:
            pages = world.client.all_history("room:7", limit=2)
            return [[stored.message for stored in page.messages] async for page in pages]

        reading = world.task(read())
        for first, more in ((3, True), (1, False)):
            request = world.socket.frames(19)[-1]
            stored = [{"position": f"5-{n}", "message": n} for n in (first, first + 1)]
            world.receive(
                {"op": 20, "id": request["id"], "channel": "room:7", "messages": stored, "more": more}
            )
        self.assertEqual(reading.result(), [[3, 4], [1, 2]])
        self.assertEqual([frame.get("before") for frame in world.socket.frames(19)], [None, "5-3"])

    def test_subscribes_to_the_room_while_it_reads_members(self) -> None:
        world = self.world()
        reading = world.task(world.client.members("room:7", after="41"))
        world.receive({"op": 6, "channels": [{**ROOM, "state": "subscribed"}]})
        request = world.socket.frames(15)[0]
        self.assertEqual(request, {"op": 15, "channel": "room:7", "after": "41", "id": request["id"]})
        world.receive({**request, "members": ["42"], "next": "42"})
        self.assertEqual((reading.result().members, reading.result().next), (("42",), "42"))
        self.assertEqual(world.socket.frames(5), [{"op": 5, "channels": ["room:7"]}])

    def test_raises_an_error_with_a_code(self) -> None:
        world = self.world(ROOM)
        history = world.client.history
        timeout = world.task(history("room:7", timeout=1))
        world.advance(1_000)
        self._fails(timeout, "timeout")
        never = world.task(history("room:8", timeout=1))
        world.advance(1_000)
        self._fails(never, "timeout")
        unavailable = world.task(history("room:7"))
        answer = {"op": 9, "code": "unavailable", "detail": "later", "id": world.socket.frames(19)[-1]["id"]}
        world.receive(answer)
        self._fails(unavailable, "unavailable")
        self._fails(world.task(history("a b")), "bad_channel")
        disconnected = world.task(history("room:7"))
        world.end()
        self._fails(disconnected, "disconnected")
        closed = world.task(history("room:7"))
        world.task(world.client.close())
        self._fails(closed, "closed")
        self._fails(world.task(history("room:7")), "closed")
        self.assertTrue(issubclass(RequestError, GatewayError))

    def _fails(self, task: "asyncio.Task[Any]", code: str) -> None:
        error = task.exception()
        assert isinstance(error, RequestError), error
        self.assertEqual(error.code, code)

    def test_has_at_most_four_requests_without_an_answer(self) -> None:
        world = self.world(ROOM)
        reading = [world.task(world.client.history("room:7")) for _ in range(5)]
        self.assertEqual(len(world.socket.frames(19)), 4)
        for _ in range(2):
            id = world.socket.frames(19)[-1]["id"]
            world.receive({"op": 20, "id": id, "channel": "room:7", "messages": [], "more": False})
        self.assertEqual(len(world.socket.frames(19)), 5)
        self.assertEqual(sum(task.done() for task in reading), 2)


if __name__ == "__main__":
    unittest.main()

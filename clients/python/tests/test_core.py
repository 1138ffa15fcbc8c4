"""The state machine in virtual time."""

import asyncio
import json
import random
import unittest
from typing import Any

from virtual import World

from emagine_gateway import Gap, Message, Pending, Recovered, Recovering, Refused, SessionEnded, Subscribed


def message(n: int, position: str | None = None, channel: str = "room:7") -> dict[str, Any]:
    """A message frame."""
    return {"op": 3, "channel": channel, "message": n, **({"position": position} if position else {})}


class CoreTest(unittest.TestCase):
    def world(self, *channels: str, **options: Any) -> World:
        """A client that connects, subscribed to these channels."""
        world = World(**options)
        self.addCleanup(world.close)
        for channel in channels:
            world.subscribe(channel)
        world.do(world.client.connect)
        return world

    def room(self) -> World:
        """A client that is subscribed to room:7 and has got its first message."""
        world = self.world("room:7")
        world.ready({"channel": "room:7", "position": "5-0"})
        world.receive(message(1, "5-1"))
        world.events.clear()
        return world


class Reconnecting(CoreTest):
    def test_waits_below_a_bound_that_doubles(self) -> None:
        for value, bounds in ((0.0, [0.0] * 7), (0.5, [0.5, 1, 2, 4, 8, 15, 15])):
            world = self.world()
            world.random = value
            for bound in bounds:
                world.end()
                waits = [event.retry_in for event in world.states if event.state == "waiting"]
                self.assertEqual(waits[-1], bound)
                world.advance(bound * 1_000)

    def test_resets_the_bound_after_a_stable_connection(self) -> None:
        world = self.world()
        for lasts_ms, wait in ((0, 0.5), (9_999, 1), (10_000, 0.5)):
            world.ready()
            world.advance(lasts_ms)
            world.end()
            self.assertEqual(world.states[-1].retry_in, wait)
            world.reconnect()

    def test_follows_the_rule_of_each_close_code(self) -> None:
        waits = {1006: 0.5, 1001: 1.5, 1012: 1.5, 4007: 22.5, 4003: None, 4009: None, 4010: None, 4999: 0.5}
        for code, wait in waits.items():
            with self.subTest(code=code):
                world = self.world()
                world.ready()
                world.end(code, "why")
                last = world.states[-1]
                self.assertEqual((last.code, last.reason, last.retry_in), (code, "why", wait))
                self.assertEqual(last.state, "waiting" if wait else "closed")

    def test_reconnects_when_op_7_says_and_not_earlier(self) -> None:
        world = self.world()
        world.ready()
        world.receive({"op": 7, "after": 1_800, "reason": "draining"})
        world.advance(100)
        world.end(1012)
        world.do(world.client.wake)
        world.advance(1_699)
        self.assertEqual(len(world.sockets), 1)
        world.advance(1)
        self.assertEqual(len(world.sockets), 2)

    def test_drops_a_socket_without_hello_or_ready(self) -> None:
        world = self.world()
        world.advance(15_000)
        self.assertEqual(world.socket.closed_with, 1000)
        self.assertEqual(world.states[-1].reason, "not ready in time")

    def test_drops_a_socket_whose_heartbeat_is_not_answered(self) -> None:
        world = self.world()
        world.ready()
        world.is_silent = True
        world.advance(45_000 + 9_999)
        self.assertEqual(world.client.state, "connected")
        world.advance(1)
        self.assertEqual(world.states[-1].reason, "no heartbeat")

    def test_probes_again_after_the_process_was_blocked(self) -> None:
        world = self.world()
        world.is_silent = True
        world.ready()
        world.loop.ms += 30_000
        world.loop.settle()
        self.assertEqual(world.client.state, "connected")
        self.assertEqual(len(world.socket.frames(10)), 2)

    def test_measures_the_latency(self) -> None:
        world = self.world()
        world.is_silent = True
        world.ready()
        world.advance(20)
        world.receive({"op": 11, "time": world.socket.frames(10)[0]["time"]})
        self.assertEqual(world.client.latency, 0.02)

    def test_closes_after_three_refused_identifies(self) -> None:
        world = self.world()
        for _ in range(3):
            world.hello()
            world.end(4001)
            if world.client.state == "waiting":
                world.reconnect()
        self.assertEqual(world.client.state, "closed")
        self.assertEqual(world.errors[-1].error.code, "identify")

    def test_slows_down_an_app_that_reconnects_on_every_close(self) -> None:
        world = self.world()
        for _ in range(5):
            world.end(4010)
            world.do(world.client.connect)
        self.assertEqual(world.client.state, "closed")
        world.task(world.client.disconnect())
        self.assertIsInstance(world.task(world.client.ready()).exception(), SessionEnded)
        world.do(world.client.connect)
        waiting = world.task(world.client.ready())
        self.assertFalse(waiting.done())
        world.advance(world.next_ms or 0)
        self.assertEqual(world.client.state, "connecting")

    def test_ignores_what_comes_from_an_earlier_socket(self) -> None:
        world = self.world("room:7")
        world.ready({"channel": "room:7", "position": "5-0"})
        old = world.socket
        world.end()
        world.reconnect()
        old.is_over = False
        old.receive(message(1, "5-1"))
        old.end(4010)
        self.assertEqual(world.client.state, "connecting")
        self.assertFalse([event for event in world.events if isinstance(event, Message)])

    def test_drops_a_socket_that_sends_no_json(self) -> None:
        for bad in ("{", '{"op":3,"message":NaN}', "[" * 100_000):
            world = self.room()
            world.receive(bad)
            self.assertEqual(world.states[-1].reason, "bad frame")

    def test_ignores_frames_that_it_does_not_know(self) -> None:
        world = self.room()
        odd_frames: list[Any] = [3, None, [], {}, {"op": 99}, {"op": "3"}, {"op": 3}, {"op": 8}]
        odd_frames.append({"op": 6, "channels": [1, {}]})
        for odd in odd_frames:
            world.receive(odd)
        world.receive(message(2, "5-2"))
        self.assertEqual([event.message for event in world.events], [2])

    def test_keeps_subscriptions_and_positions_when_disconnected(self) -> None:
        world = self.room()
        world.task(world.client.disconnect())
        self.assertEqual(world.client.state, "idle")
        world.advance(1_000_000)
        world.do(world.client.connect)
        self.assertEqual(world.hello()["channels"][0], {"channel": "user:42", "since": "1-0"})
        self.assertIn({"channel": "room:7", "since": "5-1"}, world.socket.frames(1)[0]["channels"])


class Positions(CoreTest):
    def test_resumes_after_the_last_durable_message(self) -> None:
        world = self.room()
        world.receive(message(2))
        world.end()
        world.reconnect()
        world.ready({"channel": "room:7", "position": "5-1", "recovered": True})
        world.receive(message(3, "5-2"))
        self.assertEqual(
            [event for event in world.events if event.channel == "room:7"],
            [
                Message("room:7", 2),
                Subscribed("room:7", "5-1"),
                Recovered("room:7", "5-1"),
                Message("room:7", 3, "5-2"),
            ],
        )

    def test_tells_a_gap_and_continues_after_it(self) -> None:
        world = self.room()
        world.end()
        world.reconnect()
        world.ready({"channel": "room:7", "position": "9-0", "recovered": False})
        self.assertIn(Gap("room:7", "not_recovered", "9-0"), world.events)
        world.end()
        world.reconnect()
        self.assertIn({"channel": "room:7", "since": "9-0"}, world.hello()["channels"])

    def test_keeps_the_position_while_recovering(self) -> None:
        world = self.room()
        world.end()
        world.reconnect()
        world.ready({"channel": "room:7", "state": "recovering", "position": "5-1"})
        self.assertIn(Recovering("room:7"), world.events)
        world.end()
        world.reconnect()
        self.assertIn({"channel": "room:7", "since": "5-1"}, world.hello()["channels"])

    def test_asks_for_a_fresh_view_when_too_much_was_missed(self) -> None:
        world = self.world()
        world.subscribe("room:7", last=3)
        world.ready()
        self.assertEqual(world.socket.frames(1)[0]["channels"], [{"channel": "room:7", "last": 3}])
        world = self.world()
        world.ready()
        world.subscribe("room:7", last=3)
        answer = {"op": 6, "channel": "room:7", "state": "subscribed", "position": "5-0", "last": 1}
        world.receive(answer)
        world.receive(message(1, "5-1"))
        world.end()
        world.reconnect()
        world.ready({"channel": "room:7", "position": "9-4", "recovered": False})
        self.assertEqual(world.socket.frames(5)[-1]["channels"], ["room:7"])
        world.receive({"op": 6, "channels": [{"channel": "room:7", "state": "unsubscribed"}]})
        self.assertEqual(world.socket.frames(4)[-1]["channels"], [{"channel": "room:7", "last": 3}])
        world.receive({**answer, "position": "9-1", "last": 3})
        self.assertEqual(
            world.events[-2:],
            [Subscribed("room:7", "9-1", last=3), Gap("room:7", "not_recovered", "9-1", 3)],
        )

    def test_forgets_positions_when_another_user_logs_in(self) -> None:
        tokens = iter(("ada", "bob"))
        world = self.world("room:7", token=lambda reason: next(tokens))
        world.ready({"channel": "room:7", "position": "5-0"})
        world.end()
        world.reconnect()
        self.assertEqual(world.hello()["channels"], [{"channel": "room:7"}])
        world.receive({"op": 2, "user": "bob", "channels": [{"channel": "room:7", "position": "6-0"}]})
        self.assertIn(Gap("room:7", "not_recovered", "6-0"), world.events)

    def test_delivers_every_durable_message_once_over_random_cuts(self) -> None:
        for seed in range(30):
            with self.subTest(seed=seed):
                self._cut_at_random(random.Random(seed))

    def _cut_at_random(self, chance: random.Random) -> None:
        """Plays a gateway with a history. Each frame may be lost with the socket."""
        world = self.world("room:7")
        history = 0
        for _ in range(40):
            identify = world.hello()
            request = next(one for one in identify["channels"] if one["channel"] == "room:7")
            position = request.get("since", f"5-{history}")
            since = int(position[2:])
            state = {"channel": "room:7", "position": position}
            recovered = {"recovered": True} if "since" in request else {}
            frames: list[dict[str, Any]] = []
            if chance.random() < 0.3:
                frames.append({"op": 2, "user": "42", "channels": [{**state, "state": "recovering"}]})
                frames.append({"op": 6, **state, "state": "subscribed", **recovered})
            else:
                frames.append({"op": 2, "user": "42", "channels": [{**state, **recovered}]})
            frames += [message(n, f"5-{n}") for n in range(since + 1, history + 1)]
            for _ in range(chance.randrange(4)):
                history += 1
                frames.append(message(history, f"5-{history}"))
            for frame in frames[: chance.randrange(len(frames) + 2)]:
                world.receive(frame)
            world.end(chance.choice((1006, 1012, 4008)))
            # The publisher goes on without the client.
            history += chance.randrange(3)
            world.reconnect()
        received = [event.message for event in world.events if isinstance(event, Message)]
        first = received[0] if received else 1
        self.assertEqual(received, list(range(first, first + len(received))))
        self.assertGreater(len(received), 20)


class Subscribing(CoreTest):
    def test_sends_the_subscriptions_of_one_turn_together(self) -> None:
        world = self.world()
        world.ready()

        def subscribe() -> None:
            for n in range(3):
                world.client.subscribe(f"room:{n}")
            world.client.subscribe("room:9").unsubscribe()

        world.do(subscribe)
        self.assertEqual(
            world.socket.frames(4), [{"op": 4, "channels": [{"channel": f"room:{n}"} for n in range(3)]}]
        )

    def test_keeps_a_part_of_the_message_budget_free(self) -> None:
        world = self.world()
        world.ready(limits={"messages_per_minute": 10})
        for n in range(20):
            world.subscribe(f"room:{n}")
        # Identify and a heartbeat count too.
        self.assertEqual(len(world.socket.frames(4)), 6)
        self.assertIn(Pending("room:6", "rate_limited", 60), world.events)
        self.assertNotIn("room:5", [event.channel for event in world.events if event.type == "pending"])
        world.advance(60_000)
        names = [one["channel"] for frame in world.socket.frames(4) for one in frame["channels"]]
        self.assertEqual(names, [f"room:{n}" for n in range(20)])

    def test_splits_requests_that_are_too_long_for_one_frame(self) -> None:
        world = self.world(*(f"room:{n:03}" for n in range(100)))
        world.ready(limits={"message_bytes": 1_200})
        sent = [*world.socket.frames(1), *world.socket.frames(4)]
        self.assertTrue(all(len(json.dumps(frame, separators=(",", ":"))) <= 1_200 for frame in sent))
        self.assertEqual(sum(len(frame["channels"]) for frame in sent), 100)

    def test_refuses_invalid_requests_without_sending_them(self) -> None:
        world = self.world()
        world.ready()
        for channel, since in (("a b", None), ("", None), ("room:{7}", None), ("room:7", "x" * 256)):
            world.subscribe(channel, since=since)
        reasons = [event.reason for event in world.events if isinstance(event, Refused)]
        self.assertEqual(reasons, ["bad_channel"] * 3 + ["bad_since"])
        self.assertEqual(world.socket.frames(4), [])

    def test_refuses_a_position_that_differs_from_that_in_use(self) -> None:
        world = self.room()
        second = world.subscribe("room:7", since="5-0")
        self.assertEqual(world.task(anext(second)).result(), Refused("room:7", "since_conflict"))
        third = world.subscribe("room:7", since="5-1")
        self.assertEqual(world.task(anext(third)).result(), Subscribed("room:7", "5-1"))

    def test_retries_an_unavailable_channel_and_tells_it_once(self) -> None:
        world = self.world("room:7")
        world.ready()
        refused = {"op": 6, "channel": "room:7", "state": "refused", "reason": "unavailable"}
        for attempts in (1, 2, 3):
            world.receive(refused)
            world.advance(world.next_ms or 0)
            self.assertEqual(len(world.socket.frames(4)), attempts - 1 + (world.client.state == "connected"))
        self.assertEqual(world.events.count(Refused("room:7", "unavailable")), 1)

    def test_subscribes_again_after_the_backend_did(self) -> None:
        world = self.world()
        world.ready()
        world.subscribe("room:7")
        refused = {"channel": "room:7", "state": "refused", "reason": "already_subscribed"}
        world.receive({"op": 6, "channels": [refused]})
        self.assertEqual(world.socket.frames(5), [{"op": 5, "channels": ["room:7"]}])
        world.receive({"op": 6, "channels": [{"channel": "room:7", "state": "unsubscribed"}]})
        self.assertEqual(len(world.socket.frames(4)), 2)

    def test_unsubscribes_when_the_last_subscription_ends(self) -> None:
        world = self.room()
        second = world.subscribe("room:7")
        first = next(iter(world.client._subscriptions - {second}))
        world.do(first.unsubscribe)
        self.assertEqual(world.socket.frames(5), [])
        world.do(second.unsubscribe)
        self.assertEqual(world.socket.frames(5), [{"op": 5, "channels": ["room:7"]}])
        world.receive(message(2, "5-2"))
        self.assertEqual(world.events, [])


class Tokens(CoreTest):
    def test_asks_for_a_token_with_the_reason(self) -> None:
        reasons: list[str] = []

        def token(reason: str) -> str:
            reasons.append(reason)
            return f"token-{len(reasons)}"

        world = self.world(token=token)
        world.ready(expires_in=100_000)
        world.advance(85_000)
        self.assertEqual(world.socket.frames(12), [{"op": 12, "token": "token-2"}])
        world.end(4009)
        world.reconnect()
        world.hello()
        world.end(4003)
        world.reconnect()
        world.hello()
        world.end(4003)
        self.assertEqual(reasons, ["connect", "refresh", "expired", "refused"])
        self.assertEqual(world.client.state, "closed")

    def test_tries_again_when_there_is_no_token(self) -> None:
        answers: list[Any] = [RuntimeError("down"), 7, "token"]

        async def token(reason: str) -> Any:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        world = self.world(token=token)
        for _ in range(2):
            self.assertEqual(world.client.state, "waiting")
            self.assertEqual(world.errors[-1].where, "token")
            world.reconnect()
        self.assertEqual(world.hello()["token"], "token")

    def test_times_out_a_token_function_that_hangs(self) -> None:
        world = self.world(token=lambda reason: asyncio.get_running_loop().create_future())
        world.advance(15_000)
        self.assertEqual(world.errors[-1].error.code, "timeout")
        self.assertEqual(world.client.state, "waiting")

    def test_closes_when_nobody_is_logged_in(self) -> None:
        world = self.world(token=lambda reason: None)
        self.assertEqual((world.client.state, world.states[-1].reason), ("closed", "no token"))

    def test_retries_a_refresh_that_failed_before_the_token_expires(self) -> None:
        world = self.world(token=lambda reason: reason)
        world.ready(expires_in=100_000)
        world.advance(85_000)
        world.receive({"op": 9, "code": "refresh_failed", "detail": "no"})
        self.assertEqual(world.errors[-1].where, "refresh_failed")
        world.advance(5_000)
        self.assertEqual(len(world.socket.frames(12)), 2)


if __name__ == "__main__":
    unittest.main()

"""Steps that wait for the client, and compare what it does with the scenario."""

import json

from . import tokens
from .failure import Failure
from .matching import mismatch, resolve
from .server import USER

AT_ONCE = [0, 100]


def open_(world, step):
    world.wait("the opening of a socket", lambda: world.opened, step.get("ms", AT_ONCE))
    world.socket = world.opened.pop(0)


def expect(world, step):
    expect_frame(world, step["expect"], step.get("ms", AT_ONCE))


def expect_frame(world, expected, bounds):
    """Takes the next frame of the client, which must match, and returns it."""
    socket = world.current()
    expected = resolve(tokens.with_token_text(expected), world.saved)
    world.wait(f"a frame like {json.dumps(expected)}", lambda: socket.frames, bounds)
    # Clients may request channels in any order.
    index = 0
    if expected["op"] in (4, 5) and "channel" in expected:
        names = [(frame["op"], frame.get("channel")) for frame, _ in socket.frames]
        wanted = (expected["op"], expected["channel"])
        index = names.index(wanted) if wanted in names else 0
    frame, subscribe = socket.frames.pop(index)
    where = mismatch(expected, _without_idle_entries(frame), world.saved)
    if where:
        raise Failure(f"the client sent {json.dumps(frame)}: {where}")
    if frame["op"] in (1, 12) and frame["token"] not in world.tokens:
        raise Failure("the client sent a token that it did not get")
    if subscribe:
        subscribe.unexpected -= 1
    return frame


def _without_idle_entries(frame):
    """Identify may list the session's own channels without a position, which changes nothing."""
    if frame["op"] != 1 or "channels" not in frame:
        return frame
    idle = [{"channel": name} for name in (f"user:{USER}", "all")]
    return {**frame, "channels": [entry for entry in frame["channels"] if entry not in idle]}


def closed(world, step):
    socket = world.current()
    is_closed = lambda: socket in world.closed
    world.wait("the client's close", is_closed, step.get("ms", AT_ONCE))
    world.closed.remove(socket)


def events(world, step):
    expected = resolve(step["events"], world.saved)
    earliest, latest = step.get("ms", AT_ONCE)
    start = world.now
    world.pass_time(latest, lambda: len(world.events) >= len(expected))
    reported, world.events = world.events, []
    for key in sorted({_group(one) for one in [*expected, *reported]}):
        _compare_events(world, key, expected, reported)
    if world.now - start < earliest:
        raise Failure(f"the events came after {world.now - start} ms, before {earliest} ms")


def _compare_events(world, key, expected, reported):
    """Compares the events of one channel or of one action."""
    wanted = [one for one in expected if _group(one) == key]
    got = [one for one in reported if _group(one) == key]
    for index, one in enumerate(wanted):
        why = mismatch(one, got[index], world.saved) if index < len(got) else "is missing"
        if why:
            raise Failure(f"event {index + 1} of {key}: {why}; reported: {json.dumps(got)}")
    if len(got) > len(wanted):
        raise Failure(f"unexpected events of {key}: {json.dumps(got[len(wanted):])}")


def _group(event):
    return event.get("as") or event.get("channel")


def state(world, step):
    where = mismatch(step["state"], world.state or {}, world.saved)
    if where:
        raise Failure(f"the latest state is {json.dumps(world.state)}: {where}")


def error(world, step):
    def found():
        return [one for one in world.errors if mismatch(step["error"], one, {}) is None]

    world.wait(f"the error {json.dumps(step['error'])}", found, step.get("ms", AT_ONCE))
    world.errors = []


def check_nothing_left(world):
    """Raises a Failure if the client has done something that no step expected."""
    left = [json.dumps(frame) for socket in world.sockets for frame, _ in socket.frames]
    left += [json.dumps(event) for event in world.events]
    left += [f"socket {socket.number} opened" for socket in world.opened]
    left += [f"socket {socket.number} closed" for socket in world.closed]
    left += [json.dumps(asked) for asked in world.asked]
    if left:
        raise Failure(f"the client did what no step expected: {'; '.join(left)}")

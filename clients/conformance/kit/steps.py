"""The steps of scenarios, by name. The README describes each."""

import json

from . import frames
from .expectations import AT_ONCE, check_nothing_left, closed, error, events, expect, expect_frame
from .expectations import open_, state
from .failure import Failure
from .matching import resolve
from .server import HELLO, SESSION, USER


def do(world, step):
    arguments = {key: value for key, value in step.items() if key != "do"}
    if step["do"] == "subscribe":
        world.subscribed.add(step["channel"])
    world.command("do", action=step["do"], **resolve(arguments, world.saved))


def accept(world, step=None):
    world.current().is_accepted = True
    world.command("accept", socket=world.socket.number)


def refuse(world, step):
    _end(world, "refuse", status=step["refuse"])


def close(world, step):
    _end(world, "close", code=step["close"], reason=step.get("reason", ""))


def cut(world, step):
    _end(world, "cut")


def _end(world, cmd, **arguments):
    socket = world.current()
    socket.is_over = True
    world.command(cmd, socket=socket.number, **arguments)


def silent(world, step):
    world.current().is_silent = True


def send(world, step):
    _send_frame(world, resolve(step["send"], world.saved))


def text(world, step):
    world.command("receive", socket=world.current().number, text=step["text"])


def _send_frame(world, frame):
    socket = world.current()
    socket.note_sent(frame)
    world.command("receive", socket=socket.number, text=json.dumps(frame))


def answer(world, step):
    socket = world.current()
    states = {one["channel"]: one for one in resolve(step["answer"], world.saved)}
    ready = [one for one in socket.subscribes if one.unexpected == 0]
    socket.subscribes = [one for one in socket.subscribes if one.unexpected > 0]
    for request in ready:
        entries = request.frame.get("channels") or [request.frame]
        names = [one if isinstance(one, str) else one["channel"] for one in entries]
        answers = [states.pop(name) for name in names]
        _send_answer(world, request, answers)
    if states:
        raise Failure(f"the client did not request {', '.join(states)}")


def _send_answer(world, subscribe, states):
    """A batch has one answer with a list, and a single request has a single one."""
    is_batch = "channels" in subscribe.frame
    _send_frame(world, {"op": 6, "channels": states} if is_batch else {"op": 6, **states[0]})


def serve(world, step):
    """Answers every op 4 and op 5 for this time."""
    socket = world.current()

    def answer_all():
        subscribes, socket.subscribes = socket.subscribes, []
        socket.frames = [one for one in socket.frames if one[1] not in subscribes]
        for subscribe in subscribes:
            states = [_granted(single) for single in frames.singles(subscribe.frame)]
            _send_answer(world, subscribe, states)
        return False

    world.pass_time(step["serve"], answer_all)
    answer_all()


def _granted(request):
    state = {"channel": request["channel"]}
    if request["op"] == 5:
        return {**state, "state": "unsubscribed"}
    since = request.get("since")
    more = {} if since is None else {"recovered": True}
    return {**state, "state": "subscribed", "position": since or "5-0", **more}


def session(world, step):
    given = step["session"]
    open_(world, step)
    accept(world)
    _send_frame(world, {**HELLO, **given.get("hello", {})})
    identify = expect_frame(world, {"op": 1, **given.get("identify", {})}, AT_ONCE)
    ready = {"op": 2, "user": USER, "session": SESSION, **given.get("ready", {})}
    listed = ready.get("channels", [])
    _send_frame(world, {**ready, "channels": listed + _states(identify, listed, ready["user"])})


def _states(identify, listed, user):
    """The states in Ready of the channels that the scenario does not list."""
    states = {name: {"channel": name, "position": "1-0"} for name in (f"user:{user}", "all")}
    for entry in identify.get("channels", []):
        name, since = entry["channel"], entry.get("since")
        if since is not None:
            states[name] = {"channel": name, "position": since, "recovered": True}
        elif name not in states:
            states[name] = {"channel": name, "position": "5-0"}
    names = [entry["channel"] for entry in listed]
    return [state for name, state in states.items() if name not in names]


def token(world, step):
    _answer_token(world, step, {"token": world.give_token(step["token"])})


def token_error(world, step):
    _answer_token(world, step, {"error": True})


def _answer_token(world, step, given):
    world.wait("a request for a token", lambda: world.asked, step.get("ms", AT_ONCE))
    reason = world.asked.pop(0).get("reason")
    if reason is not None and reason != step.get("reason", reason):
        raise Failure(f"the client asked for a token for {reason}, not for {step['reason']}")
    world.command("token", **given)


def advance(world, step):
    world.pass_time(step["advance"])


def quiet(world, step):
    check_nothing_left(world)
    world.pass_time(step["quiet"])
    check_nothing_left(world)


def random(world, step):
    world.command("random", value=step["random"])


ALL = (do, accept, refuse, close, cut, silent, send, text, expect, answer, serve, session, token)
ALL += (token_error, closed, events, state, error, advance, quiet, random)
BY_NAME = {**{step.__name__: step for step in ALL}, "open": open_}

"""The world of one client: its server, its clock, and all that it has done and no step expected."""

from . import tokens
from .failure import AdapterError, Failure
from .server import USER, Inbox, Socket

OPTIONS = {
    "url": "ws://gateway.test/",
    "backoff_base_ms": 1_000,
    "backoff_max_ms": 30_000,
    "backoff_stable_ms": 10_000,
    "connect_timeout_ms": 15_000,
    "heartbeat_timeout_ms": 10_000,
}
EVENTS = ("subscribed", "recovered", "gap", "recovering", "message", "signal", "presence", "refused")
# The events of the session's own channels that count, unless the user has subscribed to them.
OWN_EVENTS = ("message", "signal", "gap")
# A client whose timers never end would keep the runner busy without end.
MAX_TIMERS = 10_000


class World:
    """Sends commands to an adapter, and keeps what the client has done."""

    def __init__(self, adapter, scenario):
        self.adapter = adapter
        self.now = 0
        self.next = None
        self.saved = {}
        self.inbox = Inbox()
        self.sockets = []
        self.socket = None
        self.opened = []
        self.closed = []
        self.asked = []
        self.events = []
        self.errors = []
        self.state = None
        self.subscribed = set()
        self.tokens = set()
        token = scenario.get("token", f"{USER}/a")
        options = dict(OPTIONS)
        if token != "function":
            options["token"] = self.give_token(token)
        self.command("start", options=options, random=scenario.get("random", 0.5))

    def give_token(self, name):
        """The text of a token that the client gets."""
        text = tokens.text_of(name)
        self.tokens.add(text)
        return text

    def command(self, cmd, **arguments):
        """Sends a command, and takes what the client does until it is idle."""
        waiting = [{"cmd": cmd, **arguments}]
        while waiting:
            reply = self.adapter.request(waiting.pop(0))
            if not isinstance(reply.get("effects"), list) or "next" not in reply:
                raise AdapterError(f"a reply lacks effects or next: {reply}")
            self.next = reply["next"]
            for effect in reply["effects"]:
                waiting += self._take(effect)

    def current(self):
        """The socket that the latest step `open` or `session` was about."""
        if self.socket is None:
            raise Failure("no socket was opened")
        return self.socket

    def pass_time(self, ms, is_done=lambda: False):
        """Moves the clock by at most this time, from timer to timer, until `is_done`."""
        end = self.now + ms
        for _ in range(MAX_TIMERS):
            if is_done():
                return
            left = end - self.now
            is_last = self.next is None or self.next > left
            self._advance(left if is_last else self.next)
            if is_last:
                return
        raise Failure(f"the client ran {MAX_TIMERS} timers within {ms} ms")

    def wait(self, what, is_done, bounds):
        """Waits until the client has done this, between these times from now."""
        earliest, latest = bounds
        start = self.now
        self.pass_time(latest, is_done)
        if not is_done():
            raise Failure(f"{what} did not happen within {latest} ms")
        if self.now - start < earliest:
            raise Failure(f"{what} happened after {self.now - start} ms, before {earliest} ms")

    def _advance(self, ms):
        if ms == 0 and self.next is None:
            return
        self.now += ms
        self.command("advance", ms=ms)

    def _take(self, effect):
        """Keeps an effect. Returns the commands that follow at once."""
        kind = effect.get("type")
        if kind == "open":
            self._check_url(effect["url"])
            self.sockets.append(Socket(effect["socket"], self.inbox))
            self.opened.append(self.sockets[-1])
        elif kind == "frame":
            answer = self._socket(effect).read(effect["text"], self.now)
            if answer:
                return [{"cmd": "receive", "socket": effect["socket"], "text": answer}]
        elif kind == "close":
            socket = self._socket(effect)
            if not socket.is_over:
                socket.is_over = True
                self.closed.append(socket)
        elif kind == "token":
            self.asked.append(effect)
        elif kind == "state":
            self.state = effect
        elif kind == "error":
            self.errors.append(effect)
        elif kind in ("done", "failed") or (kind == "event" and self._counts(effect)):
            self.events.append(effect)
        return []

    def _counts(self, effect):
        name, channel = effect.get("event"), effect.get("channel")
        if channel in self.subscribed:
            return name in EVENTS
        return channel in (f"user:{USER}", "all") and name in OWN_EVENTS

    def _socket(self, effect):
        for socket in self.sockets:
            if socket.number == effect["socket"]:
                return socket
        raise AdapterError(f"no socket has this number: {effect}")

    def _check_url(self, url):
        query = url.split("#")[0].partition("?")[2].split("&")
        if "v=2" not in query:
            raise Failure(f"the URL lacks v=2: {url}")
        if any(text in url for text in self.tokens):
            raise Failure(f"the URL contains the token: {url}")

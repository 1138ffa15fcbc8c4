"""The state machine of a client, without IO and without a clock.

Its owner moves ``timers.now``, calls the inputs, carries out ``outputs`` in order after each of them,
and calls ``run_timers`` at ``timers.deadline``. Times are milliseconds.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from .backoff import Backoff, BackoffOptions
from .channel import Feed
from .channels import Channels
from .connection import Connection, Ending
from .errors import GatewayError, SessionEnded, SoftError
from .events import ChannelEvent, ClientState, ErrorEvent, LatencyEvent, StateEvent
from .outbox import Outbox, Outgoing
from .outputs import Notify, OpenSocket, Output, TokenReason
from .protocol import CLIENT_ERRORS, RECONNECT_RULES, Frame, Op, ReconnectRule, with_version
from .requests import ChannelRequest, OnDone, Requests
from .signals import Signals
from .timers import Timers
from .tokens import Refresh, TokenSource, user_of

_MAX_FAULTS = 3
"""The number of Identify errors in a row after which the client closes."""
_MAX_ENDS = 5
"""After this many closes in a row without a lasting connection, ``connect`` waits."""
_WAKE_MS = 1_000
"""The minimum time between attempts that ``wake`` starts."""


@dataclass(frozen=True, slots=True)
class CoreOptions:
    """What a client is made of."""

    url: str
    token: str | None
    """``None``: the core asks for it (``AskToken``)."""
    backoff: BackoffOptions = field(default_factory=BackoffOptions)
    connect_ms: float = 15_000
    heartbeat_ms: float = 10_000


class GatewayCore:
    """The state machine of a client."""

    def __init__(self, options: CoreOptions, random: Callable[[], float]) -> None:
        self.timers = Timers()
        self.outputs: deque[Output] = deque()
        self.state: ClientState = "idle"
        self.user: str | None = None
        """The user of the session; ``None`` before the first Ready."""
        self.latency_ms: float | None = None
        self.failure: SessionEnded | None = None
        """Why the client has ended, until ``connect``."""
        self.channels = Channels(
            self.timers, Backoff(options.backoff, random), self.outputs.append, self._flush_soon
        )
        self.requests = Requests(self.timers, self._flush_soon)
        self.outbox = Outbox(self.timers, Backoff(BackoffOptions(), random), random, self._post)
        self.signals = Signals(self.timers, self._post)
        self._page_requests: set[ChannelRequest] = set()
        self._options = options
        self._url = with_version(options.url)
        self._backoff = Backoff(options.backoff, random)
        self._refresh = Refresh(self.timers, random, self._renew_token)
        self._tokens = TokenSource(
            self.timers,
            self.outputs.append,
            lambda error: self._on_error("token", error),
            options.token,
            options.connect_ms,
        )
        self._connection: Connection | None = None
        self._serial = 0
        """Of the latest socket."""
        self._token_reason: TokenReason = "connect"
        self._token_user: str | None = None
        """The user of the latest token."""
        self._ready_at: float | None = None
        self._woken_at: float | None = None
        self._faults = 0
        """Closes in a row caused by errors of the client."""
        self._ends = 0
        """Closes of any kind in a row without a lasting connection."""
        self._must_wait = False
        """The gateway requested the wait, so ``wake`` does not end it."""

    @property
    def is_asking(self) -> bool:
        """Whether the answer to ``AskToken`` is still needed."""
        return self._tokens.is_asking

    # Inputs of the app.

    def connect(self) -> None:
        """Connects, and reconnects until ``close``, ``disconnect`` or a close code that forbids it."""
        if self.state not in ("idle", "closed") or self.timers.is_set("retry"):
            return
        self._faults = 0
        self.failure = None
        if self._ends >= _MAX_ENDS:
            # An app that reconnects on every close must not loop.
            self._open_in(self._backoff.next())
            return
        self._backoff.tries = 0
        self._open()

    def close(self) -> None:
        """Ends the connection and the subscriptions."""
        self.channels.close()
        self._stop(None, "closed by the app")

    def disconnect(self) -> None:
        """Ends the connection. Subscriptions and their positions stay until ``connect``."""
        self._stop(None, "disconnected by the app", "idle")

    def subscribe(
        self,
        channel: str,
        since: str | None,
        last: int,
        deliver: Callable[[ChannelEvent], None],
    ) -> Feed:
        """Subscribes to a channel, now and after every reconnect."""
        return self.channels.subscribe(channel, since, last, deliver)

    def send(self, outgoing: Outgoing) -> None:
        """Sends a message on a channel to the backend."""
        self.outbox.add(outgoing)

    def signal(self, channel: str, signal: Any) -> None:
        """Sends a signal to the other sessions of a channel."""
        self.signals.send(channel, signal)

    def request(self, frame: Frame, timeout_ms: float, on_done: OnDone) -> ChannelRequest:
        """Requests a page (op 15, op 19) of a channel. It subscribes while it runs."""
        return ChannelRequest(
            self.requests,
            self._page_requests,
            self.timers,
            lambda deliver: self.subscribe(frame["channel"], None, 0, deliver),
            self.channels.unsubscribe,
            frame,
            timeout_ms,
            on_done,
        )

    def refresh(self) -> None:
        """Gets a new token, sends it without reconnecting, and retries refused channels."""
        if self._connection and self._connection.is_ready:
            self._refresh.now()
        elif self._token_reason == "connect":
            self._token_reason = "refresh"

    def wake(self) -> None:
        """The environment has changed: reconnects at once, or checks the connection."""
        if self.state == "waiting" and not self._must_wait:
            now = self.timers.now
            if self._woken_at is not None and now - self._woken_at < _WAKE_MS:
                self._open_in(self._woken_at + _WAKE_MS - now)
                return
            self._woken_at = now
            self._open()
        elif self._connection and self._connection.budget.wait(self.timers.now) == 0:
            self._connection.probe()

    # Inputs of the surroundings.

    def run_timers(self) -> None:
        """Runs the timers that are due."""
        self.timers.run_due()

    def token_received(self, serial: int, token: object) -> None:
        """The answer to AskToken. ``None`` means that nobody is logged in."""
        self._tokens.received(serial, token)

    def token_failed(self, serial: int, error: Exception) -> None:
        """The token function raised an error."""
        self._tokens.failed(serial, error)

    def received(self, serial: int, data: str | bytes) -> None:
        """A message of the socket."""
        if serial == self._serial and self._connection:
            self._connection.receive(data)

    def ended(self, serial: int, code: int, reason: str, error: Exception | None = None) -> None:
        """The socket has ended, or could not be opened."""
        if serial == self._serial and self._connection:
            self._connection.ended(code, reason, error)

    # The connection.

    def output(self, output: Output) -> None:
        """Adds an output."""
        self.outputs.append(output)

    def on_ready(self, user: str, frame: Frame) -> None:
        self._ready_at = self.timers.now
        self._token_reason = "connect"
        self._faults = 0
        self.user = user
        self._set_state("connected")
        self.channels.on_ready(user, frame.get("channels"))
        self.outbox.on_connected(user)

    def on_soft_error(self, code: str, detail: str) -> None:
        self._on_error(code, SoftError(code, detail))
        # Without an id, `unavailable` answers a refresh: the token cannot be verified now.
        if code in ("refresh_failed", "unavailable"):
            self._refresh.on_failed()

    def on_token(self, expires_in_ms: float | None) -> None:
        """A token is in force: after Ready, and after a refresh."""
        if self._tokens.may_ask:
            self._refresh.on_expiry(expires_in_ms)
        self.channels.ask_again()

    def on_latency(self, latency_ms: float) -> None:
        self.latency_ms = latency_ms
        self.output(Notify(LatencyEvent(latency_ms / 1_000)))

    def on_answer(self, frame: Frame) -> None:
        self.outbox.take(frame)
        self.requests.take(frame)

    def on_end(self, ending: Ending) -> None:
        was_ready, asked, code = self._ready_at is not None, self._token_reason, ending.code
        rule = RECONNECT_RULES.get(code, ReconnectRule.YES)
        self._leave()
        if ending.error:
            self._on_error("socket", ending.error)
        self._faults = self._faults + 1 if not was_ready and code in CLIENT_ERRORS else 0
        if self._faults >= _MAX_FAULTS:
            self._on_error("identify", GatewayError("identify", f"refused: {code} {ending.reason}"))
            rule = ReconnectRule.NEVER
        if code == 4003:
            self._token_reason = "refused"
            if not was_ready and asked != "refused":
                # A stored token may have expired: ask for a new one, once.
                rule = ReconnectRule.NEW_TOKEN
        elif code == 4009:
            self._token_reason = "expired"
        if rule is ReconnectRule.NEVER or (rule is ReconnectRule.NEW_TOKEN and not self._tokens.may_ask):
            self._stop(code, ending.reason)
        else:
            self._wait(rule, code, ending.reason, ending.after_ms)

    # Attempts.

    def _open_in(self, delay_ms: float) -> None:
        self.timers.set("retry", delay_ms, self._open)

    def _open(self) -> None:
        self._leave()
        self._set_state("connecting")
        self._tokens.ask(
            self._token_reason, self._open_socket, lambda: self._wait(ReconnectRule.YES, None, "no token")
        )

    def _open_socket(self, token: str | None) -> None:
        if not token:
            return self._stop(None, "no token")
        user = user_of(token)
        if self._token_user not in (None, user):
            self.channels.forget_user()
        self._token_user = user
        options = self._options
        self._connection = Connection(
            self, self.channels, self.timers, token, options.connect_ms, options.heartbeat_ms
        )
        self._serial += 1
        self.output(OpenSocket(self._serial, self._url))
        return None

    def _renew_token(self) -> None:
        # Without a new token the session ends when its token expires.
        if not self._tokens.is_asking:
            self._tokens.ask("refresh", self._send_refresh, self._refresh.on_failed)

    def _send_refresh(self, token: str | None) -> None:
        if token and self._connection:
            self._connection.send({"op": Op.REFRESH, "token": token})

    def _wait(
        self, rule: ReconnectRule, code: int | None, reason: str, after_ms: float | None = None
    ) -> None:
        retry_in_ms = self._backoff.next(rule) if after_ms is None else after_ms
        self._must_wait = after_ms is not None or rule in (ReconnectRule.LONG_WAIT, ReconnectRule.SPREAD)
        self._open_in(retry_in_ms)
        self._set_state("waiting", code, reason, retry_in_ms / 1_000)

    def _stop(self, code: int | None, reason: str, state: Literal["closed", "idle"] = "closed") -> None:
        """Ends the connection and does not reconnect."""
        failure = SessionEnded("disconnected" if state == "idle" else state, code, reason)
        if self.state in (state, "closed"):
            if self.timers.is_set("retry"):
                self.timers.clear("retry")
                self.failure = failure
            return
        self._leave()
        self._ends += 1
        self.failure = failure
        self._set_state(state, code, reason)
        for request in list(self._page_requests):
            request.cancel(self.failure.code)

    def _leave(self) -> None:
        """Ends this attempt: its connection, its timers and its requests."""
        self.timers.clear("retry", "flush", "flush later")
        self._tokens.forget()
        self._refresh.clear()
        connection, self._connection = self._connection, None
        self._serial += 1
        if connection:
            connection.leave()
        self.channels.on_disconnected()
        if self._ready_at is not None:
            if self._backoff.lasted(self.timers.now - self._ready_at):
                self._ends = 0
            self._ready_at = None

    # What is sent.

    def _post(self, frame: Frame) -> bool:
        """Sends a frame that does not count as a message, if the client is connected."""
        if self._connection is None or not self._connection.is_ready:
            return False
        self._connection.send(frame, is_counted=False)
        return True

    def _flush_soon(self) -> None:
        """Batches the app's calls of one turn: calls that cancel each other out send nothing."""
        if not self.timers.is_set("flush"):
            self.timers.set("flush", 0, self._flush)

    def _flush(self) -> None:
        while self._connection and self._connection.is_ready:
            wait_ms = self._connection.budget.wait(self.timers.now)
            if wait_ms > 0:
                self.channels.on_delayed(wait_ms)
                self.timers.set("flush later", wait_ms, self._flush)
                return
            command = self.channels.next_command(self._connection.max_bytes) or self.requests.next()
            if command is None:
                return
            self._connection.send(command)

    def _set_state(
        self,
        state: ClientState,
        code: int | None = None,
        reason: str | None = None,
        retry_in: float | None = None,
    ) -> None:
        # A restarted attempt causes no event.
        if state == self.state:
            return
        self.state = state
        self.output(Notify(StateEvent(state, self._backoff.tries, code, reason, retry_in)))
        self.signals.drop()
        if state != "connected":
            self.requests.fail_all("disconnected")
            self.outbox.on_disconnected(code)
        if state == "closed":
            self.outbox.on_closed()

    def _on_error(self, where: str, error: Exception) -> None:
        self.output(Notify(ErrorEvent(where, error)))

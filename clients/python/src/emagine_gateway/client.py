"""The public client: connects, reconnects, and resumes every channel from its position."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self

from .backoff import BackoffOptions
from .core import CoreOptions
from .emitter import Emitter
from .errors import GatewayError, MessageError, RequestError, SessionEnded
from .events import ChannelEvent, ClientEvent, ClientState, ErrorEvent, StateEvent
from .json_text import snapshot
from .outbox import Outgoing
from .outputs import Deliver
from .protocol import Frame, Op, is_channel_name, is_request_id, text
from .runner import Environment, Runner, TokenFunction, log
from .streams import Changes, EventStream
from .subscription import Subscription
from .transport import OnEnd, OnMessage, SocketOptions, Transport, WebSocketTransport

_MAX_PAGE = 100
"""The gateway's limit for a page of the history."""
_MAX_SIGNAL_BYTES = 1_024
"""The gateway refuses longer signals. A much longer one would end the session."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of the history."""

    position: str
    message: Any


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of the history of a channel."""

    messages: tuple[StoredMessage, ...]
    """In the order in which they were published."""
    more: bool
    """Whether there are earlier messages."""
    before: str | None
    """Pass it to get the page with the earlier messages; ``None`` on the first one."""


@dataclass(frozen=True, slots=True)
class MembersPage:
    """A page of the members of a room."""

    members: tuple[str, ...]
    next: str | None
    """Pass it as ``after`` to get the next page; ``None`` on the last one."""


class GatewayClient(Emitter):
    """A client of the gateway. Use it in one event loop.

    ``async with`` connects at its beginning and closes at its end. Subscribe before anything is
    awaited, and the first frame requests the channels.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | TokenFunction,
        backoff: BackoffOptions | None = None,
        connect_timeout: float = 15.0,
        heartbeat_timeout: float = 10.0,
        buffer_size: int = 10_000,
        ssl: SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        environment: Environment | None = None,
    ) -> None:
        """Raises ValueError if the URL is not valid, and TypeError if the token is not.

        The client adds ``v=2`` to the URL. Times are seconds. ``environment`` is for tests.
        """
        super().__init__()
        if not isinstance(token, str) and not callable(token):
            raise TypeError("token is neither a string nor a function")
        self._buffer_size = buffer_size
        self._socket_options = SocketOptions(ssl, headers or {})
        self._changes = Changes()
        self._streams: set[EventStream] = set()
        self._subscriptions: set[Subscription] = set()
        function = None if isinstance(token, str) else token
        options = CoreOptions(
            url,
            token if isinstance(token, str) else None,
            backoff or BackoffOptions(),
            connect_timeout * 1_000,
            heartbeat_timeout * 1_000,
        )
        self._runner = Runner(
            options,
            function,
            environment or Environment(),
            self._open_transport,
            self._on_deliver,
            self._on_notify,
        )
        self._core = self._runner.core

    async def __aenter__(self) -> Self:
        self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def state(self) -> ClientState:
        """The current state. The event ``state`` reports each change."""
        return self._core.state

    @property
    def user(self) -> str | None:
        """The user of the session; ``None`` before the first Ready."""
        return self._core.user

    @property
    def latency(self) -> float | None:
        """The time from the latest heartbeat to its answer, in seconds."""
        return None if self._core.latency_ms is None else self._core.latency_ms / 1_000

    @property
    def queued(self) -> int:
        """The number of sent messages that wait for an acknowledgement."""
        return len(self._core.outbox)

    def connect(self) -> None:
        """Connects, and reconnects until ``close``, ``disconnect`` or a close code that forbids it.

        It does not wait: see ``ready``.
        """
        self._runner.call(self._core.connect)

    async def ready(self) -> None:
        """Waits until the client is connected. Raises SessionEnded if it is not to be."""
        while self.state != "connected":
            self._check()
            await self._changes.wait()

    async def disconnect(self) -> None:
        """Ends the connection. Subscriptions keep their positions, and ``connect`` resumes them."""
        self._runner.call(self._core.disconnect)
        await self._runner.wait_closed()

    async def close(self) -> None:
        """Ends the connection, the subscriptions and the iterations. ``connect`` starts again."""
        self._runner.call(self._core.close)
        for stream in [*self._subscriptions, *self._streams]:
            stream.close()
        await self._runner.wait_closed()

    def subscribe(self, channel: str, *, since: str | None = None, last: int = 0) -> Subscription:
        """Subscribes to a channel, now and after every reconnect.

        ``since`` resumes after a position. ``last`` begins with this many of the newest stored
        messages, unless ``since`` says where to continue. If a reconnect finds messages missing, they
        are requested again. The gateway may allow fewer.
        """
        runner, core = self._runner, self._core
        subscription = Subscription(
            self._buffer_size,
            since if isinstance(since, str) else None,
            lambda deliver: runner.call(core.subscribe, channel, since, max(last, 0), deliver),
            self._unsubscribe,
            self._changes,
            self._check,
        )
        self._subscriptions.add(subscription)
        return subscription

    def events(self) -> EventStream:
        """The events of all channels from now on, including the session's own channels."""
        stream = EventStream(self._buffer_size, self._streams.discard)
        self._streams.add(stream)
        return stream

    def wake(self) -> None:
        """Checks the connection at once, or reconnects without waiting."""
        self._runner.call(self._core.wake)

    def refresh(self) -> None:
        """Gets a new token, sends it without reconnecting, and retries refused channels."""
        self._runner.call(self._core.refresh)

    async def send(
        self,
        channel: str,
        message: Any,
        *,
        id: str | None = None,
        max_queued: int = 100,
        repeat_for: float = 540.0,
    ) -> str:
        """Sends a message on a channel to the backend. Returns its id when the gateway has stored it.

        The messages of a client are sent in order. A message is repeated with its id after a
        reconnect, and when the gateway is busy or unavailable, for ``repeat_for`` seconds. That must be
        shorter than the gateway's ``broker.idempotency_window``. When the task is cancelled, the
        message is not repeated; the gateway may have stored it.

        Raises MessageError.
        """
        outbox = self._core.outbox
        if id is None:
            id = outbox.next_id()
        elif not is_request_id(id):
            raise TypeError("id is not a text of 1 to 64 printable ASCII characters")
        copy = snapshot(message)
        if not is_channel_name(channel):
            raise MessageError("bad_channel", None, id)
        if self.state == "closed":
            raise MessageError("closed", None, id)
        if len(outbox) >= max_queued:
            raise MessageError("queue_full", None, id)
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        outgoing = Outgoing(id, channel, copy, repeat_for * 1_000, lambda result: _settle(done, result))
        self._runner.call(self._core.send, outgoing)
        try:
            return await done
        finally:
            self._runner.call(outbox.remove, outgoing)

    def signal(self, channel: str, signal: Any) -> None:
        """Sends a signal to the other sessions that are subscribed to a channel.

        It is not stored, may be lost, and is dropped while the client is disconnected. At most one is
        sent in 250 ms on a channel: a newer one replaces the one that waits. If the gateway refuses
        it, the client emits an ``error`` event.

        Raises TypeError if it is not JSON, and ValueError if it is longer than 1 KiB.
        """
        if not is_channel_name(channel):
            raise ValueError("not the name of a channel")
        self._runner.call(self._core.signal, channel, snapshot(signal, _MAX_SIGNAL_BYTES))

    async def history(
        self, channel: str, *, before: str | None = None, limit: int = 50, timeout: float = 10.0
    ) -> HistoryPage:
        """A page of the stored messages of a channel: the newest ones, or those before a position.

        It subscribes to the channel while it runs. ``timeout`` bounds the time until the channel is
        subscribed, and from the request to its answer. Raises RequestError.
        """
        frame: Frame = {"op": Op.HISTORY, "channel": channel, "limit": min(max(limit, 1), _MAX_PAGE)}
        if before is not None:
            frame["before"] = str(before)
        answer = await self._request(frame, timeout)
        messages = answer.get("messages")
        stored = tuple(
            StoredMessage(entry["position"], entry.get("message"))
            for entry in (messages if isinstance(messages, list) else [])
            if isinstance(entry, dict) and isinstance(entry.get("position"), str)
        )
        more = answer.get("more") is True
        return HistoryPage(stored, more, stored[0].position if more and stored else None)

    async def all_history(
        self, channel: str, *, before: str | None = None, limit: int = 50, timeout: float = 10.0
    ) -> AsyncIterator[HistoryPage]:
        """All pages of the history of a channel, the newest page first. Raises RequestError."""
        while True:
            page = await self.history(channel, before=before, limit=limit, timeout=timeout)
            yield page
            if page.before is None:
                return
            before = page.before

    async def members(self, channel: str, *, after: str | None = None, timeout: float = 10.0) -> MembersPage:
        """A page of at most 100 members of a room. Raises RequestError."""
        frame: Frame = {"op": Op.MEMBERS, "channel": channel}
        if after is not None:
            frame["after"] = str(after)
        answer = await self._request(frame, timeout)
        members = answer.get("members")
        users = tuple(
            user for user in (members if isinstance(members, list) else []) if isinstance(user, str)
        )
        return MembersPage(users, text(answer.get("next")))

    async def _request(self, frame: Frame, timeout: float) -> Frame:
        if self.state == "closed":
            raise RequestError("closed")
        done: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        request = self._runner.call(
            self._core.request, frame, timeout * 1_000, lambda result: _settle(done, result)
        )
        try:
            return await done
        finally:
            self._runner.call(request.cancel)

    def _unsubscribe(self, subscription: EventStream) -> None:
        if isinstance(subscription, Subscription):
            self._subscriptions.discard(subscription)
            self._runner.call(self._core.channels.unsubscribe, subscription.feed)

    def _open_transport(self, url: str, on_message: OnMessage, on_end: OnEnd) -> Transport:
        return WebSocketTransport(url, self._socket_options, on_message, on_end)

    def _check(self) -> None:
        """Raises SessionEnded if the client has ended."""
        if error := self._failure():
            raise error

    def _failure(self) -> SessionEnded | None:
        """A new error for each task, because a task adds its traceback."""
        failure = self._core.failure
        return SessionEnded(failure.code, failure.close_code, failure.reason) if failure else None

    def _on_deliver(self, delivery: Deliver) -> None:
        event = delivery.event
        for feed in delivery.feeds:
            if not feed.is_closed:
                feed.deliver(event)
        if delivery.is_of_channel:
            for stream in list(self._streams):
                stream.push(event)
            self._emit(event)

    def _on_notify(self, event: ClientEvent) -> None:
        if isinstance(event, StateEvent):
            log.debug("state %s, code %s, reason %s", event.state, event.code, event.reason)
            if event.state == "closed":
                # By the gateway: when the app closes the client, no stream is left.
                for stream in [*self._subscriptions, *self._streams]:
                    if error := self._failure():
                        stream.interrupt(error)
            self._changes.notify()
        elif isinstance(event, ErrorEvent):
            # The text of an error of the app may contain a token.
            log.debug("error in %s: %s", event.where, type(event.error).__name__)
        self._emit(event)

    def _emit(self, event: ChannelEvent | ClientEvent) -> None:
        errors = self.emit(event.type, event)
        if not isinstance(event, (StateEvent, ErrorEvent)) and event.type != "latency":
            errors += self.emit("event", event)
        for error in errors:
            if event.type != "error" and self.has("error"):
                self._on_notify(ErrorEvent("listener", error))
            else:
                log.error("a listener for %r raised", event.type, exc_info=error)


def _settle(done: asyncio.Future[Any], result: object) -> None:
    """Gives a result to the task that waits for it, if it still waits."""
    if done.done():
        return
    if isinstance(result, GatewayError):
        done.set_exception(result)
    else:
        done.set_result(result)

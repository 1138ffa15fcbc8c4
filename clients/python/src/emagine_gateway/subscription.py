"""A subscription of the app to a channel."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from .channel import Feed
from .errors import SubscriptionRefused
from .events import ChannelEvent, Gap, Message, Refused, SubscriptionState
from .streams import Changes, EventStream


class Subscription(EventStream):
    """A subscription. Any number of them may share a channel, and each gets every event.

    Iterate over it for its events. It ends with ``unsubscribe``, with ``async with``, or when the
    client is closed. The loop gets ``SessionEnded`` when the gateway ends the client.
    """

    def __init__(
        self,
        limit: int,
        since: str | None,
        subscribe: Callable[[Callable[[ChannelEvent], None]], Feed],
        on_close: Callable[[EventStream], None],
        client_changes: Changes,
        check_client: Callable[[], None],
    ) -> None:
        super().__init__(limit, on_close)
        self._position = since
        self._client_changes = client_changes
        self._check_client = check_client
        self._refusal: str | None = None
        self.feed = subscribe(self._on_event)

    def __repr__(self) -> str:
        return f"<Subscription {self.channel} {self.state}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unsubscribe()

    @property
    def channel(self) -> str:
        """The channel's name."""
        return self.feed.channel.name

    @property
    def state(self) -> SubscriptionState:
        """The current state. The loop may still wait for earlier events."""
        return self.feed.state

    @property
    def position(self) -> str | None:
        """The position of the last durable message that the loop got, to pass as ``since`` later."""
        return self._position

    async def ready(self) -> None:
        """Waits until the channel is subscribed.

        Raises SubscriptionRefused, or SessionEnded if the client is closed.
        """
        while self.state != "subscribed":
            if self._refusal is not None:
                raise SubscriptionRefused(self.channel, self._refusal)
            if self.state == "closed":
                raise SubscriptionRefused(self.channel, "closed")
            self._check_client()
            await self._client_changes.wait()

    async def messages(
        self, on_gap: Callable[[Gap], Awaitable[None] | None] | None = None
    ) -> AsyncIterator[Message]:
        """Only the messages. ``on_gap`` is called, and awaited, where messages may be missing.

        Raises SubscriptionRefused if the channel is refused.
        """
        async for event in self:
            if isinstance(event, Message):
                yield event
            elif isinstance(event, Refused):
                raise SubscriptionRefused(event.channel, event.reason)
            elif isinstance(event, Gap) and on_gap is not None:
                result = on_gap(event)
                if inspect.isawaitable(result):
                    await result

    def unsubscribe(self) -> None:
        """Ends the subscription. The loop still gets the events that wait, and then ends."""
        self.close()

    def _on_event(self, event: ChannelEvent) -> None:
        self._refusal = event.reason if isinstance(event, Refused) else None
        self.push(event)
        self._client_changes.notify()

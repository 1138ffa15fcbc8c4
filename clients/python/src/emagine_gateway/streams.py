"""Events that wait for a loop."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from .errors import BufferOverflow
from .events import ChannelEvent, Gap, Message, Subscribed


class Changes:
    """Wakes the tasks that wait for a change."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """There was a change."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def wait(self) -> None:
        """Waits for the next change."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)


class EventStream(AsyncIterator[ChannelEvent]):
    """The events since it was made, in order, each once. It is made for one loop.

    It holds at most ``limit`` events. When one more comes, it closes: the loop gets those and then
    ``BufferOverflow``. Without a loop it drops them instead and stays open, because the app may use
    only listeners.
    """

    def __init__(self, limit: int, on_close: Callable[["EventStream"], None]) -> None:
        self._limit = limit
        self._on_close = on_close
        self._waiting: deque[ChannelEvent | Exception] = deque()
        self._changes = Changes()
        self._is_finished = False
        self._has_overflowed = False
        self._has_loop = False
        self._position: str | None = None

    def __aiter__(self) -> "EventStream":
        return self

    async def __anext__(self) -> ChannelEvent:
        self._has_loop = True
        while not self._waiting:
            if self._has_overflowed:
                self._has_overflowed = False
                self.close()
                raise BufferOverflow(self._limit, self._position)
            if self._is_finished:
                raise StopAsyncIteration
            await self._changes.wait()
        event = self._waiting.popleft()
        if isinstance(event, Exception):
            raise event
        if isinstance(event, (Message, Gap)) and event.position:
            self._position = event.position
        elif isinstance(event, Subscribed):
            self._position = self._position or event.position
        return event

    def close(self) -> None:
        """Ends it. The loop still gets the events that wait."""
        if not self._is_finished:
            self._is_finished = True
            self._changes.notify()
            self._on_close(self)

    def push(self, event: ChannelEvent) -> None:
        """An event has happened."""
        if self._is_finished or self._has_overflowed:
            return
        if len(self._waiting) >= self._limit:
            self._has_overflowed = True
            if self._has_loop:
                self.close()
            else:
                self._waiting.clear()
            return
        self._waiting.append(event)
        self._changes.notify()

    def interrupt(self, error: Exception) -> None:
        """The loop gets an error after the events that wait. It may iterate again."""
        if self._is_finished or self._has_overflowed:
            return
        if not (self._waiting and isinstance(self._waiting[-1], Exception)):
            self._waiting.append(error)
            self._changes.notify()

"""The listeners of a client."""

from collections.abc import Callable
from typing import Any, Literal, overload

from .events import (
    ChannelEvent,
    ErrorEvent,
    Gap,
    LatencyEvent,
    Message,
    Pending,
    Presence,
    Recovered,
    Recovering,
    Refused,
    Signal,
    StateEvent,
    Subscribed,
)

Off = Callable[[], None]
"""Removes a listener."""
Listener = Callable[[Any], object]


class Emitter:
    """Calls listeners in the order of registration. If one raises, the others are called nevertheless."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[tuple[Listener]]] = {}

    @overload
    def on(self, type: Literal["state"], listener: Callable[[StateEvent], object]) -> Off: ...
    @overload
    def on(self, type: Literal["error"], listener: Callable[[ErrorEvent], object]) -> Off: ...
    @overload
    def on(self, type: Literal["latency"], listener: Callable[[LatencyEvent], object]) -> Off: ...
    @overload
    def on(self, type: Literal["event"], listener: Callable[[ChannelEvent], object]) -> Off: ...
    @overload
    def on(self, type: Literal["message"], listener: Callable[[Message], object]) -> Off: ...
    @overload
    def on(self, type: Literal["recovering"], listener: Callable[[Recovering], object]) -> Off: ...
    @overload
    def on(self, type: Literal["subscribed"], listener: Callable[[Subscribed], object]) -> Off: ...
    @overload
    def on(self, type: Literal["recovered"], listener: Callable[[Recovered], object]) -> Off: ...
    @overload
    def on(self, type: Literal["gap"], listener: Callable[[Gap], object]) -> Off: ...
    @overload
    def on(self, type: Literal["refused"], listener: Callable[[Refused], object]) -> Off: ...
    @overload
    def on(self, type: Literal["pending"], listener: Callable[[Pending], object]) -> Off: ...
    @overload
    def on(self, type: Literal["presence"], listener: Callable[[Presence], object]) -> Off: ...
    @overload
    def on(self, type: Literal["signal"], listener: Callable[[Signal], object]) -> Off: ...
    def on(self, type: str, listener: Listener) -> Off:
        """Adds a listener for a type of event, or with ``event`` for all events of channels.

        The returned function removes it.
        """
        # In a tuple of its own, so that a function that was added twice can be removed once.
        entry = (listener,)
        listeners = self._listeners.setdefault(type, [])
        listeners.append(entry)

        def off() -> None:
            self._listeners[type] = [one for one in self._listeners[type] if one is not entry]

        return off

    def emit(self, type: str, event: Any) -> list[Exception]:
        """Calls the listeners of a type. Returns what they raised."""
        errors = []
        for entry in list(self._listeners.get(type, ())):
            if not any(entry is one for one in self._listeners[type]):
                # Removed by a listener before it.
                continue
            try:
                entry[0](event)
            except Exception as error:
                errors.append(error)
        return errors

    def has(self, type: str) -> bool:
        """Whether there are listeners of a type."""
        return bool(self._listeners.get(type))

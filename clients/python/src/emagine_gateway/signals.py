"""Signals to the other sessions of a channel, such as "is typing" (op 18)."""

from collections.abc import Callable
from typing import Any

from .budget import Budget
from .protocol import Frame, Op
from .timers import Timers

_INTERVAL_MS = 250
"""At most one signal on a channel in this time, as ``session.signal_interval``."""
_PER_MINUTE = 600
"""The default of ``session.signals_per_minute``. The client uses 80 % of it."""


class Signals:
    """The signals of one client."""

    def __init__(self, timers: Timers, post: Callable[[Frame], bool]) -> None:
        self._timers = timers
        self._post = post
        self._budget = Budget(_PER_MINUTE)
        self._newest: dict[str, Frame] = {}
        """The newest signal that waits, by channel."""

    def send(self, channel: str, signal: Any) -> None:
        """Sends a signal, or drops it while the client is disconnected."""
        self._send({"op": Op.SIGNAL, "channel": channel, "signal": signal})

    def drop(self) -> None:
        """The state has changed: signals that wait are out of date."""
        self._newest.clear()

    def _send(self, frame: Frame) -> None:
        channel, now = frame["channel"], self._timers.now
        if self._timers.is_set(("signal", channel)):
            self._newest[channel] = frame
            return
        if self._budget.wait(now) > 0 or not self._post(frame):
            return
        self._budget.note(now)
        self._timers.set(("signal", channel), _INTERVAL_MS, lambda: self._on_interval(channel))

    def _on_interval(self, channel: str) -> None:
        if frame := self._newest.pop(channel, None):
            self._send(frame)

"""The wait before the next attempt, with full jitter.

Clients that were disconnected together do not reconnect together.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .protocol import ReconnectRule

_SPREAD_MS = 3_000
"""Clients that are disconnected together, without a time to reconnect, spread over this time."""


@dataclass(frozen=True, slots=True)
class BackoffOptions:
    """The back-off between connection attempts, in seconds."""

    base: float = 1.0
    """The first wait is a random time below this bound. The bound doubles with each attempt."""
    max: float = 30.0
    """The maximum of the bound."""
    stable: float = 10.0
    """A connection that lasted this long resets the bound."""


class Backoff:
    """Counts attempts, and chooses the wait before each. In milliseconds."""

    def __init__(self, options: BackoffOptions, random: Callable[[], float]) -> None:
        self.tries = 0
        self._random = random
        self._base_ms = options.base * 1_000
        self._max_ms = options.max * 1_000
        self._stable_ms = options.stable * 1_000

    def lasted(self, ready_ms: float) -> bool:
        """Call when a connection ends, with the time since its Ready. Whether it lasted."""
        is_stable = ready_ms >= self._stable_ms
        if is_stable:
            self.tries = 0
        return is_stable

    def next(self, rule: ReconnectRule | None = None) -> float:
        """The wait before the next attempt. Without a rule it is at least half of the bound."""
        bound: float = min(self._max_ms, self._base_ms * 2**self.tries)
        self.tries = min(self.tries + 1, 30)
        random = self._random()
        if rule is ReconnectRule.LONG_WAIT:
            # A client over its budget waits until it refills.
            return self._max_ms * (1 + random) / 2
        if rule is None:
            return bound * (1 + random) / 2
        return random * (max(bound, _SPREAD_MS) if rule is ReconnectRule.SPREAD else bound)

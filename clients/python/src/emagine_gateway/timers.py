"""The time of the core, and the timers that run at a later time."""

from collections.abc import Callable, Hashable


class Timers:
    """Timers by key. Setting a key again replaces its timer. The owner moves ``now``."""

    def __init__(self) -> None:
        self.now = 0.0
        """Milliseconds. Never moves back."""
        self._timers: dict[Hashable, tuple[float, Callable[[], None]]] = {}

    def set(self, key: Hashable, delay_ms: float, callback: Callable[[], None]) -> None:
        """Runs the callback after a delay."""
        # Removed first, so that timers of one time run in the order in which they were set.
        self._timers.pop(key, None)
        self._timers[key] = (self.now + max(delay_ms, 0), callback)

    def clear(self, *keys: Hashable) -> None:
        """Stops timers."""
        for key in keys:
            self._timers.pop(key, None)

    def is_set(self, key: Hashable) -> bool:
        """Whether the timer is waiting."""
        return key in self._timers

    @property
    def deadline(self) -> float | None:
        """When the next timer is due."""
        return min((at for at, _ in self._timers.values()), default=None)

    def run_due(self) -> None:
        """Runs the timers that are due at ``now``, in the order of their times."""
        while True:
            deadline = self.deadline
            if deadline is None or deadline > self.now:
                return
            key = next(key for key, (at, _) in self._timers.items() if at == deadline)
            _, callback = self._timers.pop(key)
            callback()

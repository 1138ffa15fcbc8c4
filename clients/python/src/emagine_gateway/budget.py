"""The message budget. The gateway closes a client (4007) that sends more messages than Hello allows."""

from collections import deque

_MINUTE_MS = 60_000


class Budget:
    """Limits the number of messages in any minute. A limit of 0 means no limit."""

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        self._sent: deque[float] = deque()
        """The times of the messages of the last minute."""

    def note(self, now: float) -> None:
        """Call when a message was sent, also for one that cannot wait (a heartbeat, a refresh)."""
        if self._per_minute > 0:
            self._sent.append(now)

    def wait(self, now: float) -> float:
        """The time until a message that can wait may be sent, in milliseconds; 0 means now.

        A part of the budget stays free for messages that cannot wait.
        """
        if self._per_minute == 0:
            return 0
        while self._sent and now - self._sent[0] >= _MINUTE_MS:
            self._sent.popleft()
        usable = max(1, int(self._per_minute * 0.8))
        return 0 if len(self._sent) < usable else self._sent[-usable] + _MINUTE_MS - now

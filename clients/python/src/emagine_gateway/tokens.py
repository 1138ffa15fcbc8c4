"""Tokens: where they come from, their users, and when a new one is needed."""

import base64
import json
from collections.abc import Callable

from .errors import TokenError
from .outputs import AskToken, TokenReason
from .timers import Timers

_SOONEST_MS = 1_000
"""The minimum time between two refreshes."""


def user_of(token: str) -> str:
    """The user of a token: a JWT's ``sub``, the signed part of a login token, or the token itself."""
    parts = token.split(".")
    if len(parts) < 3 or len(parts[-1]) < 20:
        return token
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return str(claims["sub"]) if claims.get("sub") is not None else token
    except (ValueError, AttributeError):
        return ".".join(parts[:-2])


class Refresh:
    """Renews the token of a session before it expires."""

    def __init__(self, timers: Timers, random: Callable[[], float], renew: Callable[[], None]) -> None:
        self._timers = timers
        self._random = random
        self._renew = renew
        self._expires_at: float | None = None
        self._renewed_at: float | None = None

    def on_expiry(self, expires_in_ms: float | None) -> None:
        """Renews a token with this lifetime when a fifth to a tenth of it is left."""
        self._expires_at = None
        self.clear()
        if expires_in_ms is None:
            return
        self._expires_at = self._timers.now + expires_in_ms
        self._in(expires_in_ms * (0.8 + 0.1 * self._random()))

    def on_failed(self) -> None:
        """The token was not renewed: tries again before it expires."""
        if self._expires_at is not None:
            self._in((self._expires_at - self._timers.now) / 3)

    def now(self) -> None:
        """Refreshes the token at once, or as soon as another refresh is allowed."""
        self._in(0)

    def clear(self) -> None:
        """The session has ended."""
        self._timers.clear("refresh")

    def _in(self, delay_ms: float) -> None:
        if self._renewed_at is not None:
            delay_ms = max(delay_ms, self._renewed_at + _SOONEST_MS - self._timers.now)
        self._timers.set("refresh", delay_ms, self._run)

    def _run(self) -> None:
        self._renewed_at = self._timers.now
        self._renew()


class TokenSource:
    """Asks for tokens, one at a time, with a timeout."""

    def __init__(
        self,
        timers: Timers,
        output: Callable[[AskToken], None],
        on_error: Callable[[Exception], None],
        token: str | None,
        timeout_ms: float,
    ) -> None:
        self._timers = timers
        self._output = output
        self._on_error = on_error
        self._token = token
        self._timeout_ms = timeout_ms
        self._serial = 0
        self._pending: tuple[Callable[[str | None], None], Callable[[], None]] | None = None

    @property
    def may_ask(self) -> bool:
        """Whether there may be another token than the first one."""
        return self._token is None

    @property
    def is_asking(self) -> bool:
        """Whether a token is on its way."""
        return self._pending is not None

    def ask(
        self, reason: TokenReason, on_answer: Callable[[str | None], None], on_failed: Callable[[], None]
    ) -> None:
        """Gets a token. ``None`` means that nobody is logged in."""
        if self._token is not None:
            on_answer(self._token)
            return
        self._serial += 1
        serial = self._serial
        self._pending = (on_answer, on_failed)
        error = TokenError("timeout", "token timed out")
        self._timers.set("token", self._timeout_ms, lambda: self.failed(serial, error))
        self._output(AskToken(serial, reason))

    def received(self, serial: int, token: object) -> None:
        """The answer."""
        if token is not None and not isinstance(token, str):
            # The error does not quote the value: it may be a secret.
            self.failed(serial, TokenError("token", "token is not a string"))
        elif pending := self._take(serial):
            pending[0](token)

    def failed(self, serial: int, error: Exception) -> None:
        """There is no answer."""
        if pending := self._take(serial):
            self._on_error(error)
            pending[1]()

    def forget(self) -> None:
        """The answer is not needed any more."""
        self._pending = None
        self._timers.clear("token")

    def _take(self, serial: int) -> tuple[Callable[[str | None], None], Callable[[], None]] | None:
        if serial != self._serial:
            return None
        pending = self._pending
        self.forget()
        return pending

"""Runs the core in an event loop: its clock, its timers, its socket and its tokens."""

import asyncio
import inspect
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from .core import CoreOptions, GatewayCore
from .events import ClientEvent
from .outputs import AskToken, CloseSocket, Deliver, Notify, OpenSocket, SendText, TokenReason
from .transport import OpenTransport, Transport

_P = ParamSpec("_P")
_R = TypeVar("_R")

TokenFunction = Callable[[TokenReason], str | Awaitable[str | None] | None]
"""Returns a token. ``None`` means that nobody is logged in."""

log = logging.getLogger("emagine_gateway")


@dataclass(frozen=True, slots=True)
class Environment:
    """What tests replace."""

    now: Callable[[], float] | None = None
    """Unix time in milliseconds that only moves on. By default the loop's clock."""
    random: Callable[[], float] = random.random
    """A random number, at least 0 and below 1."""
    open_transport: OpenTransport | None = None
    """Opens a socket."""


class Runner:
    """Carries out the outputs of a core, and passes on what happens."""

    def __init__(
        self,
        options: CoreOptions,
        token: TokenFunction | None,
        environment: Environment,
        open_transport: OpenTransport,
        on_deliver: Callable[[Deliver], None],
        on_notify: Callable[[ClientEvent], None],
    ) -> None:
        self.core = GatewayCore(options, environment.random)
        self._token = token
        self._now = environment.now
        self._open_transport = environment.open_transport or open_transport
        self._on_deliver = on_deliver
        self._on_notify = on_notify
        self._loop: asyncio.AbstractEventLoop | None = None
        self._epoch_ms = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._is_carrying_out = False
        self._is_due = False
        """Outputs are carried out in the next turn of the loop."""
        self._transport: Transport | None = None
        self._endings: set[asyncio.Task[Any]] = set()
        self._token_task: asyncio.Task[None] | None = None

    def call(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Passes a call of the app to the core. Its outputs are carried out after this turn."""
        loop = self._tick()
        result = function(*args, **kwargs)
        if not self._is_due and not self._is_carrying_out:
            self._is_due = True
            loop.call_soon(self._carry_out)
        return result

    async def wait_closed(self) -> None:
        """Carries out what is left, and waits until the sockets are closed."""
        self._carry_out()
        # A listener of the end may have called `connect`, which needs the token.
        if self._token_task and not self.core.is_asking:
            self._token_task.cancel()
            self._endings.add(self._token_task)
        while self._endings:
            await asyncio.wait(self._endings)
            self._endings = {task for task in self._endings if not task.done()}

    def _tick(self) -> asyncio.AbstractEventLoop:
        """Moves the core's clock: Unix time that only moves on."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._epoch_ms = (time.time() - self._loop.time()) * 1_000
        timers = self.core.timers
        now = self._now() if self._now else self._epoch_ms + self._loop.time() * 1_000
        timers.now = max(timers.now, now)
        return self._loop

    def _input(self, function: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs) -> None:
        self._tick()
        function(*args, **kwargs)
        self._carry_out()

    def _carry_out(self) -> None:
        self._is_due = False
        if self._is_carrying_out:
            return
        self._is_carrying_out = True
        outputs = self.core.outputs
        try:
            while outputs:
                match outputs.popleft():
                    case Deliver() as delivery:
                        self._on_deliver(delivery)
                    case Notify(event):
                        self._on_notify(event)
                    case SendText(text):
                        if self._transport:
                            self._transport.send(text)
                    case OpenSocket(serial, url):
                        self._open(serial, url)
                    case CloseSocket(code):
                        self._close(code)
                    case AskToken(serial, reason):
                        self._ask_token(serial, reason)
        finally:
            self._is_carrying_out = False
        self._set_timer()

    def _set_timer(self) -> None:
        deadline = self.core.timers.deadline
        if self._loop is None or deadline == self._timer_at:
            return
        if self._timer:
            self._timer.cancel()
        self._timer, self._timer_at = None, deadline
        if deadline is not None:
            delay_ms = deadline - self.core.timers.now
            self._timer = self._loop.call_later(max(delay_ms, 0) / 1_000, self._on_timer)

    def _on_timer(self) -> None:
        timers = self.core.timers
        # The loop may run a timer a moment too early.
        timers.now = max(timers.now, self._timer_at or 0)
        self._timer = self._timer_at = None
        self._input(self.core.run_timers)

    def _open(self, serial: int, url: str) -> None:
        core = self.core
        self._transport = self._open_transport(
            url,
            lambda data: self._input(core.received, serial, data),
            lambda code, reason, error: self._input(core.ended, serial, code, reason, error),
        )

    def _close(self, code: int) -> None:
        transport, self._transport = self._transport, None
        if transport and self._loop:
            transport.close(code)
            ending = self._loop.create_task(transport.wait_closed())
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    def _ask_token(self, serial: int, reason: TokenReason) -> None:
        if self._token_task:
            self._token_task.cancel()
        if self._loop:
            self._token_task = self._loop.create_task(self._get_token(serial, reason))

    async def _get_token(self, serial: int, reason: TokenReason) -> None:
        assert self._token is not None
        try:
            token = self._token(reason)
            if inspect.isawaitable(token):
                token = await token
        except Exception as error:
            self._input(self.core.token_failed, serial, error)
        else:
            self._input(self.core.token_received, serial, token)

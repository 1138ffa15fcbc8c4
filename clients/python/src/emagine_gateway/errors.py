"""The errors of this library. Each has a ``code``."""


class GatewayError(Exception):
    """The base of all errors. ``code`` is for programs, the text for people."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(detail or code)
        self.code = code


class TokenError(GatewayError):
    """The token function returned something else than a string, or took too long (``timeout``)."""


class SoftError(GatewayError):
    """The gateway refused a request (op 9), and the session continues."""


class SessionEnded(GatewayError):
    """The client does not reconnect by itself. ``connect`` starts again.

    ``code`` is ``closed`` (by the app, or by the gateway, for example with 4003 or 4010), or
    ``disconnected`` (by the app).
    """

    def __init__(self, code: str, close_code: int | None, reason: str) -> None:
        super().__init__(code, " ".join(str(part) for part in (close_code, reason) if part))
        self.close_code = close_code
        """The close code of the gateway, if there was one."""
        self.reason = reason


class SubscriptionRefused(GatewayError):
    """The channel is not allowed or cannot be requested. ``code`` is the reason of ``Refused``."""

    def __init__(self, channel: str, reason: str) -> None:
        super().__init__(reason, f"{channel}: {reason}")
        self.channel = channel


class BufferOverflow(GatewayError):
    """More than ``buffer_size`` events waited for the loop. It does not get the later ones.

    ``code`` is ``buffer_overflow``. ``position`` is that of the last event that the loop has
    finished: subscribe again with it as ``since``.
    """

    def __init__(self, limit: int, position: str | None) -> None:
        super().__init__("buffer_overflow", f"{limit} events waited")
        self.position = position


class RequestError(GatewayError):
    """A request for history or members failed. ``code`` is one of:

    - ``not_allowed``: the namespace does not allow it, or the user may not use the channel.
    - ``unavailable``: the gateway cannot read the data now.
    - ``timeout``: the channel was not subscribed, or the request not answered, in time.
    - ``disconnected``: the connection was lost before the answer.
    - ``closed``: the client is closed.
    - another reason of a refused subscription, or another code of op 9.
    """


class MessageError(GatewayError):
    """A message was not sent. ``code`` is one of:

    - ``not_allowed``, ``bad_channel``: the user may not use the channel; not a channel's name.
    - ``too_big``: the message is longer than the gateway allows.
    - ``queue_full``: too many messages of this client wait.
    - ``user_changed``: another user has logged in since the app called ``send``.
    - ``unconfirmed``: no acknowledgement came for so long that repeating it might store it twice.
    - ``malformed``: the gateway ended the session because of this message.
    - ``closed``: the client is closed.
    """

    def __init__(self, code: str, detail: str | None, id: str, may_be_stored: bool = False) -> None:
        super().__init__(code, detail)
        self.id = id
        """Pass it to ``send`` to try again without a duplicate."""
        self.may_be_stored = may_be_stored
        """The gateway may have stored the message, because an attempt was not answered."""

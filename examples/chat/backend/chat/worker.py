"""The loop of both workers: it reads a stream of the gateway with a consumer group."""

import os
from collections.abc import Callable

import redis

from . import settings

# Entries that a worker read and did not finish within this time are read by another one.
MIN_IDLE_MS = 60_000


def connect() -> redis.Redis:
    # Without timeouts, a Redis that hangs would hang the worker. The blocking read waits 1 s.
    return redis.Redis.from_url(
        settings.redis_url(),
        password=settings.redis_password(),
        socket_timeout=10,
        socket_connect_timeout=2,
        decode_responses=True,
    )


def run(client: redis.Redis, stream: str, group: str, handle: Callable[[dict[str, str]], None]) -> None:
    """Handles each entry, and deletes it afterwards. Ends when Redis fails; a supervisor starts it again."""
    name = f"worker-{os.getpid()}"
    try:
        client.xgroup_create(stream, group, id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise

    def process(entries: list[tuple[str, dict[str, str]]]) -> None:
        for entry, fields in entries:
            handle(fields)
            with client.pipeline(transaction=True) as both:
                both.xack(stream, group, entry)
                both.xdel(stream, entry)
                both.execute()

    while True:
        process(client.xautoclaim(stream, group, name, min_idle_time=MIN_IDLE_MS, count=100)[1])
        for _, entries in client.xreadgroup(group, name, {stream: ">"}, count=100, block=1_000) or []:
            process(entries)

"""The adapter of a client: a process that replies to each command with one line."""

import contextlib
import json
import queue
import subprocess
import threading

from .failure import AdapterError

# Only an adapter that hangs waits so long.
TIMEOUT_S = 20
# An adapter that fails more often is not worth the wait.
MAX_RESTARTS = 3


class Adapter:
    """Starts the adapter. Use it in a `with` statement, which ends the process."""

    def __init__(self, command, trace=None):
        self.trace = trace or (lambda line: None)
        self.command = command
        self.restarts = 0
        self._start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()

    def restart(self):
        """Ends the process and starts another one, unless that was done too often."""
        self.restarts += 1
        if self.restarts > MAX_RESTARTS:
            raise AdapterError(f"the adapter failed {self.restarts} times; no further scenario is run")
        self._end()
        self._start()

    def _start(self):
        try:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
            )
        except OSError as error:
            raise AdapterError(f"cannot start the adapter: {error}") from None
        # Each process has a queue of its own: the end of an earlier one must not count for it.
        self.lines = queue.Queue()
        reader = threading.Thread(target=_read, args=(self.process.stdout, self.lines), daemon=True)
        reader.start()

    def _end(self):
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def request(self, command):
        """Sends a command and returns the reply, an object."""
        line = json.dumps(command)
        self.trace(f"> {line}")
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError:
            raise AdapterError(f"the adapter has ended before {line}") from None
        try:
            reply = self.lines.get(timeout=TIMEOUT_S)
        except queue.Empty:
            raise AdapterError(f"no reply within {TIMEOUT_S} s to {line}") from None
        if reply is None:
            raise AdapterError(f"the adapter ended instead of replying to {line}")
        self.trace(f"< {reply.rstrip()}")
        return self._parsed(reply, line)

    @staticmethod
    def _parsed(reply, line):
        try:
            value = json.loads(reply)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise AdapterError(f"the reply to {line} is not a JSON object: {reply.rstrip()}")
        return value


def _read(stream, lines):
    """Puts each line into the queue, and None at the end."""
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)

"""The adapter of a client: a process that replies to each command with one line."""

import json
import queue
import subprocess
import threading

from .failure import AdapterError

# Only an adapter that hangs waits so long.
TIMEOUT_S = 20


class Adapter:
    """Starts the adapter. Use it in a `with` statement, which ends the process."""

    def __init__(self, command, trace=None):
        self.trace = trace or (lambda line: None)
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
            )
        except OSError as error:
            raise AdapterError(f"cannot start the adapter: {error}") from None
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

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

    def _read(self):
        try:
            for line in self.process.stdout:
                self.lines.put(line)
        except ValueError:
            pass  # The stream was closed.
        self.lines.put(None)

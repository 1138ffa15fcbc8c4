"""A tiny client with its adapter. The first argument sabotages it.

It identifies, answers heartbeats, resumes one channel and obeys 4010: enough for three scenarios.
"""

import json
import sys

FLAW = sys.argv[1] if len(sys.argv) > 1 else None
OWN = ("user:42", "all")


class TinyClient:
    def __init__(self, options, random):
        self.options, self.random = options, random
        self.effects, self.wanted, self.positions = [], [], {}
        self.sockets, self.retry_in = 0, None

    def report(self, kind, **fields):
        self.effects.append({"type": kind, **fields})

    def open(self):
        self.sockets += 1
        self.retry_in = None
        self.report("open", socket=self.sockets, url=self.options["url"] + "?v=2")

    def send(self, frame):
        self.report("frame", socket=self.sockets, text=json.dumps(frame))

    def do(self, action, channel=None, **_):
        if action == "subscribe":
            self.wanted.append(channel)
        elif action == "connect":
            self.open()

    def receive(self, text, **_):
        frame = json.loads(text)
        op = frame["op"]
        if op == 0:
            self.send({"op": 1, "token": self.options["token"], "channels": self.channels()})
        elif op == 2:
            self.report("state", state="connected")
            for state in frame["channels"]:
                self.on_channel(**state)
        elif op == 3:
            self.on_message(frame)
        elif op == 10 and FLAW != "mute":
            self.send({"op": 11, "time": frame["time"]})

    def channels(self):
        names = [*(OWN if self.positions else ()), *self.wanted]
        return [self.entry(name) for name in names]

    def entry(self, name):
        position = None if FLAW == "forgetful" else self.positions.get(name)
        return {"channel": name, "since": position} if position else {"channel": name}

    def on_channel(self, channel, position, recovered=None):
        self.positions[channel] = position
        self.report("event", event="subscribed", channel=channel, position=position)
        if recovered:
            self.report("event", event="recovered", channel=channel)

    def on_message(self, frame):
        position = frame.get("position")
        if position:
            self.positions[frame["channel"]] = position
        fields = {key: frame[key] for key in ("channel", "message", "position") if key in frame}
        for _ in range(2 if FLAW == "repeating" else 1):
            self.report("event", event="message", **fields)

    def close(self, code, **_):
        if code == 4010 and FLAW != "stubborn":
            self.report("state", state="closed", code=code)
        else:
            self.cut()

    def cut(self, **_):
        self.report("state", state="waiting", code=1006)
        self.retry_in = self.options["backoff_base_ms"] * self.random

    def advance(self, ms):
        if self.retry_in is not None:
            self.retry_in -= ms
            if self.retry_in <= 0:
                self.open()

    def accept(self, **_):
        pass


client = None
for line in sys.stdin:
    command = json.loads(line)
    name = command.pop("cmd")
    if name == "info":
        reply = {"client": "tiny", "features": []}
    else:
        if name == "start":
            client = TinyClient(**command)
        else:
            getattr(client, name)(**command)
        reply = {"effects": client.effects, "next": client.retry_in}
        client.effects = []
    print(json.dumps(reply), flush=True)

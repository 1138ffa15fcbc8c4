"""Faults between the runner and the adapter, which make a correct client look like a broken one."""

import json

from .matching import mismatch

KINDS = ("deaf", "mute", "strip", "breaks", "ignore", "lose", "twice", "code", "option", "random", "speed")


def matches(pattern, value):
    return mismatch(pattern, value, {}) is None


class Mutant:
    """Looks like an adapter, and alters commands or replies of the real one."""

    def __init__(self, adapter, spec):
        self.adapter = adapter
        ((self.kind, self.value),) = spec.items()
        self.next = None

    def request(self, command):
        command = self._command(command)
        if command is None:
            return {"effects": [], "next": self.next}
        reply = self.adapter.request(command)
        effects = [altered for one in reply.get("effects", []) for altered in self._effects(one)]
        self.next = reply.get("next")
        if self.kind == "speed" and self.next is not None:
            self.next /= self.value
        return {**reply, "effects": effects, "next": self.next}

    def _command(self, command):
        cmd = command["cmd"]
        if self.kind == "ignore" and cmd == "do" and command["action"] == self.value:
            return None
        if self.kind == "deaf" and cmd == "receive" and self._hears(command):
            return None
        if self.kind == "breaks" and cmd == "receive" and self._hears(command):
            return {"cmd": "cut", "socket": command["socket"]}
        if self.kind == "option" and cmd == "start":
            return {**command, "options": {**command["options"], **self.value}}
        if self.kind == "code" and cmd == "close" and command["code"] == self.value[0]:
            return _ended_with(self.value[1], command)
        if self.kind == "random" and cmd == "start":
            return {**command, "random": self.value}
        if self.kind == "random" and cmd == "random":
            return {**command, "value": self.value}
        if self.kind == "speed" and cmd == "advance":
            return {**command, "ms": command["ms"] * self.value}
        return command

    def _hears(self, command):
        return matches(self.value, _parsed(command["text"]))

    def _effects(self, effect):
        if self.kind == "mute" and effect["type"] == "frame":
            return [] if matches(self.value, _parsed(effect["text"])) else [effect]
        if self.kind == "strip" and effect["type"] == "frame":
            return [{**effect, "text": json.dumps(_without(self.value, _parsed(effect["text"])))}]
        if self.kind == "lose" and matches(self.value, effect):
            return []
        if self.kind == "twice" and matches(self.value, effect):
            return [effect, effect]
        return [effect]


def _parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def _ended_with(code, command):
    if code == 1006:
        return {"cmd": "cut", "socket": command["socket"]}
    return {**command, "code": code}


def _without(field, frame):
    if not isinstance(frame, dict):
        return frame
    left = {key: value for key, value in frame.items() if key != field}
    if isinstance(left.get("channels"), list):
        left["channels"] = [_without(field, entry) for entry in left["channels"]]
    return left

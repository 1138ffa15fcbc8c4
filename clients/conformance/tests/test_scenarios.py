"""The scenarios and their schema."""

import json
import pathlib
import re
import sys
import unittest

FOLDER = pathlib.Path(__file__).parent
ROOT = FOLDER.parent.parent.parent
sys.path.insert(0, str(FOLDER.parent))

from kit import frames, mutants, schema, steps, world  # noqa: E402
from kit.scenario import load  # noqa: E402

SCHEMA = json.loads((FOLDER.parent / "scenario.schema.json").read_text("utf-8"))
PROTOCOL = (ROOT / "docs/protocol.md").read_text("utf-8")
README = (FOLDER.parent / "README.md").read_text("utf-8")


def kinds(name):
    """The first fields of the choices of a step or a mutant."""
    return [next(iter(one["properties"])) for one in SCHEMA["$defs"][name]["oneOf"]]


def all_steps():
    return [step for scenario in load().values() for step in scenario["steps"]]


def ops_of(name):
    return {step[name]["op"] for step in all_steps() if name in step}


def anchors_of(page):
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Scenarios(unittest.TestCase):
    def test_every_rule_names_an_existing_heading(self):
        for name, scenario in load().items():
            page, _, anchor = scenario["rule"].split(": ")[0].partition("#")
            self.assertIn(anchor, anchors_of(page), name)

    def test_titles_differ(self):
        titles = [scenario["title"] for scenario in load().values()]
        self.assertEqual(len(set(titles)), len(titles))

    def test_an_invalid_scenario_is_refused_with_its_place(self):
        valid = {"title": "x", "rule": "docs/protocol.md: x", "steps": [], "mutants": [{"random": 0}]}
        cases = [
            ({"do": "connect"}, None),
            ({"do": "conect"}, "it.steps[0].do violates enum"),
            ({"open": True, "within": 3}, "it.steps[0].within is unknown"),
            ({"opens": True}, "it.steps[0] is none or several of the choices"),
            ({"open": True, "ms": [1]}, "it.steps[0].ms violates minItems"),
            ({"send": []}, "it.steps[0].send is not of the type object"),
            ({"random": 1}, "it.steps[0].random violates exclusiveMaximum"),
        ]
        for step, expected in cases:
            why = schema.problem({**valid, "steps": [step]}, SCHEMA)
            self.assertEqual((why or "")[: len(expected or "")], expected or "", step)
            self.assertEqual(why is None, expected is None)


class Coverage(unittest.TestCase):
    """docs/protocol.md has nothing for clients that no scenario has."""

    def test_scenarios_have_every_op(self):
        rows = re.findall(r"^\| (\d{1,2}) \| [\w ]+ \| ([^|]+) \|", PROTOCOL, re.MULTILINE)
        sent = {int(op) for op, direction in rows if direction in ("both", "S→C", "server → client")}
        expected = {int(op) for op, direction in rows if direction not in ("S→C", "server → client")}
        self.assertEqual(expected, set(frames.FIELDS))
        # The runner sends and expects the frames of a session, and answers heartbeats.
        self.assertEqual(sent - ops_of("send"), {11})
        self.assertEqual(expected - ops_of("expect"), {10})

    def test_scenarios_have_every_close_code(self):
        section = PROTOCOL.split("## Close codes")[1].split("\n## ")[0]
        codes = {int(code) for code in re.findall(r"^\| (\d{4}) \|", section, re.MULTILINE)}
        closed_with = {step["close"] for step in all_steps() if "close" in step}
        self.assertEqual(codes - closed_with, set())

    def test_scenarios_have_every_refusal_that_clients_treat_alone(self):
        sent = {step["send"].get("code") for step in all_steps() if "send" in step}
        codes = {"refresh_failed", "not_allowed", "unavailable", "too_big", "rate_limited", "busy"}
        self.assertEqual(codes - sent, set())


class Format(unittest.TestCase):
    def test_the_runner_has_every_step_of_the_schema(self):
        self.assertEqual(sorted(steps.BY_NAME), sorted(kinds("step")))

    def test_the_readme_has_every_step_and_mutant(self):
        for kind in [*kinds("step"), *kinds("mutant")]:
            self.assertIn(f'`{{"{kind}":', README)

    def test_an_unknown_mutant_is_refused(self):
        self.assertEqual(sorted(mutants.KINDS), sorted(kinds("mutant")))

    def test_the_readme_has_every_option_action_and_event(self):
        actions = SCHEMA["$defs"]["step"]["oneOf"][0]["properties"]["do"]["enum"]
        for name in [*world.OPTIONS, *actions, *world.EVENTS]:
            self.assertIn(f"`{name}`", README)


if __name__ == "__main__":
    unittest.main()

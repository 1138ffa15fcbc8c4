#!/usr/bin/env python3
"""Runs the conformance kit against the adapter of a client. README.md explains it."""

import argparse
import sys

from kit.adapter import Adapter
from kit.failure import AdapterError
from kit.mutants import Mutant
from kit.scenario import load, play


def arguments(given):
    own, command = given, []
    if "--" in given:
        own, command = given[: given.index("--")], given[given.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, usage="run.py [options] [NAME…] -- COMMAND…")
    parser.add_argument("names", nargs="*", metavar="NAME", help="run scenarios that begin with this")
    parser.add_argument("--trace", action="store_true", help="print every command and reply")
    parser.add_argument("--mutants", action="store_true", help="check that each mutant is noticed")
    parser.add_argument(
        "--without", action="append", default=[], metavar="FEATURE", help="skip what needs this feature"
    )
    options = parser.parse_args(own)
    if not command:
        parser.error("-- and the command of the adapter are missing")
    options.command = command
    return options


def run(options, scenarios):
    """Runs the scenarios, and prints a line for each. Returns the number of failures."""
    failed = skipped = 0
    with Adapter(options.command, print if options.trace else None) as adapter:
        info = adapter.request({"cmd": "info"})
        for name, scenario in scenarios.items():
            lacking = set(scenario.get("needs", [])) - set(info.get("features", []))
            if lacking & set(options.without):
                skipped += 1
                print(f"skip {name}: the client lacks {', '.join(sorted(lacking))}")
                continue
            for title, why in verdicts(adapter, scenario, lacking, options.mutants):
                failed += why is not None
                print(f"ok   {name}: {title}" if why is None else f"FAIL {name}: {title}\n     {why}")
    print(f"{info.get('client')}: {len(scenarios)} scenarios, {failed} failed, {skipped} skipped")
    return failed


def verdicts(adapter, scenario, lacking, is_mutated):
    """What was checked, and why the check failed or None."""
    if lacking:
        yield scenario["title"], f"the client lacks {', '.join(sorted(lacking))}"
    elif not is_mutated:
        yield scenario["title"], verdict(adapter, adapter, scenario)[1]
    else:
        for spec in scenario["mutants"]:
            is_error, why = verdict(adapter, Mutant(adapter, spec), scenario)
            if why is None:
                yield f"{spec}", "the scenario passes with this mutant"
            else:
                yield f"{spec}: {why}", why if is_error else None


def verdict(adapter, seen, scenario):
    """Whether the adapter failed, and why the scenario failed or None."""
    try:
        return False, play(seen, scenario)
    except AdapterError as error:
        # Another process, so that the next scenarios do not suffer.
        adapter.restart()
        return True, str(error)


def main(given):
    options = arguments(given)
    try:
        scenarios = load(options.names)
        if not scenarios:
            raise ValueError("no scenario has this name")
        failed = run(options, scenarios)
    except (AdapterError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

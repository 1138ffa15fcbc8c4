"""Scenarios: reading them, and running one."""

import json
import pathlib

from . import steps
from .failure import AdapterError, Failure
from .schema import problem
from .world import World

FOLDER = pathlib.Path(__file__).parent.parent
SCENARIOS = FOLDER / "scenarios"


def load(prefixes=()):
    """The scenarios by name, those with one of these prefixes. Raises ValueError for an invalid file."""
    schema = json.loads((FOLDER / "scenario.schema.json").read_text("utf-8"))
    scenarios = {}
    for path in sorted(SCENARIOS.glob("*.json")):
        if prefixes and not path.stem.startswith(tuple(prefixes)):
            continue
        try:
            scenario = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from None
        why = problem(scenario, schema)
        if why:
            raise ValueError(f"{path.name}: {why}")
        scenarios[path.stem] = scenario
    return scenarios


def play(adapter, scenario):
    """Runs a scenario. Returns why the client fails it, or None if it passes."""
    where = "start"
    try:
        world = World(adapter, scenario)
        for number, step in enumerate(scenario["steps"], 1):
            where = f"step {number}, {json.dumps(step)[:120]}"
            steps.BY_NAME[next(iter(step))](world, step)
        where = "the end"
        steps.check_nothing_left(world)
    except Failure as failure:
        return f"{where}: {failure}"
    except AdapterError as error:
        raise AdapterError(f"{where}: {error}") from None
    except (KeyError, TypeError) as error:
        raise AdapterError(f"{where}: a reply lacks something: {error!r}") from error
    return None


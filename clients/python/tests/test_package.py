"""What the package contains, and what its README says."""

import ast
import inspect
import unittest
from pathlib import Path

from readme import readme_programs

import emagine_gateway
from emagine_gateway import GatewayClient, GatewayError, Subscription

_README = Path(__file__).parents[1] / "README.md"


class Package(unittest.TestCase):
    def test_has_types(self) -> None:
        self.assertTrue((Path(emagine_gateway.__file__).parent / "py.typed").exists())

    def test_exports_every_name(self) -> None:
        for name in emagine_gateway.__all__:
            self.assertTrue(hasattr(emagine_gateway, name), name)

    def test_core_does_no_io(self) -> None:
        """Nothing that the core imports reads a clock, sleeps, or opens a socket."""
        folder = Path(emagine_gateway.__file__).parent
        seen, waiting = set(), ["core"]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
                if isinstance(node, ast.ImportFrom) and node.level and node.module:
                    waiting.append(node.module)
                elif isinstance(node, (ast.Import, ast.ImportFrom)):
                    names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                    self.assertFalse(names & {"asyncio", "time", "socket", "websockets", "random"}, name)
        self.assertGreater(len(seen), 10)


class Readme(unittest.TestCase):
    def test_programs_are_python(self) -> None:
        self.assertGreater(len(readme_programs()), 3)
        for program in readme_programs():
            compile(program, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    def test_names_every_member_and_error(self) -> None:
        page = _README.read_text(encoding="utf-8")
        members = [name for kind in (GatewayClient, Subscription) for name in vars(kind)]
        errors = [
            name
            for name, value in vars(emagine_gateway).items()
            if inspect.isclass(value) and issubclass(value, GatewayError)
        ]
        for name in [*members, *errors]:
            if not name.startswith("_") and name != "feed":
                self.assertRegex(page, rf"\b{name}\b")


if __name__ == "__main__":
    unittest.main()

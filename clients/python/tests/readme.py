"""The programs of the README."""

from pathlib import Path


def readme_programs() -> list[str]:
    """The blocks of Python."""
    page = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    return [block.split("```")[0] for block in page.split("```python\n")[1:]]

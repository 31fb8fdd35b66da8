"""The scenarios that come with forebay, by name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from forebay.scenarios.replay.reading import load_scenario
from forebay.scenarios.replay.schema import Scenario


def library() -> dict[str, Path]:
    """Every scenario file, by name, in order."""
    folder = Path(str(files("forebay.scenarios") / "library"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def found(name: str) -> Path:
    """The file that `name` is the path of, or one of the library by its name. Raises `LookupError` with advice."""
    path = Path(name)
    if path.is_file():
        return path
    known = library()
    if name in known:
        return known[name]
    raise LookupError(f"there is no file {name} and no scenario of that name in the library: {', '.join(known)}")


def scenarios() -> dict[str, Scenario]:
    """The whole library, read. Raises `ConfigError`."""
    return {name: load_scenario(path) for name, path in library().items()}

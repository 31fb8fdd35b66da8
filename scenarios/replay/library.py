"""The scenarios that come with forebay, by name."""

from __future__ import annotations

from importlib.resources import files
from os.path import exists, isfile
from pathlib import Path
from typing import Final

from forebay.config.problems import shorten
from forebay.config.structure import nearest
from forebay.scenarios.replay.reading import load_scenario
from forebay.scenarios.replay.schema import Scenario

KEPT: Final = "scenario.yaml"
"""The scenario in the folder of a kept run."""


def library() -> dict[str, Path]:
    """Every scenario file, by name, in order."""
    folder = Path(str(files("forebay.scenarios") / "library"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def found(name: str) -> Path:
    """The file that `name` is the path of, or that of a kept run in the folder `name`, or one of the library by its name.

    Raises `LookupError` with advice.
    """
    path, known = Path(name), library()
    for file in (path, path / KEPT):
        if isfile(file):  # noqa: PTH113 - Path raises where a name is too long
            return file
    if name in known:
        return known[name]
    if name and exists(path):  # noqa: PTH110 - as above
        raise LookupError(f"{name} is no file, and no folder that a failed run left; name a scenario file")
    what = f"there is no file {shorten(name)!r} and no scenario of that name in the library"
    raise LookupError(f"{what}; {nearest(name, known)}")


def scenarios() -> dict[str, Scenario]:
    """The whole library, read. Raises `ConfigError`."""
    return {name: load_scenario(path) for name, path in library().items()}

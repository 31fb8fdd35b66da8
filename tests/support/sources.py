"""The project's own files, read once, as the architecture tests look at them."""

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

from attrs import field, frozen

ROOT = Path(__file__).resolve().parents[2]
OTHER_FOLDERS = ("tests", "bench", "examples", ".ci")


@frozen
class Source:
    """One Python file: where it is, what it is imported as (None outside the packages), and its
    syntax tree.
    """

    path: str
    module: str | None
    text: str = field(repr=False)
    tree: ast.Module = field(repr=False)

    @property
    def is_package(self) -> bool:
        return self.path.endswith("__init__.py")


def parse(path: str, text: str, module: str | None = None) -> Source:
    """Make a source from text; `path` is relative to the root."""
    return Source(path, module, text, ast.parse(text, filename=path))


def package_folders(root: Path = ROOT) -> dict[str, str]:
    """Package name -> folder, as pyproject.toml maps them."""
    pyproject = tomllib.loads((root / "pyproject.toml").read_text())
    mapping: dict[str, str] = pyproject["tool"]["setuptools"]["package-dir"]
    return mapping


def layer_folders() -> list[str]:
    """The top-level folders that are packages."""
    return sorted({folder.partition("/")[0] for folder in package_folders().values()})


def module_name(path: Path) -> str:
    """What a file of a package is imported as."""
    by_folder = {folder: package for package, folder in package_folders().items()}
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = by_folder[parts[0]]
    inside = [part for part in parts[1:] if part != "__init__"]
    return ".".join([package, *inside])


def package_sources() -> Iterator[Source]:
    """Every Python file of every package."""
    for folder in layer_folders():
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield parse(path.relative_to(ROOT).as_posix(), path.read_text(), module_name(path))


def all_sources() -> Iterator[Source]:
    """Every Python file of the project: the packages, then tests, bench, examples and CI."""
    yield from package_sources()
    for folder in OTHER_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield parse(path.relative_to(ROOT).as_posix(), path.read_text())


def tracked_texts() -> Iterator[tuple[str, str]]:
    """(path, text) of every file under version control that is text and still there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        try:
            yield name, path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue

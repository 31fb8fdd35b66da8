"""mypy --strict on every package, under the names that users import.

The folders' names are not the packages' names (`api/` is `forebay`), and mypy does not see the
import hook of an editable install. So the packages are laid out as links under build/typing, as a
wheel would hold them; messages are given back under the files' own names.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYOUT = Path("build/typing")


def lay_out(root: Path, folders: dict[str, str]) -> None:
    """Link every package into one tree. Folders are linked whole, except `forebay` itself, which
    holds the others.
    """
    target = root / LAYOUT
    shutil.rmtree(target, ignore_errors=True)
    top = target / "forebay"
    top.mkdir(parents=True)
    for path in (root / folders["forebay"]).iterdir():
        if path.name != "__pycache__":
            (top / path.name).symlink_to(path)
    for package, folder in folders.items():
        inside = folder.startswith(f"{folders['forebay']}/")  # linked above, with the folder it is in
        if package.count(".") == 1 and not inside:
            (top / package.partition(".")[2]).symlink_to(root / folder)


def own_names(line: str, folders: dict[str, str]) -> str:
    """Replace the link tree's path at the start of a message by the file's own."""
    for package in sorted(folders, key=len, reverse=True):
        prefix = f"{LAYOUT}/{package.replace('.', '/')}/"
        if line.startswith(prefix):
            return f"{folders[package]}/{line.removeprefix(prefix)}"
    return line


def mypy(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run mypy from the root with the link tree on its path."""
    return subprocess.run(
        [sys.executable, "-m", "mypy", *arguments],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(LAYOUT)},
        capture_output=True,
        text=True,
        check=False,
    )


def main() -> int:
    """Check the packages, then the examples, if there are any, as their users would."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders: dict[str, str] = pyproject["tool"]["setuptools"]["package-dir"]
    lay_out(ROOT, folders)
    runs = [mypy("--package", "forebay")]
    runs += [mypy(str(path.relative_to(ROOT))) for path in sorted(ROOT.glob("examples/**/*.py"))]
    for run in runs:
        for line in (run.stdout + run.stderr).splitlines():
            print(own_names(line, folders))
    return max(run.returncode for run in runs)


if __name__ == "__main__":
    sys.exit(main())

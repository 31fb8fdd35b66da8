"""Check that a wheel holds the package's files, all of them and nothing else: `wheel_contents.py
WHEEL`.
"""

import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def expected(root: Path) -> set[str]:
    """Every file of the layers' folders, under the name that the wheel must give it."""
    pyproject = tomllib.loads((root / "pyproject.toml").read_text())
    folders: dict[str, str] = pyproject["tool"]["setuptools"]["package-dir"]
    names = set()
    for package, folder in folders.items():
        if "/" in folder:
            continue  # lies in its parent's folder
        for path in (root / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                inside = path.relative_to(root / folder).as_posix()
                names.add(f"{package.replace('.', '/')}/{inside}")
    return names


def main(wheel: Path) -> int:
    """Print what is missing and what is too much; 0 if neither."""
    found = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    wanted = expected(ROOT)
    for name in sorted(wanted - found):
        print(f"{wheel.name} lacks {name}: name it in pyproject.toml (packages or package-data)")
    for name in sorted(found - wanted):
        print(f"{wheel.name} holds {name}, which is not in the tree")
    return int(found != wanted)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""Run the benchmarks, each in a process of its own: `python bench/run.py [NAME ...]`, all of them
if none is named.

A benchmark is a script beside this file, or a folder with a `__main__.py`; it prints its figures.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def benchmarks(folder: Path) -> dict[str, Path]:
    """Name -> what to run, in the order of names."""
    scripts = {path.stem: path for path in folder.glob("*.py") if path.stem != "run"}
    folders = {path.parent.name: path.parent for path in folder.glob("*/__main__.py")}
    return dict(sorted((scripts | folders).items()))


def main(names: list[str], folder: Path = FOLDER) -> int:
    """Run what is named; 0 if all ended well, 1 if not, 2 if one is not known or there is none."""
    known = benchmarks(folder)
    unknown = [name for name in names if name not in known]
    if unknown or not known:
        there_are = " ".join(known) or "none"
        print(f"no benchmark {' '.join(unknown)!r}; there are: {there_are}", file=sys.stderr)
        return 2
    print(f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}")
    failed = []
    for name in names or known:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, known[name]], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {' '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

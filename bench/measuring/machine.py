"""On what a run was measured."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def describe(packages: list[str]) -> Iterator[str]:
    """Yield lines: when, processor, cores and their load, memory, kernel, versions."""
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    yield f"{time.strftime('%Y-%m-%d %H:%M %Z')}; {_field('/proc/cpuinfo', 'model name')}"
    system = f"{platform.system()} {platform.release()}"
    yield f"{os.cpu_count()} cores (load before the run: {load}), {_memory():.1f} GiB, {system}"
    versions = [f"{package} {_version(package)}" for package in packages]
    yield ", ".join([f"{platform.python_implementation()} {platform.python_version()}", *versions])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(missing)"


def _memory() -> float:
    return int(_field("/proc/meminfo", "MemTotal").split()[0]) / 2**20


def _field(path: str, name: str) -> str:
    """Return the first value of `name: value` in a file of the kernel's."""
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return f"unknown {name}"

"""docs/verification.md: what a full run showed, on which machine, with which versions."""

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from support.outcome import Outcome

LIBRARIES = (
    "aiokafka",
    "anyio",
    "attrs",
    "cattrs",
    "hypothesis",
    "msgspec",
    "opentelemetry-sdk",
    "pytest",
    "python-consul2",
    "redis",
    "starlette",
    "uvicorn",
)


def page(outcome: Outcome, root: Path, chosen: str) -> str:
    """The whole page as Markdown. `chosen` says which tests were to run."""
    return "\n".join(
        [
            "# Verification",
            "",
            "Written by `make test-long`; not edited by hand.",
            "",
            *_table("Run", "", [("tests", chosen), *_circumstances(root)]),
            *_table("Tests", "count", _counts(outcome)),
            *_listed("Failed", outcome.failed),
            *_listed("Skipped", (f"{n} x {reason}" for reason, n in outcome.skipped.items())),
            *_listed("Figures", map(str, outcome.figures)),
        ]
    )


def _circumstances(root: Path) -> list[tuple[str, str]]:
    return [
        ("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("commit", _commit(root)),
        ("machine", f"{os.cpu_count()} CPUs, {_memory_gib():.1f} GiB, {platform.machine()}"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
        ("SQLite", sqlite3.sqlite_version),
        *((name, _version(name)) for name in LIBRARIES),
    ]


def _counts(outcome: Outcome) -> list[tuple[str, str]]:
    return [
        ("ran", str(outcome.ran)),
        ("passed", str(outcome.passed)),
        ("failed", str(len(outcome.failed))),
        ("expected to fail, and did", str(outcome.xfailed)),
        ("skipped", str(sum(outcome.skipped.values()))),
        ("left out by their marks", str(outcome.deselected)),
        ("duration", f"{outcome.seconds:.0f} s"),
    ]


def _table(title: str, column: str, rows: list[tuple[str, str]]) -> list[str]:
    return [f"| {title} | {column} |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows), ""]


def _listed(title: str, items: object) -> list[str]:
    lines = [f"- {item}" for item in items]  # type: ignore[attr-defined]
    return [f"## {title}", "", *(lines or ["None."]), ""]


def _commit(root: Path) -> str:
    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
        return run.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD") or "not under version control"
    return f"{commit}, with changes" if git("status", "--porcelain") else commit


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"

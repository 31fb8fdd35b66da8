"""docs/verification.md: what each part of a full run showed, on which machine, with which versions."""

import os
import platform
import re
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

ON_REAL = "scenario on real servers: "
"""How the name of a figure begins that is a scenario's verdict: its seconds, with the verdict for a unit."""
DIFFERENCES = (
    "Each is to have the verdict that it has on the simulation. What differs there, and which ones cannot be played, is "
    "listed and explained in [scenarios.md](scenarios.md#on-real-servers)."
)


_HEAD = """# Verification

Written by `make test-long`, or by pytest with `--verification` and `--part`; each part by a run of its own, none by hand.

"""
_PART = re.compile(r"^<!-- part: (.+) -->$", re.MULTILINE)


def written(path: Path, part: str, outcome: Outcome, chosen: str) -> None:
    """Write what a run showed into the page at `path`, in the place of what that part of it showed before.

    `chosen` says which tests were to run.
    """
    sections = sections_of(path.read_text()) if path.exists() else {}
    sections[part] = _section(part, outcome, path.parent, chosen)
    path.write_text(_HEAD + "".join(f"<!-- part: {name} -->\n{text}\n" for name, text in sorted(sections.items())))


def sections_of(page: str) -> dict[str, str]:
    """Return the sections of a page by the names of their parts."""
    _, *found = _PART.split(page)
    return {name: text.strip("\n") + "\n" for name, text in zip(found[::2], found[1::2], strict=True)}


def _section(part: str, outcome: Outcome, folder: Path, chosen: str) -> str:
    return "\n".join(
        [
            f"## {part.capitalize()}",
            "",
            *_table("Run", "", [("tests", chosen), *_circumstances(folder)]),
            *_table("Tests", "count", _counts(outcome)),
            *_listed("Failed", outcome.failed),
            *_listed("Skipped", (f"{n} x {reason}" for reason, n in outcome.skipped.items())),
            *_listed("Figures", (str(one) for one in outcome.figures if not one.name.startswith(ON_REAL))),
            *_on_real_servers(outcome),
        ]
    )


def _on_real_servers(outcome: Outcome) -> list[str]:
    """The scenarios of the library that were played on real servers, if some were, and how it went."""
    played = [one for one in outcome.figures if one.name.startswith(ON_REAL)]
    told = (f"{one.name.removeprefix(ON_REAL)}: {one.unit} in {one.value:.0f} s" for one in played)
    head, *rest = _listed("Scenarios on real servers", told)
    return [head, "", DIFFERENCES, *rest] if played else []


def _circumstances(folder: Path) -> list[tuple[str, str]]:
    return [
        ("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("commit", _commit(folder)),
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
    return [f"### {title}", "", *(lines or ["None."]), ""]


def _commit(folder: Path) -> str:
    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
        return run.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD") or "not under version control"
    changed = git("status", "--porcelain", "--", ":/", ":!verification.md")  # other parts write the page
    return f"{commit}, with changes" if changed else commit


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"

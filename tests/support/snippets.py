"""Code blocks of the documentation, to be run as they stand.

Every ```python block of README.md and docs/*.md must run on its own, and every ```yaml block must
load as a configuration file, unless the line before it is `<!-- not run: reason -->`.
"""

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

SECONDS = 60
FENCE = re.compile(r"^(?P<indent>[ ]*)```(?P<language>\w*)")
EXCUSE = re.compile(r"^\s*<!-- not run: \S.* -->\s*$")

LOAD = """
import os, pathlib, sys
from forebay import config
config.load(pathlib.Path(sys.argv[1]), os.environ)
"""
CHECKS = {"python": ["-W", "error", "{file}"], "yaml": ["-c", LOAD, "{file}"]}


@frozen
class Snippet:
    """A block of a language that is checked, and the line its text begins at."""

    language: str
    line: int
    text: str


def snippets_of(markdown: str) -> Iterator[Snippet]:
    """The blocks that must run."""
    lines = markdown.splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        if (fence := FENCE.match(line)) is None:
            continue
        if start is None:
            start, language = number, fence["language"]
            before = next((text for text in reversed(lines[:number]) if text.strip()), "")
            continue
        if language in CHECKS and not EXCUSE.match(before):
            text = textwrap.dedent("\n".join(lines[start + 1 : number]) + "\n")
            yield Snippet(language, start + 2, text)
        start = None


def failure_of(snippet: Snippet, folder: Path) -> str | None:
    """Run a block in a process of its own, in an empty folder; None if it went well, else what it
    said.
    """
    file = folder / f"snippet.{snippet.language}"
    file.write_text(snippet.text)
    arguments = [argument.format(file=file) for argument in CHECKS[snippet.language]]
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return None if run.returncode == 0 else (run.stderr or run.stdout).strip()

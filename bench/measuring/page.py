"""docs/benchmarks.md, into which a benchmark writes its last run."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def record(benchmark: str, text: str, page: Path = PAGE) -> None:
    """Put the text between the benchmark's two marks. Raises `ValueError` where they are missing, `OSError`."""
    begin_mark, end_mark = f"<!-- bench/{benchmark}: begin -->", f"<!-- bench/{benchmark}: end -->"
    before, begin, rest = page.read_text().partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not (begin and end):
        raise ValueError(f"{page}: put {begin_mark} and {end_mark} around the place of the result")
    page.write_text(f"{before}{begin}\n\n```text\n{text}\n```\n\n{end}{after}")

"""The report of a run: one HTML file without scripts or links, so that it opens offline and can be sent on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Final

from forebay.actors.events import Escalated, Exited, Noted, Started
from forebay.scenarios.replay.charts import Bar, Scale, axis, bar_chart, line_chart
from forebay.scenarios.replay.evidence import Evidence
from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.replay.verdict import Verdict
from forebay.scenarios.replay.writing import scenario_yaml

SHOWN: Final = 20
"""Jobs that a table names at most."""

LATE: Final = 10.0
"""Seconds from the answer to the first run after which a job counts as late."""

_STYLE: Final = """
body{font:15px/1.45 system-ui,sans-serif;max-width:980px;margin:2em auto;padding:0 1em;color:#1c2430;background:#fff}
h1{font-size:1.4em;margin-bottom:.2em} h2{font-size:1.1em;margin:1.6em 0 .4em} pre,code{font-family:ui-monospace,monospace}
table{border-collapse:collapse} td,th{padding:.15em .9em .15em 0;text-align:left;vertical-align:top} th{color:#5b6675}
.passed{color:#17693a} .failed{color:#a3231a} svg{display:block;max-width:100%}
svg text{font:12px ui-monospace,monospace;fill:#1c2430} svg .dim{fill:#5b6675}
svg .healed{fill:#17693a} svg .axis{stroke:#c4ccd6} svg .line{fill:none;stroke:#1f5fa8;stroke-width:1.5}
svg .bar{fill:#c2571a} svg .faint{fill:#d9c7b8} pre{background:#f4f6f8;padding:.8em;overflow:auto}
"""


def report_html(verdict: Verdict, seen: Evidence, scenario: Scenario, reproduce: str) -> str:
    """The whole page."""
    scale = Scale(max(verdict.seconds, 1.0))
    parts = [*_head(verdict, scenario.about, reproduce), *_charts(seen, scale), *_jobs(seen), *_bites(verdict)]
    parts += ["<h2>Scenario</h2>", f"<pre>{escape(scenario_yaml(scenario))}</pre>"]
    body = "\n".join(parts)
    title = escape(f"{verdict.scenario}, seed {verdict.seed}")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en">{head}\n{body}\n</html>\n'


def _head(verdict: Verdict, about: str, reproduce: str) -> Iterator[str]:
    word = "passed" if verdict.passed else "failed"
    yield f'<h1>{escape(verdict.scenario)}: <span class="{word}">{word}</span></h1>'
    yield f"<p>{escape(about)}</p>"
    recovery = "" if verdict.recovered is None else f", recovered in {verdict.recovered:.1f} s"
    yield f"<p>Seed {verdict.seed}, {verdict.spent}{recovery}; <code>{verdict.likeness}</code>.</p>"
    if verdict.broken:
        rows = [(one.group, one.name, f"{one.at:.3f} s", one.what) for one in verdict.broken]
        yield "<h2>What did not hold</h2>" + _table(("", "promise", "at", "what"), rows)
    yield f"<p>Again: <code>{escape(reproduce)}</code></p>"
    yield "<h2>Figures</h2>" + _table(("figure", "count"), [(name, str(count)) for name, count in verdict.counts.items()])


def _charts(seen: Evidence, scale: Scale) -> Iterator[str]:
    yield "<h2>Faults</h2>" + axis(scale, seen.healed)
    yield bar_chart([_fault_bar(seen, index, scale) for index in range(len(seen.bites))], scale)
    if seen.missed:
        yield f"<p>Did not take place, for want of their event: {escape(', '.join(seen.missed))}</p>"
    yield "<h2>Terms, restarts and failures</h2>" + bar_chart(_tree_bars(seen), scale)
    yield "<h2>Flow</h2>"
    moments = seen.moments
    yield line_chart("records not relayed", [(m.at, float(sum(m.lag.values()))) for m in moments], scale)
    yield line_chart("jobs not ended", [(m.at, float(sum(m.waiting.values()))) for m in moments], scale)
    yield line_chart("accepted per second", _rates([(m.at, m.accepted) for m in moments]), scale)
    yield line_chart("finished per second", _rates([(m.at, m.finished) for m in moments]), scale)
    for queue in sorted({queue for moment in moments for queue in moment.used}):
        points = [(m.at, 100 * m.used.get(queue, 0.0)) for m in moments]
        yield line_chart(f"memory of {queue}", points, scale, " %")


def _fault_bar(seen: Evidence, index: int, scale: Scale) -> Bar:
    bite = seen.bites[index]
    args = " ".join(f"{name}={value}" for name, value in bite.args.items())
    title = f"{bite.do} {args} at {bite.at:.3f} s" + ("" if bite.bit else " (changed nothing)")
    over = bite.at if bite.until is None else bite.until
    return Bar(bite.id, title, bite.at, min(over, scale.length), faint=not bite.bit)


def _tree_bars(seen: Evidence) -> list[Bar]:
    bars = []
    for host, event in seen.events:
        title = f"{host}{event.path}#{event.incarnation} {type(event).__name__} {event.detail()} at {event.at:.3f} s"
        if isinstance(event, Noted) and event.name == "term_begins":
            bars.append(Bar(f"{host} terms", title, event.at, event.at))
        elif isinstance(event, Started) and event.incarnation > 1:
            bars.append(Bar(f"{host} restarts", title, event.at, event.at))
        elif isinstance(event, Escalated) or (isinstance(event, Exited) and "failed" in event.detail()):
            bars.append(Bar(f"{host} failures", title, event.at, event.at))
    return sorted(bars, key=lambda bar: bar.label)


def _rates(points: Sequence[tuple[float, int]]) -> list[tuple[float, float]]:
    return [
        (after[0], (after[1] - before[1]) / (after[0] - before[0]))
        for before, after in pairwise(points)
        if after[0] > before[0]
    ]


def _jobs(seen: Evidence) -> Iterator[str]:
    waits = sorted(_waits(seen).items(), key=lambda item: -item[1])
    late = [(id_, f"{wait:.1f} s") for id_, wait in waits if wait > LATE]
    doubled = [(id_, str(times)) for id_, times in sorted(seen.finished().items()) if times > 1]
    lost = [(id_, "the log lost it" if id_ in seen.gone else "no end") for id_ in seen.unended()]
    yield from _list("Lost", ("job", "why"), lost)
    yield from _list("Finished more than once", ("job", "times"), doubled)
    yield from _list(f"Late: first run more than {LATE:g} s after the answer", ("job", "wait"), late)


def _waits(seen: Evidence) -> Mapping[str, float]:
    """Seconds from the positive answer of each job to its first run."""
    waits: dict[str, float] = {}
    for run in seen.runs:
        if run.id in seen.accepted and run.id not in waits:
            waits[run.id] = max(0.0, run.started - seen.accepted[run.id].at)
    return waits


def _list(title: str, head: tuple[str, ...], rows: list[tuple[str, str]]) -> Iterator[str]:
    more = f", {SHOWN} of them" if len(rows) > SHOWN else ""
    yield f"<h2>{escape(title)}: {len(rows)}{more}</h2>" + (_table(head, rows[:SHOWN]) if rows else "")


def _bites(verdict: Verdict) -> Iterator[str]:
    rows = [
        (
            bite.id,
            bite.do,
            " ".join(f"{k}={v}" for k, v in bite.args.items()),
            f"{bite.at:.3f} s",
            "yes" if bite.bit else "no",
        )
        for bite in verdict.bites
    ]
    yield "<h2>What was done</h2>" + _table(("fault", "verb", "arguments", "at", "bit"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table><tr>{top}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"

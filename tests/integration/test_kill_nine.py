"""A runtime killed with -9 again and again, under load, loses no job that it accepted (Q6, G3, R4)."""

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Self

import pytest
from attrs import frozen
from support import stores
from support.running import Running, wait_until
from support.sources import ROOT

from forebay.scenarios.journal import Journal, JournalReader
from forebay.scenarios.ledger import FINISHED, ledger_of
from forebay.scenarios.poster import Poster, Stopped

KILLS = 50
TRIES = 100
SEED = 20_261_122
APPS = 6
PACE = 0.01  # seconds between two posts of one application

CONFIG = """
topics: [{name: jobs, partitions: 4}]
gate: {port: 0}
console: off
workers: {slots: 8, handlers: [journaling_jobs], lease: 2s, drain: 2s}
"""


@frozen
class Site:
    """A folder with everything that the test is about."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def posted(self) -> Path:
        return self.folder / "posted"

    @property
    def handled(self) -> Path:
        return self.folder / "handled"

    def unfinished(self) -> frozenset[str]:
        """Ids that were answered positively and have no end. Looks at files alone."""
        ledger = ledger_of(self.posted, self.handled, stores.dead(self.data))
        return ledger.lost

    def counts(self) -> bool:
        """Whether a kill at this moment counts: work was accepted and not finished, and some of it was leased."""
        return bool(self.unfinished()) and stores.leased(self.data) >= 1


class Incarnations:
    """The runtime of a site: one process after another."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.current.kill()

    def start(self) -> None:
        self.current = Running(self._site.folder, HANDLED=str(self._site.handled))

    def gate_url(self) -> str:
        return self.current.gate_url()


@pytest.fixture
def site(tmp_path):
    shutil.copy(ROOT / "tests/support/journaling_jobs.py", tmp_path)
    (tmp_path / "forebay.yaml").write_text(CONFIG)
    return Site(tmp_path)


def post_until_stopped(name: str, url: Callable[[], str], journal: Journal, stop: threading.Event) -> None:
    """An application that posts on through every restart of the gate, and writes down positive answers only."""
    random = Random(name)
    poster = Poster(url, journal, stop, timeout=5.0, pause=0.02)
    try:
        for n in count():
            kind = random.choices(["work", "thread", "flaky"], [6, 2, 2])[0]
            poster.post({"type": kind, "id": f"{name}-{n}", "args": {"n": n}})
            stop.wait(PACE)
    except Stopped:
        return
    finally:
        poster.close()


def kill_under_load(running: Running, site: Site, handled: JournalReader, after: float) -> bool:
    """Wait until this incarnation has finished a job, then `after` seconds, then kill; say whether the kill counts."""
    wait_until(lambda: any(words[1] == FINISHED for words in handled.new()), "a job is finished")
    time.sleep(after)  # the random instant
    assert running.process.poll() is None, f"it ended by itself: {running.err.read_text()}"
    running.kill()
    list(handled.new())
    return site.counts()


@contextmanager
def applications(url: Callable[[], str], journal: Journal):
    """Applications that post from their own threads while the block lasts; yields what tells them to stop."""
    stop = threading.Event()
    with ThreadPoolExecutor(APPS) as threads:
        apps = [threads.submit(post_until_stopped, f"app{n}", url, journal, stop) for n in range(APPS)]
        try:
            yield stop
        finally:
            stop.set()
    for app in apps:
        app.result()


@pytest.mark.slow
def test_fifty_kills_under_load_lose_nothing(site, record_figure):
    random, instants, counted = Random(SEED), [], 0
    handled = JournalReader(site.handled)
    with Incarnations(site) as runtime, Journal(site.posted) as journal:
        with applications(runtime.gate_url, journal):
            while counted < KILLS:
                assert len(instants) < TRIES, f"only {counted} of {len(instants)} kills counted"
                instants.append(random.uniform(0.05, 0.8))
                counted += kill_under_load(runtime.current, site, handled, instants[-1])
                runtime.start()
        wait_until(lambda: not site.unfinished(), "every accepted job has an end")
        code = runtime.current.terminate()
    ledger = ledger_of(site.posted, site.handled, stores.dead(site.data))
    record_figure("kills -9 that counted", counted, f"of {len(instants)}")
    record_figure("jobs accepted through the kills", len(ledger.posted), f"lost {len(ledger.lost)}")
    record_figure("jobs finished twice", len(ledger.duplicates), "")
    assert ledger.lost == frozenset(), f"seed {SEED}, instants {instants}\n{ledger}"
    assert (code, stores.leased(site.data)) == (0, 0)
    assert len(ledger.posted) > 10 * KILLS

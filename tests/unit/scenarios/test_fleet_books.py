"""What a fleet's verdict rests on: lines of a log, and journals that grow."""

from collections import Counter

import pytest

from forebay.actors.events import Noted
from forebay.commands.log_lines import line_of
from forebay.scenarios.fleet import Account, LogReader
from forebay.scenarios.journal import Journal
from forebay.scenarios.ledger import note_finished, note_started

PATH = "/relays/relay[jobs]/topic_lock"


def noted(name, *fields):
    return line_of(Noted(at=0.0, path=PATH, incarnation=3, name=name, fields=fields), 1_700_000_000_250, verbose=False)


def test_what_forebay_run_logs_is_read_back(tmp_path):
    log = tmp_path / "log.txt"
    why = 'no answer: "a b"\nc=d'
    log.write_text(f"gate     http://127.0.0.1:1\n{noted('term_begins', ('index', 7), ('why', why))}\nTraceback: x\n")
    (event,) = LogReader(log).all()
    assert (event.at, event.level, event.name, event.path) == (1_700_000_000.25, "info", "term_begins", PATH)
    assert event.fields == {"path": PATH, "incarnation": "3", "index": "7", "why": why}


def test_a_line_is_read_once_it_is_whole(tmp_path):
    log, line = tmp_path / "log.txt", noted("queue_away")
    reader = LogReader(log)
    assert reader.all() == []
    log.write_text(f"{line}\n{line[:30]}")
    assert len(reader.all()) == 1
    log.write_text(f"{line}\n{line}\n")
    assert [event.name for event in reader.all()] == ["queue_away"] * 2


@pytest.fixture
def books(tmp_path):
    posted, handled = Journal(tmp_path / "posted"), Journal(tmp_path / "handled")
    yield posted, handled, Account("load", tmp_path / "posted", tmp_path / "handled")
    posted.close()
    handled.close()


def test_what_was_accepted_and_not_finished_is_missing_by_topic(books):
    posted, handled, account = books
    for id_ in ("load:a:0:0", "load:a:0:1", "load:b:0:0"):
        posted.note(id_)
        note_started(handled, id_)
    note_finished(handled, "load:a:0:0")
    assert account.missing() == {"load:a:0:1", "load:b:0:0"}
    assert account.lag() == Counter(a=1, b=1)
    assert account.accepted() == Counter(a=2, b=1)
    note_finished(handled, "load:a:0:1")
    assert account.missing() == {"load:b:0:0"}
    assert account.ledger().lost == {"load:b:0:0"}
    assert account.ledger(["load:b:0:0"]).lost == frozenset()


def test_jobs_of_another_load_in_the_same_handlers_journal_do_not_count(books):
    posted, handled, account = books
    posted.note("load:a:0:0")
    for id_ in ("load:a:0:0", "load:a:0:0", "loader:a:0:0", "other:a:0:0"):
        note_finished(handled, id_)
    assert account.finished() == {"load:a:0:0"}
    assert account.ledger().duplicates == {"load:a:0:0"}

"""The account of a run: what counts as lost, and that a killed writer cannot spoil it."""

import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.scenarios.journal import Journal, JournalReader, read_journal
from forebay.scenarios.ledger import Ledger, ledger_of, note_finished, note_started


@pytest.fixture
def account(tmp_path):
    """Make a ledger of (posted, started, finished, dead), by way of the files."""

    def make(posted=(), started=(), finished=(), dead=()):
        with Journal(tmp_path / "posted") as journal:
            for id_ in posted:
                journal.note(id_)
        with Journal(tmp_path / "handled") as journal:
            for id_ in started:
                note_started(journal, id_)
            for id_ in finished:
                note_finished(journal, id_)
        return ledger_of(tmp_path / "posted", tmp_path / "handled", dead)

    return make


def test_a_job_that_was_posted_and_has_no_end_is_lost(account):
    ledger = account(posted=["a", "b", "c"], started=["a", "b"], finished=["a"], dead=["c"])
    assert ledger.lost == {"b"}
    assert ledger.exit_status == 1
    assert str(ledger).splitlines()[-2:] == ["lost             1  posted - finished - dead", "lost: b"]


def test_a_run_where_every_job_has_an_end_exits_with_zero(account):
    ledger = account(posted=["a", "b"], started=["a", "b"], finished=["a"], dead=["b"])
    assert (ledger.lost, ledger.exit_status) == (frozenset(), 0)


def test_a_job_that_ended_without_a_positive_answer_is_not_lost(account):
    assert account(posted=["a"], finished=["a", "unknown"]).lost == frozenset()


def test_a_job_finished_twice_is_a_duplicate_and_one_started_twice_was_retried(account):
    ledger = account(posted=["a", "b"], started=["a", "a", "b"], finished=["b", "b", "a"])
    assert (ledger.duplicates, ledger.retried) == ({"b"}, {"a"})


def test_an_account_without_any_file_has_nothing_lost(tmp_path):
    assert ledger_of(tmp_path / "none", tmp_path / "none", ["x"]).lost == frozenset()


@given(
    posted=st.frozensets(st.integers(0, 20)),
    finished=st.frozensets(st.integers(0, 20)),
    dead=st.frozensets(st.integers(0, 20)),
)
def test_every_posted_id_is_lost_or_has_an_end(posted, finished, dead):
    ids = [frozenset(map(str, group)) for group in (posted, finished, dead)]
    ledger = Ledger(posted=ids[0], started=Counter(), finished=Counter(ids[1]), dead=ids[2])
    assert ledger.lost | (ids[0] & (ids[1] | ids[2])) == ids[0]
    assert not ledger.lost & (ids[1] | ids[2])


def test_a_line_cut_short_by_a_kill_is_skipped_and_the_next_writer_is_not_harmed(tmp_path):
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.note("whole", "one")
    with path.open("a") as file:
        file.write("cut sho")
    with Journal(path) as journal:
        journal.note("after")
    assert read_journal(path) == [("whole", "one"), ("after",)]


def test_a_word_that_would_break_the_line_is_refused(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        for word in ("a\tb", "a\nb"):
            with pytest.raises(ValueError, match="no tab and no line break"):
                journal.note(word)
    assert read_journal(tmp_path / "journal") == []


def test_a_reader_gives_each_line_once_while_the_file_grows(tmp_path):
    reader = JournalReader(tmp_path / "journal")
    assert list(reader.new()) == []
    with Journal(tmp_path / "journal") as journal:
        journal.note("a")
        assert list(reader.new()) == [("a",)]
        os.write(journal._file, b"b\t")
        assert list(reader.new()) == []
        os.write(journal._file, b".\n")
        assert list(reader.new()) == [("b",)]

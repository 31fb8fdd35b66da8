"""docs/requirements.md says only what is so."""

import pytest
from support.requirements import IDS, Row, problems_of, rows_of
from support.sources import ROOT

PAGE = ROOT / "docs" / "requirements.md"


def test_every_requirement_has_one_row_and_every_named_test_exists():
    assert list(problems_of(rows_of(PAGE.read_text()), ROOT / "tests")) == []


def test_rows_are_read_with_their_tests():
    line = "| Q7 | Scale. | `unit/test_x.py::test_a`, `property/test_y.py::TestModel` | in part |"
    tests = (("unit/test_x.py", "test_a"), ("property/test_y.py", "TestModel"))
    assert rows_of(line) == [Row("Q7", "Scale.", tests, "in part")]


def whole(*changed: Row) -> list[Row]:
    table = {id_: Row(id_, "Promise.", (), "not yet") for id_ in IDS}
    return list((table | {row.id: row for row in changed}).values())


@pytest.fixture
def tests(tmp_path):
    (tmp_path / "test_x.py").write_text(
        "async def test_a(): ...\nclass TestB:\n    def test_c(self): ...\nTestModel = Machine.TestCase\n"
    )
    return tmp_path


@pytest.mark.parametrize("name", ["test_a", "TestB::test_c", "TestModel"])
def test_a_test_that_exists_is_accepted(tests, name):
    assert list(problems_of(whole(Row("Q1", "P.", (("test_x.py", name),), "done")), tests)) == []


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (whole()[1:], "G1 has 0 rows"),
        ([*whole(), Row("G1", "P.", (), "not yet")], "G1 has 2 rows"),
        (whole(Row("Z1", "P.", (), "not yet")), "Z1 is not a requirement"),
        (whole(Row("G1", "P.", (), "nearly")), "G1: state 'nearly' is none of"),
        (whole(Row("G1", "P.", (), "done")), "G1 is 'done' and names no test"),
        (
            whole(Row("G1", "P.", (("test_x.py", "test_a"),), "not yet")),
            "G1 names tests and is 'not yet'",
        ),
        (
            whole(Row("G1", "P.", (("test_x.py", "test_b"),), "done")),
            "there is no test test_x.py::test_b",
        ),
        (
            whole(Row("G1", "P.", (("gone.py", "test_a"),), "done")),
            "there is no test gone.py::test_a",
        ),
    ],
)
def test_a_wrong_table_is_found(tests, rows, problem):
    assert any(problem in found for found in problems_of(rows, tests))

"""Events as log lines."""

import shlex

import pytest

from forebay.actors.events import Escalated, Exited, Incident, LoopLag, Noted, RestartScheduled, Started
from forebay.actors.exits import EnvironmentExit, Failed, Killed, Normal, Shutdown
from forebay.actors.gate.binding import PortTaken, Tcp
from forebay.backends.errors import BackendError
from forebay.commands.log_lines import level_of, line_of

AT = 1_700_000_000_123


def test_a_line_has_time_level_event_and_fields():
    event = RestartScheduled(at=1.0, path="/workers/slots/slot[3]", incarnation=2, delay=0.25, failures=3)
    assert line_of(event, AT, verbose=False) == (
        "2023-11-14T22:13:20.123Z info restart_scheduled path=/workers/slots/slot[3] incarnation=2"
        ' detail="in 0.250 s after 3 in a row"'
    )


def test_a_domain_event_goes_by_its_own_name_and_fields():
    event = Noted(at=1.0, path="/gates/http_server", incarnation=1, name="listening", fields=(("url", "http://h:1"),))
    assert (line_of(event, AT, verbose=False) or "").endswith(
        "info listening path=/gates/http_server incarnation=1 url=http://h:1"
    )


def failed(error: Exception) -> Exited:
    try:
        raise error
    except type(error) as caught:
        return Exited(at=1.0, path="/a", incarnation=1, exit=Failed(caught))


def test_a_bug_is_an_error_with_its_traceback_in_one_line():
    line = line_of(failed(ValueError('bad "thing"\nindeed')), AT, verbose=False)
    assert line is not None
    assert "\n" not in line
    fields = dict(word.partition("=")[::2] for word in shlex.split(line)[3:])
    assert fields["detail"].startswith('failed: ValueError: bad "thing"')
    assert "test_log_lines.py" in fields["traceback"]


@pytest.mark.parametrize("error", [BackendError("set `maxmemory-policy noeviction` there"), PortTaken(Tcp("h", 1), "taken")])
def test_an_error_that_says_what_to_do_has_its_traceback_only_when_verbose(error):
    short, long = (line_of(failed(error), AT, verbose=verbose) for verbose in (False, True))
    assert short is not None
    assert long is not None
    assert " error exited " in short
    assert "traceback" not in short
    assert long.startswith(f"{short} traceback=")


def test_what_the_environment_caused_is_a_warning_without_traceback():
    line = line_of(failed(EnvironmentExit("the lock is gone")), AT, verbose=False)
    assert line is not None
    assert " warning exited " in line
    assert "traceback" not in line


def started(incarnation: int) -> Started:
    return Started(at=1.0, path="/a", incarnation=incarnation)


def exited(exit_) -> Exited:
    return Exited(at=1.0, path="/a", incarnation=1, exit=exit_)


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (started(1), "debug"),
        (started(2), "info"),
        (exited(Normal()), "debug"),
        (exited(Shutdown()), "debug"),
        (exited(Killed()), "error"),
        (Escalated(at=1.0, path="/", child="a"), "error"),
        (Incident(at=1.0, path="/s", child="a", environment=False, restarting=("a",)), "info"),
        (Incident(at=1.0, path="/s", child="a", environment=True, restarting=("a",)), "debug"),
        (LoopLag(at=1.0, path="/", lag=0.2), "warning"),
        (Noted(at=1.0, path="/workers/lease_keeper", name="recorded"), "debug"),
    ],
)
def test_levels_tell_routine_from_trouble(event, level):
    assert level_of(event) == level
    assert (line_of(event, AT, verbose=False) is None) == (level == "debug")
    assert line_of(event, AT, verbose=True) is not None

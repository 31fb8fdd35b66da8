"""Processes that are found again by id and start, and never mistaken for others."""

import os
import signal
import sys
from pathlib import Path

import pytest
from attrs import evolve
from support.live import eventually

from forebay.scenarios.servers.ports import EPHEMERAL, free_ports
from forebay.scenarios.servers.process import Process, launch
from forebay.scenarios.servers.state import State


@pytest.fixture
def sleeper(tmp_path):
    process = launch(["sleep", "600"], os.environ, tmp_path / "log", detached=True)
    yield process
    process.send(signal.SIGKILL)


async def test_a_process_is_alive_until_it_was_killed_and_leaves_no_zombie(sleeper: Process):
    assert sleeper.alive
    assert not await sleeper.ended(0)
    assert sleeper.send(signal.SIGKILL)
    assert await sleeper.ended(5)
    assert not Path(f"/proc/{sleeper.pid}").exists()
    assert not sleeper.send(signal.SIGKILL)


FIRST_THREAD_ENDS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


async def test_a_process_has_not_ended_before_its_last_thread_has(tmp_path):
    """Its ports are taken until then, and a server that starts again on one of them would fail."""
    process = launch([sys.executable, "-c", FIRST_THREAD_ENDS], os.environ, tmp_path / "log", detached=False)

    async def first_thread_is_through():
        return process.state == "Z"

    await eventually(first_thread_is_through)
    assert process.alive
    assert process.send(signal.SIGKILL)
    assert await process.ended(5)


async def test_another_process_with_the_same_id_is_never_signalled(sleeper: Process):
    earlier = evolve(sleeper, started=sleeper.started + "0")
    assert not earlier.alive
    assert not earlier.send(signal.SIGKILL)
    assert sleeper.alive


async def test_a_process_of_an_earlier_boot_is_not_taken_for_this_one(sleeper: Process):
    ticks = sleeper.started.rpartition("/")[2]
    assert not evolve(sleeper, started=f"another-boot/{ticks}").alive


async def test_the_state_file_finds_processes_and_ports_again(tmp_path, sleeper: Process):
    state = State.of(tmp_path)
    state.give_ports(["a", "b"])
    state.started("a", sleeper)
    again = State.of(tmp_path)
    assert again.process("a") == sleeper
    assert again.process("b") is None
    assert again.ports == state.ports
    again.give_ports(["a", "b", "c"])
    assert {name: again.ports[name] for name in "ab"} == state.ports


@pytest.mark.parametrize("text", ["{", "[]", '{"ports": {}}', '{"ports": {}, "processes": {"a": 1}}'])
def test_a_damaged_state_file_is_named_with_advice(tmp_path, text):
    (tmp_path / "services.json").write_text(text)
    with pytest.raises(ValueError, match=r"services.json is damaged .*end its servers by hand"):
        State.of(tmp_path)


def test_ports_are_different_and_none_that_a_client_could_be_given_as_its_own():
    ports = free_ports([str(n) for n in range(50)])
    assert len(set(ports.values())) == 50
    assert max(ports.values()) < int(EPHEMERAL.read_text().split()[0])

"""What code under virtual time may not touch."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import pytest

from forebay.scenarios.fences import Fenced
from forebay.scenarios.loop import loop_factory, run, running_loop

# Lambdas, so that each name is looked up when it is called, as ordinary code does it.
AUDITED: dict[str, Callable[[], Any]] = {
    "time.time": lambda: time.time(),  # noqa: PLW0108
    "time.time_ns": lambda: time.time_ns(),  # noqa: PLW0108
    "time.monotonic": lambda: time.monotonic(),  # noqa: PLW0108
    "time.perf_counter": lambda: time.perf_counter(),  # noqa: PLW0108
    "time.sleep": lambda: time.sleep(0),
    "random.random": lambda: random.random(),  # noqa: PLW0108
    "random.shuffle": lambda: random.shuffle([1, 2]),
    "random._urandom": lambda: secrets.token_bytes(1),
    "os.urandom": lambda: os.urandom(1),
    "uuid.uuid4": lambda: uuid.uuid4(),  # noqa: PLW0108
    "asyncio.as_completed": lambda: list(asyncio.as_completed([])),
}


async def call(function: Callable[[], Any]) -> Any:
    return function()


@pytest.mark.parametrize("name", AUDITED)
def test_the_audit_names_the_clock_or_chance_that_was_touched(name: str) -> None:
    with pytest.raises(Fenced, match=rf"{re.escape(name)} called from .* under virtual time: "):
        run(call, AUDITED[name])


@pytest.mark.parametrize("name", AUDITED)
def test_without_the_audit_they_are_open(name: str) -> None:
    run(call, AUDITED[name], audit=False)


@pytest.mark.parametrize("name", AUDITED)
def test_after_a_run_they_are_open_again(name: str) -> None:
    run(asyncio.sleep, 1)
    asyncio.run(call(AUDITED[name]))


def test_a_breach_that_the_code_catches_still_fails_the_run() -> None:
    async def main() -> None:
        with pytest.raises(Fenced):
            time.time()

    with pytest.raises(Fenced, match=r"time\.time"):
        run(main)


def test_a_breach_before_another_failure_is_a_note_on_it() -> None:
    async def main() -> None:
        try:
            time.time()
        except Fenced:
            raise ValueError("handled badly") from None

    with pytest.raises(ValueError, match="handled badly") as caught:
        run(main)
    assert any("time.time" in note for note in caught.value.__notes__)


def test_logging_is_allowed_its_time_stamp(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        logging.getLogger("scenario").warning("still here")

    run(main)
    assert caplog.messages == ["still here"]


def test_other_threads_keep_their_clock() -> None:
    ask, told = threading.Event(), threading.Event()
    seen: list[float] = []

    def outside() -> None:
        ask.wait()
        seen.append(time.monotonic())
        told.set()

    async def main() -> None:
        ask.set()
        told.wait()

    thread = threading.Thread(target=outside)
    thread.start()
    run(main)
    thread.join()
    assert len(seen) == 1


async def in_executor() -> None:
    await running_loop().run_in_executor(None, print)


async def in_anyio_thread() -> None:
    await anyio.to_thread.run_sync(print)


async def start_thread() -> None:
    threading.Thread(target=print).start()


async def start_process() -> None:
    subprocess.Popen([sys.executable, "-c", ""])


async def start_asyncio_process() -> None:
    await asyncio.create_subprocess_exec(sys.executable, "-c", "")


async def resolve() -> None:
    await running_loop().getaddrinfo("localhost", 80)


async def listen() -> None:
    await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)


async def handle_signal() -> None:
    running_loop().add_signal_handler(signal.SIGUSR1, print)


async def watch_file() -> None:
    running_loop().add_reader(0, print)


async def replace_tasks() -> None:
    running_loop().set_task_factory(None)


async def start_eagerly() -> None:
    factory: Any = running_loop().get_task_factory()
    unused = asyncio.sleep(0)
    try:
        factory(running_loop(), unused, eager_start=True)
    finally:
        unused.close()


@pytest.mark.parametrize("audit", [True, False])
@pytest.mark.parametrize(
    "touch",
    [
        in_executor,
        in_anyio_thread,
        start_thread,
        start_process,
        start_asyncio_process,
        resolve,
        listen,
        handle_signal,
        watch_file,
        replace_tasks,
        start_eagerly,
    ],
)
def test_the_world_outside_is_closed_with_and_without_the_audit(touch: Any, audit: bool) -> None:
    with pytest.raises(Fenced, match="under virtual time: "):
        run(touch, audit=audit)


def test_another_thread_cannot_call_in() -> None:
    loop = loop_factory()()
    raised: list[Exception] = []

    def call_in() -> None:
        try:
            loop.call_soon_threadsafe(print)
        except Fenced as error:
            raised.append(error)

    thread = threading.Thread(target=call_in)
    thread.start()
    thread.join()
    loop.close()
    assert "from another thread" in str(raised[0])


def test_the_loops_own_thread_may_use_the_threadsafe_call() -> None:
    async def main() -> int:
        future: asyncio.Future[int] = running_loop().create_future()
        running_loop().call_soon_threadsafe(future.set_result, 5)
        return await future

    assert run(main) == 5

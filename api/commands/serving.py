"""A runtime as a process of its own: signals, log lines, exit code. An embedded runtime has none of these."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import Final, NoReturn

import anyio
import click

from forebay.actors.events import Event
from forebay.actors.exits import Failed
from forebay.backends.clock import SystemClock
from forebay.commands.ends import ABANDONED, CLEAN, FORCED
from forebay.commands.log_lines import hush_clients, line_of
from forebay.config import Config
from forebay.supervisors.job_runtime import JobRuntime
from forebay.supervisors.runtime import Ending, RuntimeStartFailed, StopReport

LINGER: Final = 1.0
"""Seconds that threads of handlers may hold the process once the runtime has stopped."""

STOPS: Final = (signal.SIGTERM, signal.SIGINT)

_CODES: Final = {Ending.CLEAN: CLEAN, Ending.FORCED: FORCED, Ending.ABANDONED: ABANDONED}


def serve(config: Config, *, verbose: bool) -> int:
    """Run until a signal or a failure; return the exit code. Raises what starting the runtime raises."""
    runtime = JobRuntime(config)
    clock = SystemClock()

    def log(event: Event) -> None:
        if (line := line_of(event, clock.wall(), verbose=verbose)) is not None:
            click.echo(line, err=True)

    runtime.events.listen(log)
    hush_clients()
    code = anyio.run(_until_stopped, runtime)
    _let_go_of_threads(code)
    return code


async def _until_stopped(runtime: JobRuntime) -> int:
    signals = _Signals(runtime)
    watch = asyncio.create_task(signals.obey(), name="signals")
    try:
        await runtime.start()
        await _announce(runtime)
        await runtime.wait()
    except RuntimeStartFailed as error:
        if not signals.received or isinstance(error.exit, Failed):
            raise
    finally:
        watch.cancel()
    await asyncio.wait({watch})  # it gives the signals back
    _ignore_signals()
    return _conclusion(runtime)


def _ignore_signals() -> None:
    """From now on a signal could only spoil the exit code; the process ends within `LINGER` seconds by itself."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


class _Signals:
    """The first signal asks for an orderly stop, the second for one without grace."""

    def __init__(self, runtime: JobRuntime) -> None:
        self._runtime = runtime
        self._stops: list[asyncio.Task[StopReport]] = []

    @property
    def received(self) -> bool:
        """Whether the end was asked for."""
        return bool(self._stops)

    async def obey(self) -> None:
        """Do what signals say, until cancelled. The stops run beside it, so that the next signal is heard."""
        with anyio.open_signal_receiver(*STOPS) as received:
            async for number in received:
                grace, how = (0.0, "at once") if self.received else (None, "in order; once more stops at once")
                click.echo(f"{signal.Signals(number).name}: stopping {how}", err=True)
                self._stops.append(asyncio.create_task(self._runtime.stop(grace), name="stop"))


def _conclusion(runtime: JobRuntime) -> int:
    report = runtime.report
    assert report is not None
    click.echo(f"stopped in {report.seconds:.1f} s: {report.ending.value}", err=True)
    for path in (*report.forced, *report.abandoned, *report.zombies):
        click.echo(f"did not stop by itself: {path}", err=True)
    return _CODES[report.ending]


async def _announce(runtime: JobRuntime) -> None:
    click.echo(f"forebay runs: data {runtime.config.data}, {len(runtime.registry.types())} job types")
    if (gate := await runtime.gate_url()) is not None:
        click.echo(f"gate     {gate}")
    if (console := await runtime.console_url()) is not None:
        click.echo(f"console  {console}")


def _let_go_of_threads(code: int) -> None:
    """End the process in `LINGER` seconds at the latest. A thread that runs a handler cannot be cancelled, and the
    interpreter would wait for it for ever.
    """

    def end() -> NoReturn:
        names = ", ".join(thread.name for thread in threading.enumerate() if not thread.daemon)
        click.echo(f"the process ends although threads are still busy: {names}", err=True)
        sys.stdout.flush()
        os._exit(max(code, ABANDONED))

    timer = threading.Timer(LINGER, end)
    timer.daemon = True
    timer.start()

"""A relay under cProfile between SIGUSR1 and SIGTERM: `python bench/relay/profiled.py CONFIG OUTPUT`."""

from __future__ import annotations

import asyncio
import cProfile
import signal
import sys

from forebay import Registry, Runtime


async def main(config: str, output: str) -> None:
    """Run what the configuration describes."""
    loop, stop, profile = asyncio.get_running_loop(), asyncio.Event(), cProfile.Profile()
    async with Runtime.from_config(config, registry=Registry()):
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGUSR1, profile.enable)
        await stop.wait()
        profile.disable()
    profile.dump_stats(output)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

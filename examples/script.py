"""A plain script with the whole job queue inside it: post some jobs, wait until they are done, stop.

python examples/script.py
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from forebay import JobContext, Registry, Runtime

registry = Registry()
left = asyncio.Semaphore(0)


@registry.job("greet")
async def greet(job: JobContext) -> None:
    print(f"hello, {job.args['name']}")
    left.release()


async def main(data: Path) -> None:
    config = {"data": str(data), "gate": False, "console": False, "workers": {"slots": 4}}
    async with Runtime.from_config(config, registry=registry) as runtime:
        for name in ("Ann", "Ben", "Cho"):
            await runtime.enqueue("greet", {"name": name})
        for _ in range(3):
            await left.acquire()
    print("stopped:", runtime.report.ending.value if runtime.report else "never started")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))

"""The embedded runtime: idle CPU, start-up time, end-to-end throughput and latency, on this machine.

Everything is measured from outside or by the poster and the handlers; no counter of the runtime is used.
"""

import asyncio
import os
import platform
import re
import sqlite3
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from forebay import JobContext, JobRuntime, Registry, Runtime
from forebay.scenarios.journal import Journal
from forebay.scenarios.poster import Poster

IDLE_SECONDS = 10.0
STARTS = 5
JOBS = 10_000
BATCH = 200
POSTS = 300
POST_PAUSE = 0.02


def main() -> None:
    """Measure and print, each figure with what it is."""
    print(f"machine: {cpu_model()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}")
    names = ("forebay", "uvicorn", "starlette", "msgspec", "attrs")
    print(f"versions: SQLite {sqlite3.sqlite_version}, " + ", ".join(f"{name} {version(name)}" for name in names))
    with TemporaryDirectory(prefix="forebay-bench-") as folder:
        print(f"load of the machine when it began: {os.getloadavg()[0]:.2f}")
        times = [start_up(Path(folder), n) for n in range(STARTS)]
        spread = f"{min(times):.2f}-{max(times):.2f}"
        print(f"start-up, process start to /healthz 200: median {statistics.median(times):.2f} s of {STARTS} ({spread})")
        print(f"idle CPU, default configuration, {IDLE_SECONDS:.0f} s: {idle_cpu(Path(folder)):.2%} of one core")
        asyncio.run(throughput(Path(folder) / "throughput"))
        asyncio.run(latency(Path(folder) / "latency"))


def cpu_model() -> str:
    """The processor's name, where the system tells it."""
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


class Server:
    """`forebay run` with the default configuration but for the ports."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "forebay.yaml").write_text("gate: {port: 0}\nconsole: {port: 0}\n")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "forebay", "run", "forebay.yaml"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def wait_until_healthy(self) -> None:
        """Return when /healthz says 200."""
        assert self.process.stdout is not None
        url = next(line.split()[1] for line in self.process.stdout if line.startswith("console"))
        while not healthy(url):
            time.sleep(0.002)

    def stop(self) -> None:
        """Stop it in order."""
        self.process.terminate()
        self.process.communicate()


def healthy(url: str) -> bool:
    """Whether /healthz answers 200 now."""
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            return answer.status == 200
    except urllib.error.HTTPError:
        return False


def start_up(folder: Path, number: int) -> float:
    """Seconds from the start of the process to its first healthy answer."""
    begun = time.perf_counter()
    server = Server(folder / f"start-{number}")
    try:
        server.wait_until_healthy()
        return time.perf_counter() - begun
    finally:
        server.stop()


def idle_cpu(folder: Path) -> float:
    """Share of one core that a runtime with nothing to do takes, from the kernel's own count of its CPU time."""
    server = Server(folder / "idle")
    try:
        server.wait_until_healthy()
        time.sleep(2.0)  # what starting has left to do
        before, begun = cpu_seconds(server.process.pid), time.perf_counter()
        time.sleep(IDLE_SECONDS)
        return (cpu_seconds(server.process.pid) - before) / (time.perf_counter() - begun)
    finally:
        server.stop()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def embedded(data: Path, registry: Registry, rate: str) -> JobRuntime:
    """An embedded runtime with the given relay rate, so that the limiter is not what is measured."""
    topic = {"name": "jobs", "partitions": 8, "rate": rate}
    return Runtime.from_config(
        {"data": str(data), "gate": {"port": 0}, "console": False, "topics": [topic]}, registry=registry
    )


async def throughput(data: Path) -> None:
    """Post JOBS no-op jobs over HTTP in batches; count from the first post to the last handler's end."""
    registry, ends = Registry(), asyncio.Semaphore(0)

    @registry.job("noop")
    async def noop(_: JobContext) -> None:
        ends.release()

    async with embedded(data, registry, "1000000/s") as runtime:
        url = await runtime.gate_url()
        begun = time.perf_counter()
        await asyncio.to_thread(post_batches, str(url), data)
        posted = time.perf_counter() - begun
        for _ in range(JOBS):
            await ends.acquire()
        seconds = time.perf_counter() - begun
    print(f"throughput, {JOBS} no-op jobs posted in batches of {BATCH} over HTTP by one client in the same process:")
    print(f"  accepted {JOBS / posted:,.0f} jobs/s; first post to last job finished {JOBS / seconds:,.0f} jobs/s")


def post_batches(url: str, data: Path) -> None:
    """Post all jobs from a thread."""
    from threading import Event

    with Journal(data / "posted") as journal:
        poster = Poster(lambda: url, journal, Event(), timeout=60.0)
        for start in range(0, JOBS, BATCH):
            poster.post_batch([{"type": "noop", "id": f"t{n}", "args": {"n": n}} for n in range(start, start + BATCH)])
        poster.close()


async def latency(data: Path) -> None:
    """Post one job at a time, slowly; from before the post to the start of its handler."""
    registry, starts, posts = Registry(), {}, {}
    ends = asyncio.Semaphore(0)

    @registry.job("noop")
    async def noop(job: JobContext) -> None:
        starts[job.id] = time.perf_counter()
        ends.release()

    def post_slowly(url: str) -> None:
        from threading import Event

        with Journal(data / "posted") as journal:
            poster = Poster(lambda: url, journal, Event())
            for n in range(POSTS):
                posts[f"l{n}"] = time.perf_counter()
                poster.post({"type": "noop", "id": f"l{n}"})
                time.sleep(POST_PAUSE)
            poster.close()

    async with embedded(data, registry, "1000000/s") as runtime:
        await asyncio.to_thread(post_slowly, str(await runtime.gate_url()))
        for _ in range(POSTS):
            await ends.acquire()
    waits = sorted((starts[id_] - posts[id_]) * 1000 for id_ in posts)
    p50, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
    print(f"latency, {POSTS} single posts, {POST_PAUSE * 1000:.0f} ms apart, post sent to handler started:")
    print(f"  p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {waits[-1]:.1f} ms")


if __name__ == "__main__":
    main()

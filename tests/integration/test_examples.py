"""The examples run as they stand (A5)."""

import json
import os
import shutil
import socket
import subprocess
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from support.running import Running, forebay, wait_until
from support.sources import ROOT

EXAMPLES = ROOT / "examples"


def ask(method: str, url: str, body: dict | None = None) -> tuple[int, object]:
    """Send a request; return status and decoded answer."""
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, {"Content-Type": "application/json"}, method=method), timeout=10) as answer:
        return answer.status, json.loads(answer.read())


def test_the_script_runs_its_jobs_and_stops(tmp_path):
    run = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr == ""
    assert sorted(run.stdout.splitlines()[:3]) == ["hello, Ann", "hello, Ben", "hello, Cho"]
    assert run.stdout.splitlines()[3:] == ["stopped: clean"]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def quickstart(tmp_path):
    """A copy of the example, on any free port."""
    shutil.copytree(
        EXAMPLES / "quickstart", tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("data", "__pycache__")
    )
    config = tmp_path / "forebay.yaml"
    config.write_text(config.read_text() + "gate: {port: 0}\nconsole: {port: 0}\n")
    return tmp_path


def test_the_quickstart_runs_a_job_posted_over_http(quickstart):
    assert forebay("check", "forebay.yaml", cwd=quickstart).stdout.endswith("job types: mail.send, report.make\n")
    with Running(quickstart) as runtime:
        url = runtime.gate_url()
        status, answer = ask("POST", f"{url}/v1/jobs", {"type": "mail.send", "args": {"to": "ann"}})
        assert status == 202
        assert isinstance(answer, dict)
        assert answer["durability"] == "synced to disk"
        ask("POST", f"{url}/v1/jobs", {"type": "report.make", "args": {"month": 11}})
        wait_until(lambda: "report of" in runtime.out.read_text(), "both jobs ran")
        wait_until(lambda: "mail to ann, attempt 1\n" in runtime.out.read_text(), "both jobs ran")
        assert 'report of {"month": 11}\n' in runtime.out.read_text()
        assert runtime.terminate() == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_fastapi_application_runs_jobs_and_ends_with_its_server(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "fastapi_app:app", "--app-dir", EXAMPLES, "--port", str(port)]
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen([*map(str, command)], cwd=tmp_path, stdout=out, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: process.poll() is not None or "Uvicorn running" in log.read_text(), "the application is up")
        assert process.poll() is None, log.read_text()
        assert ask("POST", f"{url}/orders/7") == (202, {"job": "bill-7"})
        wait_until(lambda: ask("GET", f"{url}/billed") == (200, [7]), "the order is billed")
        process.terminate()
        assert process.wait(30) in {0, -15}, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "Application shutdown complete" in log.read_text(), "the lifespan, and with it the runtime, came to its end"
    assert "Traceback" not in log.read_text()


def test_the_application_that_posts_elsewhere_does_so_and_says_when_it_cannot(quickstart):
    """G7: in a web framework's lifespan; the gate goes and comes back while the application runs."""
    gate, port = free_port(), free_port()
    config = quickstart / "forebay.yaml"
    config.write_text(config.read_text().replace("gate: {port: 0}", f"gate: {{port: {gate}}}"))
    (quickstart / "jobs.py").write_text("from forebay import job\n\n@job('order.bill')\ndef bill(context): ...\n")
    command = [sys.executable, "-m", "uvicorn", "posting:app", "--app-dir", EXAMPLES, "--port", str(port)]
    environ = {**os.environ, "GATES": f"http://127.0.0.1:{gate}", "ZONE": "a"}
    log = quickstart / "log"
    with log.open("w") as out:
        process = subprocess.Popen([*map(str, command)], cwd=quickstart, env=environ, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: process.poll() is not None or "Uvicorn running" in log.read_text(), "the application is up")
        assert process.poll() is None, log.read_text()
        url = f"http://127.0.0.1:{port}/orders/7"
        with pytest.raises(HTTPError, match="503"):
            ask("POST", url)
        with Running(quickstart) as runtime:
            assert runtime.gate_url().endswith(f":{gate}")
            assert ask("POST", url) == (202, {"job": "bill-7"})
        process.terminate()
        assert process.wait(30) in {0, -15}, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "Application shutdown complete" in log.read_text(), "nothing of the client held the lifespan up"
    assert "Traceback" not in log.read_text()


def test_the_readme_shows_the_quickstart_as_it_is():
    readme = (ROOT / "README.md").read_text()
    for name in ("jobs.py", "forebay.yaml"):
        assert (EXAMPLES / "quickstart" / name).read_text() in readme, name

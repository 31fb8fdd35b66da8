"""docs/parked.md: each command of the page prints what the page shows (R6, O4)."""

import re
import shutil
import subprocess
import sys

import pytest
from support.running import Running, wait_until
from support.sources import ROOT

PAGE = (ROOT / "docs" / "parked.md").read_text()
TIME = re.compile(r"\d{13}")
HANDLERS = """
from forebay import Fail, job

@job("mail.send")
async def send(context):
    if "to" not in context.args:
        raise Fail("nobody to send it to")
"""
CONFIG = """
topics: [{name: jobs, partitions: 2}]
gate: {port: 0}
console: off
workers: {slots: 2, handlers: [handlers]}
"""


def sessions():
    """Each command of the page with the lines that it prints."""
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        for part in block.removeprefix("$ ").split("\n$ "):
            command, _, printed = part.rstrip("\n").partition("\n")
            yield command, printed.splitlines()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed (Debian: apt install curl)")
def test_every_command_prints_what_the_page_shows(tmp_path):
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "forebay.yaml").write_text(CONFIG)
    with Running(tmp_path) as runtime:
        gate = runtime.gate_url()

        def lines_of(command):
            script = command.replace("http://127.0.0.1:8080", gate).replace(
                "forebay jobs", f"{sys.executable} -m forebay jobs"
            )
            script = script.replace("forebay enqueue", f"{sys.executable} -m forebay enqueue").replace("curl", "curl -sS")
            run = subprocess.run(
                ["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
            )
            return [TIME.sub("TIME", line) for line in (run.stderr + run.stdout).splitlines()]

        for command, printed in sessions():
            if command == "forebay jobs count":
                wait_until(lambda command=command, printed=printed: lines_of(command) == printed, command)
            if command == "forebay jobs ends":
                wait_until(lambda command=command, printed=printed: len(lines_of(command)) == len(printed), command)
            assert lines_of(command) == [TIME.sub("TIME", line) for line in printed], command
    assert sum(1 for _ in sessions()) > 10

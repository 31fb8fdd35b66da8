"""Files and sockets of this process, from the kernel's tables."""

from collections.abc import Container
from contextlib import suppress
from pathlib import Path


def open_files() -> list[str]:
    """What this process has open, sorted by name; neither the listing itself nor what another thread closes meanwhile."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return sorted(found)


def connected(ports: Container[int]) -> list[list[str]]:
    """Client sockets of this process that are connected to one of the ports."""
    own = set(open_files())
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return [row for row in rows if int(row[2].rpartition(":")[2], 16) in ports and f"socket:[{row[9]}]" in own]

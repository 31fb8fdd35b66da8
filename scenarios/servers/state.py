"""What is known of the servers of one data folder: ports, and the processes that were started. A file beside their data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import define, field

from forebay.scenarios.servers.ports import free_ports
from forebay.scenarios.servers.process import Process

NAME: Final = "services.json"


@define
class State:
    """Ports and processes by the name of their server."""

    folder: Path
    ports: dict[str, int] = field(factory=dict)
    processes: dict[str, Process] = field(factory=dict)

    @classmethod
    def of(cls, folder: Path) -> State:
        """Read the state of a data folder; an empty one if there is none. Raises `ValueError` if it is damaged."""
        folder = folder.absolute()
        path = folder / NAME
        try:
            read = json.loads(path.read_text())
            processes = {name: Process(pid, started) for name, (pid, started) in read["processes"].items()}
            return cls(folder, dict(read["ports"]), processes)
        except FileNotFoundError:
            return cls(folder)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); end its servers by hand and remove the folder") from error

    def port(self, name: str) -> int:
        """Return a server's port, which it was given by `give_ports`."""
        return self.ports[name]

    def give_ports(self, names: Sequence[str]) -> None:
        """Choose ports for those that have none. They keep them from then on."""
        self.ports |= free_ports([name for name in names if name not in self.ports])

    def process(self, name: str) -> Process | None:
        """Return the server's process if it is alive."""
        process = self.processes.get(name)
        return process if process is not None and process.alive else None

    def started(self, name: str, process: Process) -> None:
        """Note a process, on disk before anyone waits for it: what was started can always be stopped."""
        self.processes[name] = process
        self.save()

    def ended(self, name: str) -> None:
        """Forget a process that has ended."""
        self.processes.pop(name, None)
        self.save()

    def save(self) -> None:
        """Replace the file, at once or not at all."""
        processes = {name: [process.pid, process.started] for name, process in self.processes.items()}
        new = self.folder / f"{NAME}.new"
        new.write_text(json.dumps({"ports": self.ports, "processes": processes}, indent=1))
        new.replace(self.folder / NAME)

"""Consul: one server agent that keeps its data, with sessions that may be short."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import Final

from anyio import to_thread

from forebay.scenarios.servers.ports import HOST
from forebay.scenarios.servers.server import Server

NODE: Final = "forebay"
PARTS: Final = ("consul", "consul-rpc", "consul-serf")
"""The names of its ports: HTTP, and two that only it uses."""
PATIENCE: Final = 2.0


class ConsulServer(Server):
    """A single server of its own data centre. Sessions may have a TTL from one second (the usual least is ten)."""

    @property
    def url(self) -> str:
        """As `coordination.url` takes it."""
        return f"consul://{self.address}"

    async def prepare(self) -> None:
        """Write the settings that have no argument."""
        settings = {
            "node_name": NODE,
            "server": True,
            "bootstrap_expect": 1,
            "bind_addr": HOST,
            "client_addr": HOST,
            "data_dir": str(self.folder / "data"),
            "ports": self._ports(),
            "session_ttl_min": "1s",
            "performance": {"raft_multiplier": 1},
            "disable_update_check": True,
            "leave_on_terminate": False,
            "skip_leave_on_interrupt": True,
            "log_level": "WARN",
            "enable_syslog": False,
            "ui": False,
        }
        (self.folder / "settings.json").write_text(json.dumps(settings, indent=1))

    def command(self) -> list[str]:
        """Run the agent on the written settings."""
        return [*self.program.command, "agent", "-config-file", str(self.folder / "settings.json")]

    async def answers(self) -> bool:
        """Whether its node has been registered, by a leader: without either no session can be made."""
        return await to_thread.run_sync(self._registered)

    def _registered(self) -> bool:
        connection = HTTPConnection(HOST, self.port, timeout=PATIENCE)
        try:
            connection.request("GET", f"/v1/health/node/{NODE}?consistent")
            response = connection.getresponse()
            return response.status == 200 and any(check["Status"] == "passing" for check in json.load(response))
        except (OSError, HTTPException, ValueError):
            return False
        finally:
            connection.close()

    def _ports(self) -> dict[str, int]:
        http, rpc, serf = (self._state.port(name) for name in PARTS)
        return {"http": http, "server": rpc, "serf_lan": serf, "serf_wan": -1, "dns": -1, "grpc": -1, "https": -1}

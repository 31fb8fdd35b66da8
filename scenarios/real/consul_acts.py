"""What verbs do to a real Consul."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from anyio import to_thread

from forebay.actors.relay.campaign import lock_key
from forebay.scenarios.real.scene import RealScene
from forebay.scenarios.servers import ConsulServer
from forebay.scenarios.servers.ports import HOST

Args = Mapping[str, Any]

PATIENCE: Final = 5.0


def cut_consul(scene: RealScene, args: Args) -> None:
    """Silence: nothing gets through, and connections stay open."""
    scene.fleet.ways[args["host"]].consul.freeze()


def mend_consul(scene: RealScene, args: Args) -> None:
    """Open connections go on."""
    scene.fleet.ways[args["host"]].consul.heal()


async def down_consul(scene: RealScene, _: Args) -> bool:
    """KILL."""
    ran = scene.site.consul.process is not None
    await scene.site.consul.kill()
    return ran


async def up_consul(scene: RealScene, _: Args) -> None:
    """With its data."""
    await scene.site.consul.start()


async def wipe_consul(scene: RealScene, _: Args) -> None:
    """An empty one on the same port."""
    await scene.site.consul.wipe()
    await scene.site.consul.start()


def slow_consul(scene: RealScene, args: Args) -> bool:
    """One way, for every member."""
    for ways in scene.fleet.ways.values():
        ways.consul.delay = args["by"]
    return bool(args["by"])


def quicken_consul(scene: RealScene, _: Args) -> None:
    """As it is without a fault."""
    for ways in scene.fleet.ways.values():
        ways.consul.delay = 0.0


async def free_lock(scene: RealScene, args: Args) -> bool:
    """Destroy the session that holds it: the lock delay then begins, as when the session lapses."""
    return await to_thread.run_sync(_free, scene.site.consul, lock_key(args["topic"]))


async def delete_lock(scene: RealScene, args: Args) -> bool:
    """Remove the key."""
    return await to_thread.run_sync(_delete, scene.site.consul, lock_key(args["topic"]))


def _free(server: ConsulServer, key: str) -> bool:
    session = _holder(server, key)
    return bool(session) and _ask(server, "PUT", f"/v1/session/destroy/{session}") is True


def _delete(server: ConsulServer, key: str) -> bool:
    held = bool(_holder(server, key))
    return _ask(server, "DELETE", f"/v1/kv/{key}") is True and held


def _holder(server: ConsulServer, key: str) -> str:
    """The session that holds it; empty where nobody does, or Consul is down."""
    found = _ask(server, "GET", f"/v1/kv/{key}")
    return str(found[0].get("Session", "")) if found else ""


def _ask(server: ConsulServer, method: str, path: str) -> Any:
    """What the agent answers, past every proxy; None if that is nothing."""
    connection = HTTPConnection(HOST, server.port, timeout=PATIENCE)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        text = answer.read()
        return json.loads(text) if answer.status == 200 else None
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()

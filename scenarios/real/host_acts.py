"""What verbs do to the processes of a real fleet, and to what their handlers call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forebay.scenarios.fleet import Member, MemberFailed
from forebay.scenarios.real.scene import RealScene

Args = Mapping[str, Any]


def _member(scene: RealScene, args: Args) -> Member:
    return scene.fleet.members[args["host"]]


async def kill_host(scene: RealScene, args: Args) -> bool:
    """KILL."""
    member = _member(scene, args)
    ran = member.alive
    await member.kill()
    return ran


async def start_host(scene: RealScene, args: Args) -> bool:
    """Start it unless it lives; it may be killed again while it starts."""
    member = _member(scene, args)
    if member.alive:
        return False
    try:
        await member.start()
    except MemberFailed:
        if member.alive:
            raise
        return False
    return True


async def stop_host(scene: RealScene, args: Args) -> bool:
    """TERM."""
    member = _member(scene, args)
    if not member.serving:
        return False
    await member.terminate()
    return True


async def restart_host(scene: RealScene, args: Args) -> bool:
    """TERM, and a start."""
    return await stop_host(scene, args) and await start_host(scene, args)


def pause_host(scene: RealScene, args: Args) -> bool:
    """STOP."""
    member = _member(scene, args)
    ran = member.serving
    member.pause()
    return ran


def resume_host(scene: RealScene, args: Args) -> None:
    """CONT."""
    _member(scene, args).resume()


# --- what the handlers call


def slow_downstream(scene: RealScene, args: Args) -> bool:
    """From the next run on."""
    scene.change_downstream(slower=args["by"])
    return bool(args["by"])


def quicken_downstream(scene: RealScene, _: Args) -> None:
    """From the next run on."""
    scene.change_downstream(slower=0.0)


def break_downstream(scene: RealScene, _: Args) -> None:
    """From the next run on."""
    scene.change_downstream(fails=True)


def mend_downstream(scene: RealScene, _: Args) -> None:
    """From the next run on."""
    scene.change_downstream(fails=False)

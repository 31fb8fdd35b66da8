"""Where the servers' programs come from: what is on PATH, else what was gotten before, else what packages give."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import frozen

from forebay.scenarios.servers import debian, kafka_jars
from forebay.scenarios.servers.cache import in_cache, kept
from forebay.scenarios.servers.pins import pinned
from forebay.scenarios.servers.program import CannotGet, Program, output_of

REDIS_ADVICE: Final = "put `redis-server` (6.2 or newer) on PATH, as with `apt-get install redis-server`"
CONSUL_ADVICE: Final = "put `consul` (1.8 or newer) on PATH"


@frozen
class Source:
    """How the programs of one kind are had: `find` what is here already, `get` what is not."""

    find: Callable[[], Program | None]
    get: Callable[[], Program]


def find(kind: str) -> Program | None:
    """Return the program if it is on this machine; nothing is downloaded. Raises `CannotGet` where it cannot run."""
    return _source(kind).find()


def get(kind: str, say: Callable[[str], None]) -> Program:
    """Return the program, which is downloaded if it is not on this machine. Raises `CannotGet`.

    `say` is told before and after a download, which may take minutes.
    """
    source = _source(kind)
    program = source.find()
    if program is None:
        say(f"{kind}: downloading")
        program = source.get()
        say(f"{kind}: {program.version} is in the cache")
    return program


def _source(kind: str) -> Source:
    if not sys.platform.startswith("linux"):
        raise CannotGet(f"{kind}: servers are started on Linux only; give forebay the URL of one that runs elsewhere")
    return SOURCES[kind]


# ------------------------------------------------------------------------------------------- Redis


def _redis_name() -> str:
    return f"redis-{debian.release()}-{debian.architecture()}"


def _find_redis() -> Program | None:
    if (program := shutil.which("redis-server")) is not None:
        return _redis(Path(program), {})
    return _unpacked_redis(folder) if (folder := in_cache(_redis_name())) is not None else None


def _get_redis() -> Program:
    if not debian.has_apt():
        raise CannotGet(f"redis: no redis-server on PATH, and no apt here to get it; {REDIS_ADVICE}")

    def make(into: Path) -> None:
        debian.unpack_with_dependencies("redis-server", into, REDIS_ADVICE)
        _unpacked_redis(into)

    return _unpacked_redis(kept(_redis_name(), make))


def _unpacked_redis(folder: Path) -> Program:
    libraries = [str(path) for path in sorted(folder.glob("usr/lib/*-linux-gnu*"))]
    return _redis(folder / "usr/bin/redis-server", {"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {})


def _redis(program: Path, environ: dict[str, str]) -> Program:
    printed = output_of("redis", [str(program), "--version"], REDIS_ADVICE, environ)
    version = next((word[2:] for word in printed.split() if word.startswith("v=")), "of unknown version")
    return Program((str(program),), version, environ)


# ------------------------------------------------------------------------------------------ Consul


def _consul_name() -> str:
    return f"consul-1.8.7-{debian.architecture()}"


def _find_consul() -> Program | None:
    if (program := shutil.which("consul")) is not None:
        return _consul(Path(program))
    return _consul(folder / "usr/bin/consul") if (folder := in_cache(_consul_name())) is not None else None


def _get_consul() -> Program:
    """From the package of Debian 11, the last release that has one; it is linked statically and runs on later ones."""
    if not debian.has_apt():
        raise CannotGet(f"consul: not on PATH, and no apt here to get Debian's package; {CONSUL_ADVICE}")
    ending = f"_{debian.architecture()}.deb"
    found = [(path, sha256) for path, sha256 in pinned("consul.sha256").items() if path.endswith(ending)]
    if not found:
        raise CannotGet(f"consul: no package is known for {debian.architecture()}; {CONSUL_ADVICE}")
    ((path, sha256),) = found

    def make(into: Path) -> None:
        archive = into / "consul.deb"
        debian.download_from_pool(path, sha256, archive, CONSUL_ADVICE)
        debian.unpack(archive, into, CONSUL_ADVICE)
        archive.unlink()
        _consul(into / "usr/bin/consul")

    return _consul(kept(_consul_name(), make) / "usr/bin/consul")


def _consul(program: Path) -> Program:
    printed = output_of("consul", [str(program), "version"], CONSUL_ADVICE)
    return Program((str(program),), printed.split()[1].lstrip("v"))


SOURCES: Final = {
    "redis": Source(_find_redis, _get_redis),
    "consul": Source(_find_consul, _get_consul),
    "kafka": Source(kafka_jars.find, kafka_jars.get),
}
KINDS: Final = tuple(SOURCES)
"""The servers there are, by name: redis, consul, kafka."""

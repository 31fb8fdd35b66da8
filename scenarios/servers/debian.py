"""Files from the Debian archive that this machine is configured for, without installing them and without being root.

apt finds, downloads and verifies them (signed indexes, or a checksum given here); `dpkg-deb` unpacks them.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Final

from forebay.scenarios.servers.program import CannotGet, output_of

HELPER: Final = Path("/usr/lib/apt/apt-helper")


def has_apt() -> bool:
    """Whether this is a Debian, or a system of its family."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None and HELPER.exists()


def architecture() -> str:
    """Debian's name of this machine's architecture: amd64, arm64 ..."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def release() -> str:
    """The release's code name, like bookworm."""
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "unnamed")
    except OSError:
        return "unnamed"


def unpack_with_dependencies(package: str, into: Path, advice: str) -> None:
    """Unpack a package, and what it needs and the system lacks, into a folder. Raises `CannotGet`.

    The system's own indexes serve if they know the package; else indexes are loaded into a place of their own.
    """
    apt = into / "apt"
    for folder in ("archives/partial", "lists/partial"):
        (apt / folder).mkdir(parents=True)
    command = ["apt-get", "-qq", "-o", f"Dir::Cache={apt}", "-o", "Debug::NoLocking=true", "-o", "APT::Sandbox::User=root"]
    fetch = ["install", "--download-only", "--no-install-recommends", "--yes", package]
    try:
        output_of(package, [*command, *fetch], advice)
    except CannotGet:
        command += ["-o", f"Dir::State::lists={apt / 'lists'}"]
        output_of(package, [*command, "update"], advice)
        output_of(package, [*command, *fetch], advice)
    for archive in sorted((apt / "archives").glob("*.deb")):
        unpack(archive, into, advice)
    shutil.rmtree(apt)


def unpack(archive: Path, into: Path, advice: str) -> None:
    """Unpack one package file. Raises `CannotGet`."""
    output_of(archive.name, ["dpkg-deb", "--extract", str(archive), str(into)], advice)


def download_from_pool(path: str, sha256: str, to: Path, advice: str) -> None:
    """Download one file of the archive's pool, which may belong to another release. Raises `CannotGet`.

    The host is whichever the machine's own sources name; the checksum is what makes the file the right one.
    """
    failed = CannotGet(f"{path}: apt's sources name no Debian archive; {advice}")
    for archive in _archives(advice):
        try:
            output_of(path, [str(HELPER), "download-file", f"{archive}{path}", str(to), f"SHA256:{sha256}"], advice)
        except CannotGet as error:
            failed = error
        else:
            return
    raise failed


def _archives(advice: str) -> list[str]:
    """The roots of the configured archives that hold Debian's pool, by the name that mirrors give it."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    found = output_of("apt", command, advice).split()
    return sorted({uri for uri in found if uri.rstrip("/").endswith("/debian")})

"""What is downloaded, by checksum: files as `sha256sum` writes and reads them."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def pinned(name: str) -> dict[str, str]:
    """Return path -> SHA-256 (hexadecimal) of a file of checksums."""
    lines = [line.split() for line in (FOLDER / name).read_text().splitlines()]
    return {path: sha256 for sha256, path in lines}

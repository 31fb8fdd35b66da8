"""Kafka as jars from a Maven repository, run by the machine's Java."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Final

from forebay.scenarios.servers.cache import in_cache, kept
from forebay.scenarios.servers.pins import FOLDER, pinned
from forebay.scenarios.servers.program import CannotGet, Program, output_of

VERSION: Final = "4.3.0"
NAME: Final = f"kafka-{VERSION}"
JAVA: Final = 17
"""The oldest Java that Kafka's brokers run on since 4.0."""
JAVA_ADVICE: Final = f"install a Java of {JAVA} or newer (`apt-get install default-jre-headless`), or set JAVA_HOME"
MAVEN_ADVICE: Final = "install Maven (`apt-get install maven`) and see that it reaches its repository"


def find() -> Program | None:
    """Return Kafka if its jars are in the cache. Raises `CannotGet` if no Java can run it."""
    folder = in_cache(NAME)
    return None if folder is None else _program(folder)


def get() -> Program:
    """Return Kafka, whose jars are downloaded if they are not in the cache. Raises `CannotGet`."""
    _java()
    return _program(kept(NAME, _download))


def _download(into: Path) -> None:
    if shutil.which("mvn") is None:
        raise CannotGet(f"kafka: no mvn on PATH to download it with; {MAVEN_ADVICE}")
    pom = into / "pom.xml"
    shutil.copy(FOLDER / "kafka.pom.xml", pom)
    command = ["mvn", "--batch-mode", "--quiet", "--strict-checksums", "--file", str(pom)]
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}"]
    output_of("kafka", [*command, *goal], MAVEN_ADVICE)
    pom.unlink()
    _verify(into)


def _verify(folder: Path) -> None:
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.iterdir()}
    expected = pinned("kafka.sha256")
    if wrong := sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)):
        raise CannotGet(
            f"kafka: {', '.join(wrong)}: not the files whose checksums forebay knows;"
            " remove them from Maven's local repository and try again, and if that does not help, trust them no further"
        )


def _program(folder: Path) -> Program:
    jars = ":".join(str(folder / name) for name in sorted(pinned("kafka.sha256")))
    return Program((_java(), "-cp", jars), VERSION)


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java") if home is None else str(Path(home) / "bin" / "java")
    if java is None:
        raise CannotGet(f"kafka: no java on PATH; {JAVA_ADVICE}")
    printed = output_of("kafka", [java, "-version"], JAVA_ADVICE)
    version = re.search(r'version "(\d+)', printed)
    if version is None or int(version[1]) < JAVA:
        raise CannotGet(f"kafka: {java} is too old ({printed.splitlines()[0]}); {JAVA_ADVICE}")
    return java

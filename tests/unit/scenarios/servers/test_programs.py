"""How servers' programs are found, verified, and named when they are missing."""

from pathlib import Path

import pytest

from forebay.scenarios.servers import CannotGet, find, get, kafka_jars
from forebay.scenarios.servers.pins import FOLDER, pinned


@pytest.fixture
def bare(tmp_path, monkeypatch) -> Path:
    """A machine with nothing on PATH and nothing in the cache; the folder is the only one on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FOREBAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


def program(folder: Path, name: str, code: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("kind", ["redis", "consul", "kafka"])
def test_what_is_neither_on_path_nor_in_the_cache_is_not_found(bare, kind):
    assert find(kind) is None


def test_the_program_on_path_is_taken(bare):
    path = program(bare, "consul", 'echo "Consul v1.20.1"')
    found = get("consul", pytest.fail)
    assert (found.command, found.version) == ((str(path),), "1.20.1")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("redis", "no redis-server on PATH, and no apt here.*put `redis-server`"),
        ("consul", "not on PATH, and no apt here.*put `consul`"),
        ("kafka", "no java on PATH; install a Java of 17 or newer"),
    ],
)
def test_what_cannot_be_had_is_named_with_what_is_missing(bare, kind, message):
    with pytest.raises(CannotGet, match=message):
        get(kind, lambda _: None)


def test_an_old_java_is_named(bare):
    program(bare, "java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
    with pytest.raises(CannotGet, match=r"java is too old \(openjdk version \"11.0.2\""):
        get("kafka", lambda _: None)


def test_a_missing_maven_is_named(bare):
    program(bare, "java", "echo 'openjdk version \"21.0.2\" 2024-01-16' >&2")
    with pytest.raises(CannotGet, match="no mvn on PATH to download it with; install Maven"):
        get("kafka", lambda _: None)
    assert find("kafka") is None


MAVEN = """for argument; do case $argument in -DoutputDirectory=*) folder=${argument#*=};; esac; done
echo forged >"$folder/zstd-jni-1.5.6-10.jar"
"""


def test_a_download_with_other_checksums_is_refused_and_not_kept(bare):
    program(bare, "java", "echo 'openjdk version \"21.0.2\" 2024-01-16' >&2")
    program(bare, "mvn", MAVEN)
    with pytest.raises(CannotGet, match=r"zstd-jni-1.5.6-10.jar: not the files whose checksums forebay knows"):
        get("kafka", lambda _: None)
    assert find("kafka") is None


def test_a_program_that_does_not_run_is_refused_with_what_it_said(bare):
    program(bare, "redis-server", "echo cannot open shared object file; exit 127")
    with pytest.raises(CannotGet, match=r"(?s)ended with 127; put `redis-server`.*cannot open shared object file"):
        find("redis")


def test_every_pinned_checksum_is_a_sha256_and_the_version_is_the_one_that_is_asked_for():
    jars = pinned("kafka.sha256")
    assert f"kafka_2.13-{kafka_jars.VERSION}.jar" in jars
    assert f"<version>{kafka_jars.VERSION}</version>" in (FOLDER / "kafka.pom.xml").read_text()
    sums = [*jars.values(), *pinned("consul.sha256").values()]
    assert [text for text in sums if len(text) != 64 or not set(text) <= set("0123456789abcdef")] == []

"""The queue over TLS: `rediss:` URLs, on a real Redis that takes nothing else."""

import asyncio
import shutil
import subprocess
from random import Random

import pytest
from support.redis_sites import HOST, RedisProcess, open_queue

from forebay.backends.errors import Unavailable
from forebay.backends.ports import Lease, QueuedJob, Token
from forebay.backends.redis import RedisQueue
from forebay.config import from_mapping


@pytest.fixture
def certificate(tmp_path):
    """A certificate for the loopback address that is its own authority, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed (Debian: apt install openssl)")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=forebay test"]
    command += ["-addext", f"subjectAltName=IP:{HOST}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.fixture
async def server(tmp_path, certificate):
    cert, key = certificate
    server = RedisProcess(tmp_path / "redis")
    options = ("--tls-port", server.port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert)
    server.options = (*options, "--tls-auth-clients", "no", "--port", "0")
    await server.launch()
    try:
        yield server
    finally:
        await server.kill()


def url(server, query=""):
    """As a configuration takes it."""
    wanted = f"rediss://{HOST}:{server.port}/0{query}"
    return from_mapping({"queues": {"main": {"url": wanted}}}).queues["main"].url.text


async def test_the_queue_works_over_tls(server, certificate):
    queue = await open_queue(url(server, f"?ssl_ca_certs={certificate[0]}"))
    try:
        epoch = (await queue.plant("jobs", Token(0, 1))).epoch
        waiting = asyncio.create_task(queue.wait(("jobs",), 30.0))
        await queue.write("jobs", Token(0, 1), epoch, 0, 0, 1, [QueuedJob(0, "a", "t", b"{}")])
        assert await waiting is True
        assert [claim.id for claim in await queue.claim("jobs", Lease("w", 1, 10.0), 5)] == ["a"]
    finally:
        await queue.stop()


async def test_a_server_whose_certificate_nobody_vouches_for_is_not_talked_to(server, certificate):
    await (await open_queue(url(server, f"?ssl_ca_certs={certificate[0]}"))).stop()  # it is up
    with pytest.raises(Unavailable, match="certificate verify failed"):
        await RedisQueue(url(server), Random(1)).start()


async def test_without_tls_such_a_server_is_not_reached(server, certificate):
    await (await open_queue(url(server, f"?ssl_ca_certs={certificate[0]}"))).stop()
    with pytest.raises(Unavailable):
        await RedisQueue(f"redis://{HOST}:{server.port}", Random(1)).start()

"""`forebay enqueue`: post one job to a running runtime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from forebay.commands.ends import WrongUse, told
from forebay.commands.place import data_folder, of_running


@click.command()
@click.argument("type_", metavar="TYPE")
@click.argument("args", metavar="[ARGS]", default="{}")
@click.option("--id", "id_", help="Idempotency key: the same id again is the same job.")
@click.option("--dedup", help="Dedup id: dropped while another job with it waits. `true`: hash of type and ARGS.")
@click.option("--delay", type=float, help="Seconds before it may run.")
@click.option("--key", help="Ordering key: jobs of one key go to one partition.")
@click.option("--shadow", is_flag=True, help="The relay reads it, counts it and drops it: no worker gets it.")
@click.option("--topic", help="The topic; by default the first of the configuration.")
@of_running
def enqueue(
    type_: str,
    args: str,
    id_: str | None,
    dedup: str | None,
    delay: float | None,
    key: str | None,
    shadow: bool,
    topic: str | None,
    config: Path | None,
    data: Path | None,
) -> None:
    """Post a job of TYPE with the JSON text ARGS, `-` for standard input, to a running runtime.

    Returns when the job is durable in the log; prints its id and where it is. ARGS reach the handler byte for byte.
    """
    with told():
        from forebay.commands.control import Control  # noqa: PLC0415 - help must not wait for it

        raw = sys.stdin.buffer.read() if args == "-" else args.encode(errors="surrogateescape")
        dedup_id = True if dedup == "true" else dedup
        fields = {"id": id_, "dedup": dedup_id, "delay": delay or 0.0, "key": key, "shadow": shadow}
        body = _document(type_, raw, fields)
        query = {} if topic is None else {"topic": topic}
        answer = Control(data_folder(config, data)).post("/v1/jobs", body, **query)
    click.echo(f"{answer['id']} {answer['topic']}/{answer['partition']}/{answer['offset']}")


def _document(type_: str, raw: bytes, fields: dict[str, Any]) -> bytes:
    """The job with the bytes of `raw` as its `args`, unchanged. What is no job is refused here."""
    from forebay.jobs import InvalidCode, InvalidJob  # noqa: PLC0415 - help must not wait for it
    from forebay.jobs.writing import write_post  # noqa: PLC0415

    try:
        body, _ = write_post(type_, raw=raw, **fields)
    except InvalidJob as error:
        if error.code is not InvalidCode.MALFORMED:
            raise WrongUse(str(error)) from None
        raise WrongUse(f'ARGS are not JSON: {error}; quote them for the shell, like \'{{"to": "ann"}}\'') from None
    return body

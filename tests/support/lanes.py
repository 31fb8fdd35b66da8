"""Actors whose user lane is small, and how to fill it."""

import asyncio

from support.puppets import puppet

from forebay import MailboxSpec

FULL = 3


def bounded(overflow, **options):
    return puppet(mailbox=MailboxSpec(capacity=FULL, overflow=overflow, **options))


def nap(ctx):
    return asyncio.sleep(1.0)


async def fill(ref, values=range(FULL)):
    """Keep the actor busy for a second and its user lane full."""
    ref.tell(nap)
    await asyncio.sleep(0.5)
    for value in values:
        ref.tell(value)

"""A client for programs that post jobs over HTTP: `async with Client(gates, zone=...) as client: await client.enqueue(...)`.

It is not among the names of `forebay`, so that a module of handlers does not load it: `from forebay.client import Client`.
What it guarantees is in docs/client.md.
"""

from forebay.client.answers import Receipt
from forebay.client.client import Client, NewJob
from forebay.client.errors import PostError, ProblemDetails, Refused, TimedOut, Unreachable
from forebay.client.gates import GateView

__all__ = ["Client", "GateView", "NewJob", "PostError", "ProblemDetails", "Receipt", "Refused", "TimedOut", "Unreachable"]

"""Jobs: what they are, how they are written, which function handles them. Pure, no I/O."""

from .canonical import canonical_hash
from .context import Fail, Headers, JobContext, RetryAfter
from .envelope import DecodedJob, Undecodable, decode, encode, encode_again
from .ids import new_ulid, partition_of
from .json_text import DuplicateKeys, JsonError, NotJson, TooDeep
from .policy import RetryPolicy
from .posts import InvalidCode, InvalidJob, JobPost, parse_batch, parse_post, parse_record
from .registry import DuplicateHandler, HandlerSpec, Registry, default_registry, job

__all__ = [
    "DecodedJob",
    "DuplicateHandler",
    "DuplicateKeys",
    "Fail",
    "HandlerSpec",
    "Headers",
    "InvalidCode",
    "InvalidJob",
    "JobContext",
    "JobPost",
    "JsonError",
    "NotJson",
    "Registry",
    "RetryAfter",
    "RetryPolicy",
    "TooDeep",
    "Undecodable",
    "canonical_hash",
    "decode",
    "default_registry",
    "encode",
    "encode_again",
    "job",
    "new_ulid",
    "parse_batch",
    "parse_post",
    "parse_record",
    "partition_of",
]

"""Record headers as one column: MessagePack, None where there are none."""

import msgspec

from forebay.backends.ports import Headers

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...])


def pack(headers: Headers) -> bytes | None:
    """Return the column's value."""
    return _encoder.encode(headers) if headers else None


def unpack(column: bytes | None) -> Headers:
    """Return what `pack` was given."""
    return () if column is None else _decoder.decode(column)

"""One batch of samples on the record plane: a header line of JSON, a newline, the body.

Body: ``{"series": {"<node>/<property>": {"t": [int us since boot], "v": [...], "q": [null | word]}}}`` as JSON,
zlib where the header's ``enc`` says so; a missing ``q`` means that all are good. A batch without samples may carry
``dropped`` (ranges of sequence numbers that will never come, with their count and reason) or ``retires`` (an older
epoch of the same device that is over). Bounds: 256 KiB on the wire, 4 MiB unpacked (B34, B37).
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
from msgspec import Struct

VERSION = 1
MAX_BATCH_BYTES = 256 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_HEADER_BYTES = 2048
COMPRESS_ABOVE_BYTES = 1024
MAX_SAMPLES = 100_000


class ClockInfo(Struct, frozen=True):
    """What is known of the boot's clock when the batch is sent.

    ``offset_us``: wall time (us since 1970 UTC) minus CLOCK_BOOTTIME, or None while unknown.
    ``quality``: ``synced``, ``unsynced`` or ``restored`` (learned later for an earlier boot).
    ``sent_us``: CLOCK_BOOTTIME when this header was made, given while ``offset_us`` is unknown and the boot is the
    running one: with it the hub places the samples to within the way's delay, without it only by their arrival."""

    offset_us: int | None
    quality: str
    sent_us: int | None = None


class Header(Struct, frozen=True):
    """The first line. ``epoch`` is 16 hex digits made with the spool file; ``n`` counts samples in the body."""

    epoch: str
    seq: int
    n: int
    prio: int
    boot: str
    clock: ClockInfo
    enc: str = "json"
    v: int = VERSION


class Columns(Struct, omit_defaults=True):
    """The samples of one series in order of time: ``t`` strictly increasing, ``v`` and ``q`` of the same length."""

    t: list[int]
    v: list[Any]
    q: list[str | None] | None = None


class Dropped(Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """Sequence numbers ``first``..``last`` will never come; they held ``n`` samples."""

    first: int
    last: int
    n: int
    reason: str


class Body(Struct, omit_defaults=True):
    series: dict[str, Columns] = {}
    dropped: list[Dropped] = []
    retires: str | None = None


class BadHeader(ValueError):
    """The header line cannot be read: no receipt is possible."""


class BadBody(ValueError):
    """The body cannot be read: quarantine ``header.n`` samples and receipt them."""


class NewerVersion(ValueError):
    """A header version this code does not know: keep the payload raw for after the update (B38)."""


_header_encoder = msgspec.json.Encoder()
_body_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(Header)
_body_decoder = msgspec.json.Decoder(Body)


def encode_body(body: Body) -> tuple[str, bytes]:
    """``(enc, bytes)``; enc is ``zlib`` when the JSON is larger than 1 KiB and shrinks, else ``json``."""
    raw = _body_encoder.encode(body)
    if len(raw) > COMPRESS_ABOVE_BYTES:
        packed = zlib.compress(raw, 6)
        if len(packed) < len(raw):
            return "zlib", packed
    return "json", raw


def encode_batch(header: Header, body: bytes) -> bytes:
    """The MQTT payload."""
    return _header_encoder.encode(header) + b"\n" + body


def split(payload: bytes) -> tuple[Header, bytes]:
    """Header and still packed body. Raises BadHeader, or NewerVersion (with the header as ``args[1]``)."""
    cut = payload.find(b"\n", 0, MAX_HEADER_BYTES)
    if cut < 0:
        raise BadHeader(f"no newline in the first {MAX_HEADER_BYTES} bytes")
    try:
        header = _header_decoder.decode(payload[:cut])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadHeader(f"header: {error}") from None
    if not (0 < header.seq < 1 << 63 and 0 <= header.n <= MAX_SAMPLES and 0 < len(header.epoch) <= 32):
        raise BadHeader(f"header: epoch, seq or n out of range ({header.epoch[:32]!r}, {header.seq}, {header.n})")
    if header.v > VERSION:
        raise NewerVersion(f"version {header.v}, this hub reads up to {VERSION}", header)
    return header, payload[cut + 1 :]


def decode_body(header: Header, packed: bytes) -> Body:
    """Unpack and check the body against its header. Raises BadBody with the reason and, where known, the place."""
    if header.enc == "json":
        raw = packed
    elif header.enc == "zlib":
        unzip = zlib.decompressobj()
        try:
            raw = unzip.decompress(packed, MAX_BODY_BYTES)
        except zlib.error as error:
            raise BadBody(f"zlib: {error}") from None
        if unzip.unconsumed_tail or not unzip.eof:
            raise BadBody(f"zlib: cut short, or larger than {MAX_BODY_BYTES} bytes unpacked")
    else:
        raise BadBody(f"encoding {header.enc[:20]!r} is not json or zlib")
    try:
        body = _body_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBody(f"body: {error}") from None
    count = 0
    for name, columns in body.series.items():
        count += len(columns.t)
        if len(columns.v) != len(columns.t) or (columns.q is not None and len(columns.q) != len(columns.t)):
            raise BadBody(f"{name[:80]!r}: t, v and q differ in length")
    if count != header.n:
        raise BadBody(f"header says {header.n} samples, body holds {count}")
    return body

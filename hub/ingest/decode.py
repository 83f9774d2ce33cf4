"""A message of the broker becomes an item for the writer, or nothing. Pure; raises nothing.

The device is the one of the topic (the broker's ACL vouches for it), whatever the payload claims. A body that cannot
be read is settled by its header; without a header there is nothing to receipt: it is counted and left to the device.
"""

from __future__ import annotations

from agent.wire import faults, records
from agent.wire.records import BadBody, BadHeader, Header, NewerVersion
from hub.store.batch import Future, Item, Noticed, Samples, poison

MAX_PAYLOAD_BYTES = records.MAX_BATCH_BYTES
MAX_BOOT = 64


def records_of(device: str, payload: bytes, received_us: int) -> Item:
    """What to do with a message on ``hutkeeper/1/<device>/records``."""
    try:
        header, packed = records.split(payload)
    except NewerVersion as newer:
        future: Header = newer.args[1]
        return Future(device, received_us, future, payload)
    except BadHeader as error:
        return unreadable(device, received_us, str(error))
    if len(header.boot) > MAX_BOOT or len(payload) > MAX_PAYLOAD_BYTES or abs(header.clock.offset_us or 0) >= 1 << 62:
        return poison(device, received_us, header, "E_BAD_PAYLOAD",
                      f"{len(payload)} bytes (at most {MAX_PAYLOAD_BYTES}), boot id or clock out of range", payload)
    try:
        body = records.decode_body(header, packed)
    except BadBody as error:
        return poison(device, received_us, header, "E_BAD_PAYLOAD", str(error), payload)
    return Samples(device, received_us, header, body, payload)


def unreadable(device: str, received_us: int, reason: str) -> Noticed:
    """No receipt is possible: the device sends it again, and after three tries sets it aside itself."""
    return Noticed(device, received_us, "E_BAD_HEADER", "error", faults.line(
        "E_BAD_HEADER", device=device, reason=reason[:300]))

"""Merging plugin batches and cutting them to the wire's size."""

from __future__ import annotations

import random

from agent.bus import Batch, Part
from agent.spool.pack import MAX_PACKED_BYTES, merge, pack, pack_all
from agent.wire.records import MAX_BATCH_BYTES, Body, ClockInfo, Columns, Header, decode_body, encode_batch
from tests.agent.spool.batches import BOOT, batch


def unpacked(packed: object) -> Body:
    header = Header("e", 1, packed.n, packed.prio, BOOT, ClockInfo(None, "unsynced"), packed.enc)  # type: ignore[attr-defined]
    return decode_body(header, packed.data)  # type: ignore[attr-defined]


def test_batches_of_several_plugins_become_one_body_per_priority() -> None:
    packed = pack_all([batch(1, 5), batch(1, 7, instance="host"), batch(2, 3), batch(1, 2, prio=3, instance="door")])
    assert sorted((p.prio, p.n) for p in packed) == [(1, 15), (3, 2)]
    body = unpacked(next(p for p in packed if p.prio == 1))
    assert body.series["meter/power_w"].t == [1_000_000 + i for i in range(5)] + [2_000_000 + i for i in range(3)]
    assert len(body.series["host/power_w"].v) == 7


def test_qualities_keep_their_place_when_only_one_of_two_batches_has_them() -> None:
    def one(n: int, q: list[str | None] | None) -> Batch:
        return Batch("m", "r", n, BOOT, [Part(1, {"m/x": Columns([n * 10, n * 10 + 1], [n, n], q)})])

    assert merge([one(1, None), one(2, ["bad", None])])[BOOT, 1]["m/x"].q == [None, None, "bad", None]
    assert merge([one(1, ["bad", None]), one(2, None)])[BOOT, 1]["m/x"].q == ["bad", None, None, None]


def test_boots_are_never_mixed() -> None:
    packed = pack_all([batch(1, 2), batch(2, 2, boot="c" * 32)])
    assert sorted(p.boot for p in packed) == sorted([BOOT, "c" * 32])


def test_B34_what_is_too_large_is_split_and_nothing_is_lost() -> None:
    rng = random.Random(4)
    series = {f"m/p{i}": Columns(list(range(400)), [rng.random() for _ in range(400)]) for i in range(300)}
    packed = list(pack(BOOT, 1, series))
    assert len(packed) > 4 and all(p.data and len(p.data) <= MAX_PACKED_BYTES for p in packed)
    joined: dict[str, dict[int, object]] = {}
    for p in packed:
        header = Header("f" * 16, 2**62, p.n, 1, BOOT, ClockInfo(-(2**62), "unsynced", 2**62), p.enc)
        assert len(encode_batch(header, p.data or b"")) <= MAX_BATCH_BYTES
        for name, columns in unpacked(p).series.items():
            joined.setdefault(name, {}).update(zip(columns.t, columns.v, strict=True))
    assert joined == {name: dict(zip(c.t, c.v, strict=True)) for name, c in series.items()}


def test_B34_one_sample_that_no_splitting_fits_is_counted_and_the_others_pass() -> None:
    rng = random.Random(5)
    giant = "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(400_000))
    packed = list(pack(BOOT, 1, {"m/a": Columns([1, 2, 3], ["x", giant, "y"])}))
    assert sorted((p.n, p.data is None, p.reason) for p in packed) == [
        (1, False, ""), (1, False, ""), (1, True, "too_large")]


def test_a_body_that_would_unpack_too_large_is_split_although_it_packs_small() -> None:
    packed = list(pack(BOOT, 1, {"m/a": Columns(list(range(3000)), ["a" * 4000] * 3000)}))
    assert len(packed) > 1 and sum(p.n for p in packed) == 3000
    for p in packed:
        unpacked(p)


def test_a_value_that_json_cannot_say_is_counted_alone() -> None:
    packed = list(pack(BOOT, 1, {"m/a": Columns([1, 2], [1.5, object()])}))
    assert sorted((p.n, p.reason) for p in packed) == [(1, ""), (1, "unencodable")]

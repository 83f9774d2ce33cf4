"""B07: what a 9.6 kbit/s link with 2 s latency and 5 % loss carries: records that were stored, as a share of it."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from agent.testing.broker import Broker
from tests.agent.uplink.hub import SmallHub
from tests.agent.uplink.rig import Rig
from tests.bench.figures import Figure
from tests.fakes.faultproxy import FaultProxy
from tests.waiting import until

BYTES_PER_S = 1200.0
SECONDS = 120.0
AT_LEAST = 0.7


def measure() -> Iterator[Figure]:
    stored = stored_bytes_per_s()
    yield Figure("B07 slow link: its speed by what is stored", [BYTES_PER_S], [stored], "B/s", 1 / AT_LEAST,
                 f"{stored / BYTES_PER_S:.0%} of the link is goodput, over {SECONDS:.0f} s")


def stored_bytes_per_s() -> float:
    """Bytes of batches that were stored, each once, by the time it took."""
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder)) as broker:
        hub = SmallHub(broker.port, "slow")
        try:
            with FaultProxy(broker.port) as proxy, Rig(Path(folder), proxy.port, device="slow") as rig:
                plugin = rig.start().plugin()
                hub.say("off")
                rng = random.Random(7)
                for _ in range(30):  # a backlog of about 250 kB after zlib, more than the link carries meanwhile
                    plugin.make(200, values=[rng.randbytes(40).hex() for _ in range(200)])
                    plugin.wait_acked()
                proxy.bytes_per_s, proxy.delay_s, proxy.loss = BYTES_PER_S, 1.0, 0.05
                hub.say("ready")
                until("the first batch", lambda: hub.stored_bytes, 60)
                before, began = hub.stored_bytes, time.monotonic()
                time.sleep(SECONDS)
                return (hub.stored_bytes - before) / (time.monotonic() - began)
        finally:
            hub.close()

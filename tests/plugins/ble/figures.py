"""How many advertisements a second one core takes: ``python -m tests.plugins.ble.figures [seconds]``.

The simulated BlueZ and the bus daemon are processes of their own; what is measured is this process: bleak, the plugin
and the runner's worker, every packet of every device one reading (``rssi_interval_s = 0``).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from agent.testing import Lines, io_over
from plugins.ble import payloads
from plugins.ble.adverts import Advert, decode, encode
from plugins.ble.plugin import Ble
from plugins.ble.settings import BleConfig, Device
from plugins.ble.sim_bus import private_bus
from tests.plugins.ble.running import running
from tests.plugins.ble.test_plugin import over_rubbish, values

DEVICES = 50
NAMED = {f"tag-{number}": Device(address=f"C4:00:00:00:00:{number:02X}") for number in range(DEVICES)}
BADGE = payloads.encode_badge(payloads.Badge("7", {"1": -50, "2": -60, "3": -70, "4": -80, "5": -90}, motion=True))


def _house(address: str, rate_hz: float, seconds: float, pipe: Connection) -> None:
    """The process with the radio: ``rate_hz`` packets, evenly, then says how many BlueZ passed on."""
    import asyncio

    from plugins.ble.sim_bluez import SimBluez

    async def send() -> None:
        bluez = SimBluez(address)
        await bluez.start()
        adapter = bluez.plug("hci0", "00:1A:7D:DA:71:00")
        pipe.send("ready")
        while not adapter.scanning:
            await asyncio.sleep(0.02)
        began, sent, passed = time.perf_counter(), 0, 0
        while (elapsed := time.perf_counter() - began) < seconds:
            for _ in range(min(50, int(elapsed * rate_hz) - sent)):
                number = sent % DEVICES
                passed += bluez.advert("hci0", f"C4:00:00:00:00:{number:02X}", -40 - sent % 53,
                                       manufacturer={0xFFFF: BADGE})
                sent += 1
            await bluez.drained()
            await asyncio.sleep(0.002)
        pipe.send(passed)
        await asyncio.sleep(60)

    asyncio.run(send())


def adverts(rate_hz: float, seconds: float) -> dict[str, Any]:
    """Through the real bleak into readings."""
    context = multiprocessing.get_context("spawn")
    with private_bus() as bus:
        here, there = context.Pipe()
        house = context.Process(target=_house, args=(bus.address, rate_hz, seconds, there), daemon=True)
        house.start()
        here.recv()
        with running(BleConfig(devices=NAMED, bus=bus.address, rssi_interval_s=0.0, interval_s=1.0)) as plugin:
            cpu, began = time.process_time(), time.perf_counter()
            passed = None
            while passed is None or len(strengths(plugin.readings)) < passed:
                time.sleep(0.1)
                plugin.collect()
                if passed is None and here.poll():
                    passed = here.recv()
                if time.perf_counter() - began > seconds + 20:
                    break
            cpu, took = time.process_time() - cpu, time.perf_counter() - began
            readings = len(strengths(plugin.readings))
            lost = plugin.values("lost_adverts")[-1]
        house.kill()
        house.join()
    assert passed is not None
    return {"rate_hz": rate_hz, "passed": passed, "readings": readings, "missing": passed - readings, "lost": lost,
            "cpu_share": round(cpu / took, 3), "us_per_advert": round(cpu / passed * 1e6, 1)}


def strengths(readings: list[Any]) -> list[Any]:
    return [one for one in readings if one.property == "rssi_dbm"]


def decoding(count: int) -> dict[str, float]:
    """Pure decoding, and the plugin without a radio, in packets a second of CPU."""
    lines = [encode(Advert(address=f"C4:00:00:00:00:{number % DEVICES:02X}", rssi_dbm=-40 - number % 53,
                           receiver="hci0", manufacturer={"ffff": BADGE.hex()})) for number in range(1000)]
    began = time.process_time()
    for number in range(count):
        payloads.decode(decode(lines[number % 1000]), "ffff", 5)
    pure = count / (time.process_time() - began)
    capture = b"\n".join(lines * (count // 1000))
    plugin = Ble(BleConfig(devices=NAMED, rssi_interval_s=0.0))
    with io_over(capture) as io:
        began = time.process_time()
        found = sum(1 for item in plugin.run(io) if getattr(item, "property", "") == "rssi_dbm")
        took = time.process_time() - began
    assert found == count // 1000 * 1000
    return {"decoded_per_cpu_s": round(pure), "readings_per_cpu_s": round(found / took)}


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    print(f"{os.cpu_count()} cores, {os.uname().machine}, {seconds:.0f} s each")
    for rate_hz in (100, 1000, 2000, 4000):
        print(adverts(rate_hz, seconds))
    print(decoding(200_000))
    told = Lines()
    began = time.process_time()
    found, _ = over_rubbish(1_000_000, told)
    print({"torn_lines": 1_000_000, "counted_bad": values(found, "bad_adverts")[-1],
           "cpu_s": round(time.process_time() - began, 1)})


if __name__ == "__main__":
    main()

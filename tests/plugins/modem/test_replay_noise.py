"""B53: damaged captures through the whole plugin: lines of words at the most, never a bug, never a hang."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agent.replay.capture import escape, parse_transcript
from agent.replay.engine import Replay
from plugins.modem.config import ModemConfig
from plugins.modem.plugin import Modem

CASES = Path(__file__).resolve().parents[3] / "plugins/modem/testcases"


def damaged(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(len(out)) if out else 0
        what = rng.randrange(4) if out else 2
        if what == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            del out[at : at + rng.randrange(1, 60)]
        elif what == 2:
            out[at:at] = rng.randbytes(rng.randrange(1, 30))
        else:
            out[at:at] = rng.choice([b'+CUSD: 0,"', b"+CMGL: 1,0,,9\r\n", b"\r\n> ", b"+CPIN: SIM PUK\r\n", b"OK\r\n"])
    return bytes(out) or b"\0"


def run(capture: bytes) -> None:
    for record in Replay(Modem, ModemConfig(port="x", allow=("+33612345678",)), capture).records():
        assert not str(record.get("message", "")).startswith("bug"), record
        assert "\n" not in str(record.get("message", "")), record


@pytest.mark.parametrize("seed", range(60))
def test_B53_a_damaged_log_is_read_as_far_as_it_goes(seed: int) -> None:
    run(damaged((CASES / "log_of_another_program/wire.log").read_bytes(), random.Random(seed)))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("case", ["long_message_then_a_stranger", "balance_then_the_network_is_lost",
                                  "sim_asks_for_its_pin_and_somebody_enters_it", "mute_modem_is_restarted"])
def test_B53_a_dialogue_with_damaged_answers_goes_on(case: str, seed: int) -> None:
    rng = random.Random(seed)
    lines = ["# damaged"]
    for entry in parse_transcript((CASES / case / "wire.txt").read_bytes()):
        data = damaged(entry.data, rng) if not entry.sent and entry.data and rng.random() < 0.15 else entry.data
        lines.append(f"{'>' if entry.sent else '<'} {entry.t_s:.3f} {escape(data)}")
    run("\n".join(lines).encode())

"""A judge from outside: real gammu takes our simulated modem for one, and reads the units that our own code makes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from plugins.modem import pdu
from plugins.modem.fake_modem import FakeModem

ROOT = Path(__file__).resolve().parents[3]
TEXTS = {"plain": "Leak [kitchen] {valve} ~ 5 €", "french": "Fuite d'eau à l'étage, 21,5 °C: vérifiez la vanne " * 5,
         "greek": "Διαρροή νερού! Το θερμοκήπιο πάγωσε. " * 5, "emoji": "🏠🔥" * 30}
AT = datetime(2026, 11, 26, 18, 5, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeModem, dict[str, list[str]], object]]:
    if importlib.util.find_spec("gammu") is None:
        pytest.skip("python-gammu is not installed: pip install python-gammu (no wheel for 32-bit boards)")
    units = {name: [pdu.submit("+33612345678", part, report=True).hex() for part in pdu.split(text, 77)]
             for name, text in TEXTS.items()}
    with FakeModem(tmp_path_factory.mktemp("gammu")) as modem:
        for number, text in enumerate(("STATUS", "Άνοιξε 🏠", "été [€]")):
            modem.incoming(f"+3369999999{number}", text, at=AT)
        done = subprocess.run(
            [sys.executable, "-m", "tests.plugins.modem.gammu_child", modem.port], cwd=ROOT, capture_output=True,
            text=True, timeout=120, input=json.dumps([unit for group in units.values() for unit in group]))
        assert done.returncode == 0, done.stderr[-2000:]
        yield modem, units, json.loads(done.stdout)


def test_gammu_reads_the_units_that_we_send(judged: tuple[FakeModem, dict[str, list[str]], dict[str, list]]) -> None:
    _, units, said = judged
    for name, group in units.items():
        mine, said["units"] = said["units"][: len(group)], said["units"][len(group) :]
        assert "".join(one["text"] for one in mine) == TEXTS[name], name
        assert {one["number"] for one in mine} == {"+33612345678"}
        if len(group) > 1:
            assert [one["part"] for one in mine] == [[number, len(group), 77] for number in range(1, len(group) + 1)]


def test_gammu_takes_the_simulated_modem_for_one(
        judged: tuple[FakeModem, dict[str, list[str]], dict[str, list]]) -> None:
    modem, _, said = judged
    assert said["model"] == ["Huawei", "E3131"] and said["signal"] == -79 and said["network"] == "208 10"
    assert [(message.to, message.text) for message in modem.sent[:2]] == [
        ("+33612345678", "Vanne fermée [€]"), ("+33612345678", "Διαρροή 🏠")]
    assert [(len(message.text), message.concatenation[1:]) for message in modem.sent[2:]] == [
        (153, (2, 1)), (47, (2, 2))]
    assert said["came"] == [[f"+3369999999{number}", text, "2026-11-26 18:05:09+00:00"] for number, text in enumerate(
        ("STATUS", "Άνοιξε 🏠", "été [€]"))]
    assert modem.units == []

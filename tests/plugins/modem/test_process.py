"""The real plugin process over the real local bus: what the disk has decides what leaves the SIM and is accepted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent import bus
from agent.runner.worker import boottime_us
from plugins.modem.fake_modem import FakeModem
from plugins.modem.plugin import Modem
from tests.agent.runner import parts
from tests.agent.runner.bus_end import BusEnd

ME = "+33612345678"


def test_nothing_is_deleted_or_accepted_before_uplink_has_it_and_a_restart_goes_on(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(parts.KINDS, "modem", Modem)
    monkeypatch.setattr("plugins.modem.desk.DISK_S", 30.0)  # this machine may be slow
    monkeypatch.setattr("plugins.modem.mail.DISK_S", 30.0)
    monkeypatch.setattr("agent.runner.outbox.REPEAT_S", 0.2)
    monkeypatch.setattr("agent.runner.outbox.MAX_WAIT_S", 0.1)
    with FakeModem(tmp_path) as modem:
        settings = parts.settings_for(tmp_path, (
            f'[plugins.x]\nuse = "modem"\nport = "{modem.port}"\nbaudrate = 921600\nallow = ["{ME}"]\n'))
        with BusEnd(tmp_path / "run") as end, parts.Running(monkeypatch, settings, "x"):
            end.until("ready", lambda: [v for _, v, _ in end.samples("x/state")][-1:] == ["ready"])
            end.acks = False
            modem.incoming(ME, "Bonjour")
            end.until("the batch", lambda: any("Bonjour" in str(batch.parts) for batch in end.of(bus.Batch)))
            assert len(modem.units) == 1
            end.acks = True
            end.until("deleted", lambda: not modem.units)
            end.acks = False
            order = bus.Command("c1", "x", "send", {"to": ME, "text": "Salut", "id": "one"}, boottime_us() + 60_000_000)
            end.command("x", order)
            end.until("the queue", lambda: any(b'"one"' in (batch.kept or b"") for batch in end.of(bus.Batch)))
            assert end.of(bus.Answer) == [] and modem.sent == []
            end.acks = True
            answer = end.until("answer", lambda: end.of(bus.Answer))[0]
            assert answer.ok and answer.value["state"] == "queued"
            end.until("sent", lambda: end.samples("x/sent"))
        kept, told = end.kept, [v["text"] for _, v, _ in end.samples("x/incoming")]
        assert json.loads(kept or b"")["plugin"]["outbox"]["ids"] == {"one": "sent"}
        with BusEnd(tmp_path / "run", kept=kept) as second, parts.Running(monkeypatch, settings, "x"):
            second.until("ready", lambda: [v for _, v, _ in second.samples("x/state")][-1:] == ["ready"])
            second.command("x", bus.Command("c2", "x", "send", order.value, boottime_us() + 60_000_000))
            again = second.until("answer", lambda: second.of(bus.Answer))[0]
            assert again.ok and again.value == {"id": "one", "state": "sent", "again": True}
        assert told == ["Bonjour"] and second.samples("x/incoming") == [] and len(modem.sent) == 1

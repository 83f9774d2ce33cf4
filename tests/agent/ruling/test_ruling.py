"""Rules of a device: what is taken, what is kept, and that orders are given once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import bus
from agent.rules.engine import Outcome
from agent.ruling import book, desired
from agent.ruling.service import Ruling
from agent.ruling.standing import Firing, Standing
from agent.settings import load
from agent.supervision.plan import plan
from agent.uplink.held import FILE, Held
from agent.wire import messages
from agent.wire.messages import Desired, Reported

RULE = """\
id = "{id}"
where = "{where}"
kind = "threshold"
of = "{of}"
above = 3
then = [{{set = "bench/valve/open", value = false}}]
back = [{{set = "bench/valve/open", value = true}}]
"""


def rule(id_: str = "leak", where: str = "bench", of: str = "bench/water/flow") -> str:
    return RULE.format(id=id_, where=where, of=of)


def settings(folder: Path) -> Any:
    toml = folder / "agent.toml"
    toml.write_text(f'[device]\nid = "bench"\ndata_dir = "{folder}"\nrun_dir = "{folder}"\nclock = "trust"\n'
                    'inputs = ["attic/meteo/rain"]\n[mqtt]\nhost = "127.0.0.1"\nport = 9\n')
    return load(toml)


def test_an_old_reported_is_read_and_a_device_without_rules_says_nothing_of_them() -> None:
    old = b'{"name":"x","agent_version":"1","plugins":{}}'
    assert messages.decode(old, Reported).rules_version == 0
    assert b"rules" not in messages.encode(Reported("x", "1", {}))


@pytest.mark.parametrize(("name", "text", "why"), [
    ("leak", rule(where="hub"), 'where = "hub", this is bench'),
    ("other", rule(), 'its id is "leak"'),
    ("leak", rule().replace("bench/valve", "attic/valve"), "commands its own plugins only"),
    ("leak", rule(of="attic/water/flow"), "not among device.inputs of bench"),
    ("leak", rule().replace("above", "abvoe"), "did you mean above"),
    ("leak", "[[[", "leak"),
])
def test_a_rule_that_cannot_be_is_refused_with_one_line_and_others_are_taken(name: str, text: str, why: str) -> None:
    good = {"damp": rule("damp", of="bench/*/humidity"), "rain": rule("rain", of="attic/meteo/rain")}
    rules, refused = book.taken(Desired(1, {name: text, **good}), "bench", ("attic/meteo/rain",))
    assert [one.id for one in rules] == ["damp", "rain"]
    assert list(refused) == [name] and why in refused[name] and "\n" not in refused[name]


def test_only_what_rules_need_is_heard() -> None:
    rules, _ = book.taken(Desired(1, {"leak": rule(), "rain": rule("rain", of="attic/meteo/rain")}), "bench",
                          ("attic/meteo/rain",))
    assert book.topics(rules, "bench") == ["live/attic/meteo", "now/water"]
    rules, _ = book.taken(Desired(1, {"leak": rule(of="*/*/flow")}), "bench", ())
    assert book.topics(rules, "bench") == ["live/", "now/"]


@pytest.mark.parametrize("payload", [b"{", b"\xff", b"[]", b'{"version": 1}',
                                     b'{"version": 1, "rules": {}, "format": 2}',
                                     b'{"version": 1, "rules": {"a": "' + b"x" * desired.MAX_BYTES + b'"}}'])
def test_a_damaged_document_is_one_line_and_what_was_kept_stays(tmp_path: Path, payload: bytes) -> None:
    desired.write(tmp_path, Desired(3, {"leak": rule()}))
    with pytest.raises(desired.Refused, match=r"^[^\n]+$"):
        desired.parse(payload)
    assert desired.read(tmp_path) == Desired(3, {"leak": rule()})


def test_a_cut_file_is_no_document(tmp_path: Path) -> None:
    desired.write(tmp_path, Desired(3, {"leak": rule()}))
    whole = (tmp_path / desired.FILE).read_bytes()
    (tmp_path / desired.FILE).write_bytes(whole[:-5])
    assert desired.read(tmp_path) is None


def test_the_program_is_there_only_while_there_are_rules_and_new_with_each_version(tmp_path: Path) -> None:
    loaded = settings(tmp_path)
    names = lambda: {one.name: one.section for one in plan(loaded).programs}  # noqa: E731
    assert "rules" not in names()
    desired.write(tmp_path, Desired(1, {"leak": rule()}))
    first = names()
    assert "rules" in first
    desired.write(tmp_path, Desired(2, {"leak": rule("leak", of="bench/water/flow2")}))
    second = names()
    assert second["rules"] != first["rules"] and second["uplink"] == first["uplink"]
    desired.write(tmp_path, Desired(3, {}))
    assert "rules" not in names()


class Heard(Ruling):
    """The process's own parts, with what goes to uplink caught at the socket's edge."""

    def _send(self, message: bus.ToUplink) -> bool:
        self.sent: list[Any] = [*getattr(self, "sent", []), message]
        return True


def outcome(standing: str, subject: str = "bench/water/flow") -> Outcome:
    return Outcome("leak", subject, standing, 5, "it leaks")  # type: ignore[arg-type]


def orders(ruling: Heard) -> list[Any]:
    ruling._send_orders(0.0)
    return [one.value for one in getattr(ruling, "sent", []) if isinstance(one, bus.Order)]


def test_orders_are_given_at_most_once_over_a_death_at_any_moment(tmp_path: Path, monkeypatch: Any) -> None:
    desired.write(tmp_path, Desired(1, {"leak": rule()}))
    first = Heard(settings(tmp_path))
    monkeypatch.setattr(first, "_order", lambda *_: (_ for _ in ()).throw(SystemExit))  # killed after the writing down
    with pytest.raises(SystemExit):
        first._reconcile([outcome("firing")])
    close(first)
    second = Heard(settings(tmp_path))
    second._reconcile([outcome("firing")])
    assert orders(second) == []
    for standing in ("no_data", "pending"):
        second._reconcile([outcome(standing)])
    assert orders(second) == [], "what is not known is not over"
    second._reconcile([outcome("firing"), outcome("firing", "bench/water2/flow")])
    assert orders(second) == [], "a second subject of a rule that fires orders nothing anew"
    second._reconcile([outcome("ok"), outcome("firing", "bench/water2/flow")])
    second._reconcile([outcome("ok"), outcome("ok", "bench/water2/flow")])
    assert orders(second) == [True]
    second._reconcile([outcome("firing")])
    assert orders(second) == [True, False]
    assert {one.who for one in second.sent if isinstance(one, bus.Order)} == {"rule:leak"}
    close(second)


def test_nothing_is_ordered_that_cannot_be_written_down(tmp_path: Path, monkeypatch: Any) -> None:
    desired.write(tmp_path, Desired(1, {"leak": rule()}))
    ruling = Heard(settings(tmp_path))

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ruling._standing, "save", full)
    ruling._reconcile([outcome("firing")])
    assert orders(ruling) == []
    assert any(isinstance(one, bus.LogLine) and "No space left" in one.message for one in ruling.sent)
    close(ruling)


def close(ruling: Ruling) -> None:
    import os

    ruling._lane.close(0)
    ruling._fan.close(0)
    ruling._context.term()
    os.close(ruling._lock)


def test_a_reading_of_another_device_fires_a_rule_here(tmp_path: Path) -> None:
    desired.write(tmp_path, Desired(1, {"rain": rule("rain", of="attic/meteo/rain")}))
    ruling = Heard(settings(tmp_path))
    ruling._heard(bus.encode(bus.Remote("attic", "meteo", "rain", 2.0, 0.5, None)))
    ruling._tick(0.0)
    assert orders(ruling) == [] and alerts(ruling)["rule-rain"] is None
    ruling._heard(bus.encode(bus.Remote("attic", "meteo", "rain", 5.0, 0.1, None)))
    ruling._heard(b"\xff what is this")
    ruling._tick(1.0)
    ruling._tick(2.0)
    assert orders(ruling) == [False] and alerts(ruling)["rule-rain"]
    close(ruling)


def alerts(ruling: Heard) -> dict[str, str | None]:
    return {one.id: one.text for one in ruling.sent if isinstance(one, bus.Alert)}


def test_a_clock_that_is_set_ends_nothing_by_itself(tmp_path: Path) -> None:
    """A Pi without a battery clock learns the time an hour after its start: what fired fires on, once."""
    desired.write(tmp_path, Desired(1, {"leak": rule().replace("above = 3", "above = 3\ncalm_s = 0")}))
    ruling = Heard(settings(tmp_path))
    boottime_us = ruling._now_us() - ruling._offset_us

    def flow(value: float) -> None:
        now_us = ruling._now_us() - ruling._offset_us
        ruling._heard(bus.encode(bus.Now("water", [("water", "flow", value, now_us, None)])))
        ruling._tick(0.0)

    flow(5.0)
    assert orders(ruling) == [False]
    ruling._offset_us -= 3600 * 24 * 365 * 1_000_000  # so far it believed in last year
    for _ in range(3):
        flow(5.0)
    assert ruling._settled_us > boottime_us, "it has noticed"
    assert orders(ruling) == [False] and ("leak", "bench/water/flow") in ruling._standing.firing
    flow(1.0)
    assert orders(ruling) == [False], "not believed so soon"
    ruling._settled_us = 0
    flow(1.0)
    assert orders(ruling) == [False, True]
    close(ruling)


def test_what_fires_survives_and_damage_is_one_line(tmp_path: Path) -> None:
    standing = Standing(tmp_path)
    standing.firing["leak", "a"] = Firing(5, "it leaks")
    standing.firing["leak", "b"] = Firing(6, "there too")
    standing.save()
    again = Standing(tmp_path)
    assert again.firing == standing.firing and again.text_of("leak") == "it leaks (and 1 more)"
    assert again.keep_only({"other"}) and again.text_of("leak") is None
    (tmp_path / "firing.json").write_bytes(msgspec.json.encode([1, 2]))
    assert "cannot be read" in Standing(tmp_path).problem


def test_uplink_carries_no_rule_engine() -> None:
    """Its memory is counted: months on a small board."""
    done = subprocess.run([sys.executable, "-c", "import agent.uplink.service, agent.supervision.watchdog, sys; "
                           "print([one for one in sys.modules if one.startswith('agent.rules')])"],
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_b63_the_watchdog_hears_that_the_mains_is_away(tmp_path: Path) -> None:
    from agent.supervision.notices import Notices
    from agent.supervision.watchdog import HELD_GOOD_S, Watchdog

    now = [0.0]
    watchdog = Watchdog(tmp_path, tmp_path / "agent.toml", Notices(tmp_path), tmp_path, wall_s=lambda: now[0])
    held = Held(tmp_path)
    held.note_all("mains", [("mains", "restarts_held", True, 1, None), ("mains", "mains_present", False, 1, None)])
    now[0] = (tmp_path / FILE).stat().st_mtime + 10
    assert watchdog.held()
    held.note("attic/mains", True)
    held.note("mains", False)
    assert watchdog.held(), "the attic's is away still"
    held.note("attic/mains", False)
    assert not watchdog.held()
    held.note("mains", True)
    now[0] = (tmp_path / FILE).stat().st_mtime + HELD_GOOD_S + 1
    assert not watchdog.held(), "nobody says so any more"

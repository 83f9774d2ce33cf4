"""Rules of a device: what is taken, what is kept, and that orders are given once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import bus
from agent.rules.declared import Declared
from agent.rules.engine import Outcome, Sample, fingerprint
from agent.rules.model import parse
from agent.ruling import book, desired
from agent.ruling.service import Ruling
from agent.ruling.standing import Firing, Standing
from agent.settings import load
from agent.supervision.plan import plan
from agent.uplink.held import FILE, Held
from agent.uplink.rules import Rules
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


def settings(folder: Path, plugins: tuple[str, ...] = ("water", "water2", "valve")) -> Any:
    toml = folder / "agent.toml"
    toml.write_text(f'[device]\nid = "bench"\ndata_dir = "{folder}"\nrun_dir = "{folder}"\nclock = "trust"\n'
                    'inputs = ["attic/meteo/rain"]\n[mqtt]\nhost = "127.0.0.1"\nport = 9\n'
                    + "".join(f'[plugins.{name}]\nuse = "host"\n' for name in plugins))
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


@pytest.mark.parametrize(("text", "plugins", "fires"), [
    (rule(), ("water", "valve"), True),
    (rule().replace("back =", 'title = "Leak"\nback ='), ("water", "valve"), True),
    (rule(of="bench/cellar/flow"), ("water", "cellar", "valve"), False),
    (rule().replace("above = 3", "above = 30"), ("water", "valve"), False),
    (rule(), ("valve",), False),
])
def test_what_fired_is_over_when_its_rule_says_something_else_or_its_plugin_is_gone(
        tmp_path: Path, text: str, plugins: tuple[str, ...], fires: bool) -> None:
    """Nothing else would ever end its alert; words and orders alone do not make it another rule."""
    desired.write(tmp_path, Desired(1, {"leak": rule()}))
    first = Heard(settings(tmp_path))
    first._reconcile([outcome("firing")])
    close(first)
    desired.write(tmp_path, Desired(2, {"leak": text}))
    second = Heard(settings(tmp_path, plugins))
    second._tick(0.0)
    assert (alerts(second)["rule-leak"] is not None) is fires
    assert orders(second) == []
    close(second)


def test_a_plugin_that_goes_starts_the_rules_anew(tmp_path: Path) -> None:
    desired.write(tmp_path, Desired(1, {"leak": rule()}))
    sections = {next(one.section for one in plan(settings(tmp_path, plugins)).programs if one.name == "rules")
                for plugins in (("water",), ("water", "valve"))}
    assert len(sections) == 2


def test_what_the_rules_remember_survives_before_anything_is_declared(tmp_path: Path) -> None:
    """A day of a counter that was never still: an edit of another rule must not make it begin anew."""
    text = rule(of="bench/water/litres").replace('kind = "threshold"', 'kind = "never_zero"').replace(
        "above = 3", 'hours = 2\nmissing = 0\nreads = "counter"\ncalm_s = 0')
    desired.write(tmp_path, Desired(1, {"leak": text}))
    hour = 3600 * 1_000_000
    first = Heard(settings(tmp_path))
    now_us = first._now_us()
    for minute in range(0, 181, 10):
        first.engine.feed(Sample("bench", "water", "litres", now_us - 3 * hour + minute * 60_000_000, 100.0 + minute))
    first._tick(0.0)
    assert alerts(first)["rule-leak"]
    first._save_engine()
    before = next(iter(first.engine.subjects.values())).parts[0].cell.kept()
    close(first)
    second = Heard(settings(tmp_path))
    second._save_engine()  # nothing has come yet, and it may be killed at any moment
    close(second)
    third = Heard(settings(tmp_path))
    third.engine.feed(Sample("bench", "water", "litres", now_us + 1, 290.0))
    third._tick(0.0)
    (subject,) = third.engine.subjects.values()
    assert subject.hold.standing == "firing"
    assert subject.parts[0].cell.kept()[4][:-1] == before[4][:-1]
    close(third)


def test_after_an_absence_silence_counts_from_now_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was off for an hour has not missed its own sensors."""
    text = rule().replace('kind = "threshold"', 'kind = "no_data"').replace("above = 3", "after_s = 60")
    desired.write(tmp_path, Desired(1, {"leak": text}))
    now_us = Heard._now_us
    for away_s, fires in ((30, True), (3600, False)):
        first = Heard(settings(tmp_path))
        first._feed(Sample("bench", "water", "flow", now_us(first) - 59_000_000, 1.0))
        first._tick(0.0)
        first._save_engine()
        close(first)
        kept = tmp_path / "rules/engine.bin"
        os.utime(kept, (time.time() - away_s,) * 2)
        second = Heard(settings(tmp_path))
        second._offset_us += 30_000_000
        monkeypatch.setattr(second, "_look_at_clock", lambda: None)
        second._feed(Sample("bench", "water", "other", now_us(second), 1.0))
        second.engine.line(Declared("bench", "water", "flow"))
        second._tick(0.0)
        assert (alerts(second)["rule-leak"] is not None) is fires, away_s
        close(second)
        for path in (tmp_path / "rules").iterdir():
            path.unlink()


class Uplink:
    """What :class:`agent.uplink.rules.Rules` needs of its process."""

    def __init__(self, loaded: Any) -> None:
        self.settings, self.state = loaded, self
        self.alerts: dict[str, str | None] = {}
        self.set: list[str] = []

    def on_alert(self, alert: bus.Alert) -> None:
        self.alerts[alert.id] = alert.text

    def order(self, node: str, prop: str, data: bytes, who: str, done: Any) -> None:
        self.set.append(who)


def test_a_rule_that_has_left_says_and_does_nothing_though_its_process_still_runs(tmp_path: Path) -> None:
    """The watchdog takes up to ten seconds to see what uplink has written down, and the hub has fired it by then."""
    uplink: Any = Uplink(settings(tmp_path))
    rules = Rules(uplink)
    topic = rules.subscription()
    rules.on_message(topic, messages.encode(Desired(1, {"leak": rule(), "damp": rule("damp")})))
    answers: list[bus.Done] = []

    def say() -> None:
        for id_ in ("leak", "damp"):
            rules.on_alert(bus.Alert("rules", f"rule-{id_}", "so it is"))
            rules.on_rules(bus.Order("rules", "7", f"rule:{id_}", "valve", "open", False), answers.append)

    say()
    assert uplink.alerts == {"rule-leak": "so it is", "rule-damp": "so it is"}
    assert uplink.set == ["rule:leak", "rule:damp"]
    rules.on_message(topic, messages.encode(Desired(2, {"damp": rule("damp")})))
    say()
    assert uplink.alerts == {"rule-leak": None, "rule-damp": "so it is"}
    assert uplink.set == ["rule:leak", "rule:damp", "rule:damp"]
    assert [one.ok for one in answers] == [False]


def test_what_fires_survives_and_damage_is_one_line(tmp_path: Path) -> None:
    standing = Standing(tmp_path)
    mark = fingerprint(parse(rule()))
    standing.firing["leak", "a"] = Firing(5, "it leaks", mark)
    standing.firing["leak", "b"] = Firing(6, "there too", mark)
    standing.save()
    again = Standing(tmp_path)
    assert again.firing == standing.firing and again.text_of("leak") == "it leaks (and 1 more)"
    assert not again.keep_only({"leak": parse(rule())})
    assert again.keep_only({"other": parse(rule("other"))}) and again.text_of("leak") is None
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

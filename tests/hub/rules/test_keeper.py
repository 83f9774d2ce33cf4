"""The hub's rules over a real store: what is new is read, what fires is kept, what follows is sent once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import msgspec
import pytest

from agent.rules.model import parse
from hub.notify.commander import Result
from hub.store import rules_rows
from hub.store.errors import StoreFull
from tests.hub.rules.lab import AIR, LEVELS, REPORTED, WATER, Lab
from tests.hub.store.lab import NOW

RULE = 'id = "stuffy"\ntitle = "Stuffy"\nkind = "threshold"\nof = "hut/air/co2_ppm"\nabove = 1000\nhysteresis = 100\n'


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path).start()
    yield lab
    lab.kill()
    lab.pages.close(0)


def test_a_rule_fires_from_the_store_and_is_over(lab: Lab) -> None:
    assert lab.ask("rule.put", toml=RULE) == {"id": "stuffy", "note": ""}
    lab.store(AIR, (-10, 800), (0, 1200))
    lab.second(1)
    (one,) = [one for key, one in lab.conditions().items() if key.startswith("rule:stuffy")]
    assert (one.key, one.subject) == ("rule:stuffy:hut/air/co2_ppm", "property:hut/air/co2_ppm")
    assert one.title == "Stuffy: CO2 (hut/air/co2_ppm) is 1200 ppm, above 1000 ppm"
    lab.store(AIR, (10, 950))
    lab.second(11)
    assert lab.conditions(), "within its hysteresis"
    lab.store(AIR, *((20 + n * 10, 800) for n in range(8)))
    lab.second(95)
    assert lab.conditions() == {}
    (firing,) = rules_rows.firings(lab.service.db, "stuffy")
    assert firing.to_us is not None and firing.to_us - firing.from_us == 80_000_000


def test_a_lost_hint_is_made_up_for(lab: Lab) -> None:
    lab.ask("rule.put", toml=RULE)
    lab.store(AIR, (0, 800))
    lab.second(1)
    lab.store(AIR, (5, 1300))
    lab.rules.hints.take()
    assert lab.rules.hints.queue.empty()
    for second in range(6, 12):
        lab.second(second)
    assert "rule:stuffy:hut/air/co2_ppm" in lab.conditions()


@pytest.mark.parametrize("killed", [False, True])
def test_a_restart_neither_loses_nor_doubles_a_firing(lab: Lab, killed: bool) -> None:
    lab.ask("rule.put", toml=RULE + 'hold_s = 60\nthen = [{set = "hall/voice/say", value = "stuffy"}]\n')
    sent: list[tuple[object, ...]] = []

    def again() -> None:
        lab.service.hall.commander.order = lambda *args: sent.append(args)  # type: ignore[method-assign]

    again()
    for t in range(0, 50, 10):
        lab.store(AIR, (t, 1200))
        lab.second(t + 1)
    assert lab.conditions() == {} and sent == []
    lab.kill() if killed else lab.stop()
    lab.store(AIR, (50, 1210), (60, 1220), (70, 1230))  # while nobody looked
    lab.now_us += 30_000_000
    lab.start()
    again()
    lab.second(72)
    lab.second(73)
    (one,) = lab.conditions().values()
    assert one.key == "rule:stuffy:hut/air/co2_ppm" and one.since_us == lab.now_us - 73_000_000
    assert [args[:5] for args in sent] == [("hall", "voice", "say", "stuffy", "rule stuffy")]
    lab.kill() if killed else lab.stop()
    lab.start()
    again()
    for second in range(74, 80):
        lab.second(second)
    assert len(sent) == 1 and len(rules_rows.firings(lab.service.db)) == 1
    assert list(lab.conditions()) == ["rule:stuffy:hut/air/co2_ppm"]


def test_a_crash_between_intent_and_answer_never_repeats_an_order(lab: Lab) -> None:
    lab.ask("rule.put", toml=RULE + 'calm_s = 0\nthen = [{set = "hall/fan/on", value = true}]\n'
                                    'back = [{set = "hall/fan/on", value = false}]\n')
    sent: list[tuple[object, ...]] = []
    lab.service.hall.commander.order = lambda *args: sent.append(args)  # type: ignore[method-assign]
    lab.store(AIR, (0, 1200))
    lab.second(1)
    assert len(sent) == 1
    lab.kill()  # the answer never comes
    lab.start()
    lab.service.hall.commander.order = lambda *args: sent.append(args)  # type: ignore[method-assign]
    lab.second(2)
    (row,) = rules_rows.orders(lab.service.db, "stuffy")
    assert (row.state, len(sent)) == ("unknown", 1)
    lab.store(AIR, (3, 500))
    lab.second(4)
    assert [args[3] for args in sent] == [True, False]
    sent[1][5](Result(False, "hall is not connected"))  # type: ignore[operator]
    lab.second(5)
    assert [(row.phase, row.state, row.text) for row in rules_rows.orders(lab.service.db, "stuffy")] == [
        ("back", "failed", "hall is not connected"), ("then", "unknown", row.text)]


def test_b72_silence_is_one_condition_a_node_and_none_where_the_device_says_so(lab: Lab) -> None:
    lab.store(AIR, (0, 800))
    lab.store(WATER, (0, 100.0))
    lab.second(1)
    lab.second(30)
    assert lab.conditions() == {}
    lab.second(95)
    (one,) = lab.conditions().values()
    assert (one.key, one.subject, one.of_absence) == ("rule:no-data:hut/air", "property:hut/air/co2_ppm", True)
    lab.second(7300)
    (one,) = lab.conditions().values()
    assert (one.key, one.subject) == ("rule:no-data:hut/air", "plugin:hut/air")
    lab.service.hall.tree.apply("homie/5/hut/$alert/stale-air", b"air: no good value", retained=True, now_us=1)
    assert lab.conditions() == {}


def test_a_leak_and_a_forgotten_override_by_the_defaults(lab: Lab) -> None:
    """B51 and SEEDS S3, without a rule of anybody's: never zero in 24 h, forced at night."""
    hours = [(h * 3600.0 + m * 60, 1000 + 2.0 * h + m / 30) for h in range(26) for m in (0, 30)]
    lab.store(WATER, *hours)
    forced = {"base": {"profile": "work"}, "forced": {"setpoint_c": 22, "until": "2026-09-22T05:00:00Z"}}
    lab.store(LEVELS, *((t * 600.0, forced) for t in range(156)))
    lab.second(1)
    found = set()
    for hour in range(1, 27):
        lab.second(hour * 3600)
        found |= {key for key in lab.conditions() if "no-data" not in key}
    assert found == {"rule:leak-index-l:hut/air/index_l", "rule:override-at-night:hut/air/levels"}
    assert lab.conditions()["rule:leak-index-l:hut/air/index_l"].severity == "error"
    lab.service.hall.tree.apply("homie/5/hut/$alert/leak", b"E_LEAK 3 L/h since noon", retained=True, now_us=1)
    assert not any("leak" in key for key in lab.conditions()), "the plugin says it itself, and knows more"


def test_rules_are_put_changed_switched_and_removed_by_the_desk(lab: Lab) -> None:
    lab.second(1)
    assert lab.ask("rule.put", toml=RULE.replace("above", "abov")) == \
        "rule: abov: unknown key, did you mean above? (rule:5)"
    assert "make them the same" in lab.ask("rule.put", toml=RULE, id="other")
    assert "there is no rule x" in lab.ask("rule.remove", id="x")
    assert lab.ask("rule.enable", id="no-data", on=False) == {"id": "no-data", "on": False}
    lab.second(2)
    entry = next(one for one in lab.rules.entries if one.id == "no-data")
    assert (entry.enabled, entry.origin) == (False, "default")
    lab.ask("rule.put", toml='id = "no-data"\nkind = "no_data"\nof = "hut/*/*"\nhold_s = 600')
    lab.second(3)
    entry = next(one for one in lab.rules.entries if one.id == "no-data")
    assert (entry.enabled, entry.origin) == (True, "changed")
    assert lab.ask("rule.remove", id="no-data") == {"id": "no-data", "default": True}


def test_a_rule_that_is_changed_while_it_fires_ends_its_firing(lab: Lab) -> None:
    lab.ask("rule.put", toml=RULE)
    lab.store(AIR, (0, 1200))
    lab.second(1)
    lab.ask("rule.put", toml=RULE.replace("1000", "2000"))
    lab.second(2)
    assert lab.conditions() == {}
    assert [row.to_us for row in rules_rows.firings(lab.service.db)] == [lab.now_us]


def test_a_device_rule_is_sent_once_and_not_evaluated_here(lab: Lab) -> None:
    sent: list[tuple[str, bytes]] = []
    client = lab.service.hall.client
    client.publish = lambda topic, payload, retain: sent.append((topic, payload))  # type: ignore[method-assign]
    lab.ask("rule.put", toml=RULE + 'where = "hut"\n')
    lab.store(AIR, (0, 1200))
    lab.second(1)
    assert lab.conditions() == {}
    assert rules_rows.desired(lab.service.db)["hut"][0] == 1
    lab.second(2)
    lab.ask("rule.put", toml=RULE + 'where = "hut"\nseverity = "error"\n')
    lab.second(3)
    version, body = rules_rows.desired(lab.service.db)["hut"]
    assert version == 2 and list(msgspec.json.decode(body)) == ["stuffy"]
    lab.ask("rule.remove", id="stuffy")
    lab.second(4)
    assert rules_rows.desired(lab.service.db)["hut"] == (3, b"{}")


def test_b18_a_second_that_could_not_be_kept_is_done_again_and_commands_once(
        lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.ask("rule.put", toml=RULE + 'then = [{set = "hall/fan/on", value = true}]\n')
    lab.second(0)
    sent: list[tuple[object, ...]] = []
    lab.service.hall.commander.order = lambda *args: sent.append(args)  # type: ignore[method-assign]
    lab.store(AIR, (0, 1200))
    db = lab.service.db

    def full(*_: object) -> None:
        raise StoreFull(path=lab.settings.alerts_db)

    monkeypatch.setattr(rules_rows, "put_states", full)
    lab.second(1)
    assert sent == [] and rules_rows.firings(db) == []
    monkeypatch.undo()
    lab.second(2)
    lab.second(3)
    assert len(sent) == 1 and len(rules_rows.firings(db)) == 1
    assert "rule:stuffy:hut/air/co2_ppm" in lab.conditions()


def test_samples_that_cannot_be_read_are_said_and_then_caught_up_with(lab: Lab) -> None:
    lab.ask("rule.put", toml=RULE)
    lab.store(AIR, (0, 800))
    lab.second(1)
    path = lab.settings.samples_db
    away = path.with_suffix(".away")
    path.rename(away)
    lab.second(2)
    assert "cannot read the samples" in lab.conditions()["hub:rules"].title
    away.rename(path)
    lab.store(AIR, (3, 1200))
    lab.second(4)
    assert list(lab.conditions()) == ["rule:stuffy:hut/air/co2_ppm"]


def test_then_and_back_are_once_for_a_rule_however_many_of_its_subjects_fire(lab: Lab) -> None:
    """Two windows are open and one is shut: the heating stays off, as on a device."""
    lab.ask("rule.put", toml=RULE.replace("co2_ppm", "*").replace("hysteresis = 100", "calm_s = 0") +
            'then = [{set = "hall/fan/on", value = true}]\nback = [{set = "hall/fan/on", value = false}]\n')
    sent: list[object] = []
    lab.service.hall.commander.order = lambda *args: sent.append(args[3])  # type: ignore[method-assign]
    lab.store(AIR, (0, 1200))
    lab.second(1)
    lab.store(WATER, (2, 1300))
    lab.second(3)
    assert len(rules_rows.open_firings(lab.service.db)) == 2 and sent == [True]
    lab.store(AIR, (4, 800))
    lab.second(5)
    assert len(rules_rows.open_firings(lab.service.db)) == 1 and sent == [True]
    lab.store(WATER, (6, 10))
    lab.second(7)
    assert rules_rows.open_firings(lab.service.db) == [] and sent == [True, False]


def test_after_an_hour_without_the_hub_nothing_is_said_to_be_silent(lab: Lab) -> None:
    """The devices have kept it all and send it now; what stays silent is told in its time."""
    lab.store(AIR, (0, 700))
    lab.store(WATER, (0, 5))
    lab.second(1)
    lab.stop()
    lab.now_us += 3 * 3600 * 1_000_000
    lab.start()
    later = (lab.now_us - NOW) / 1e6
    for second in range(0, 80, 10):
        lab.second(later + second)
        assert lab.conditions() == {}, second
    lab.second(later + 30 + 62)
    assert list(lab.conditions()) == ["rule:no-data:hut/air"]


def test_what_a_device_has_declared_no_more_is_history(lab: Lab) -> None:
    """Its plugin was taken out of agent.toml: its silence is no fault, and its last value no news."""
    lab.ask("rule.put", toml=RULE.replace("air/co2_ppm", "attic/co2_ppm"))
    lab.store("attic/co2_ppm", (0, 1200))
    for second in (1, 60, 400):
        lab.second(second)
        assert not [key for key in lab.conditions() if "attic" in key]


def test_a_dry_run_says_what_the_live_rule_did_on_the_same_samples(lab: Lab) -> None:
    """Also of a series that began in the middle, and of one that was so before the span that is looked at."""
    from hub.rules import dry
    from hub.rules.catalog import declarations

    hour = 3600
    lab.store(AIR, (-4 * hour, 700), (-4 * hour + 10, 700))
    lab.store(LEVELS, (-25 * hour, '{"forced": 1}'))
    reader = lab.service.hall.reader
    rows = reader.series()
    known = list(declarations({"hut": REPORTED}, rows).values())

    def run(toml: str) -> list[tuple[int, int | None]]:
        found = dry.run(reader, parse(toml), known, rows, UTC, now_us=NOW, days=1)
        return [(round((one.from_us - NOW) / 1e6), one.to_us) for one in found.firings]

    silent = 'id = "s"\nkind = "no_data"\nof = "hut/air/{}"\n'
    assert run(silent.format("co2_ppm")) == [(-4 * hour + 40, None)], "not before it was there"
    assert run(silent.format("levels")) == [(-23 * hour, None)], "two hours after its last sample"
    on_change = 'id = "s"\nkind = "state"\nof = "hut/air/levels"\nis_not = "x"\n'
    assert run(on_change) == [(-24 * hour, None)], "it was so before"

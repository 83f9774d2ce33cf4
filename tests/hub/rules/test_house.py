"""The defaults over a healthy day of the demo's house, the cost of a large one, and the commands."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path

from agent.rules.declared import Declared
from agent.rules.defaults import defaults
from agent.rules.engine import Engine, Sample
from agent.rules.model import parse
from hub.store.writer import Writer
from tests.bench import bench_rules
from tests.hub.rules.lab import AIR, Lab
from tests.hub.rules.test_keeper import RULE

S = 1_000_000
T0 = 1_790_000_000 * S


def all_declared(folder: Path) -> list[Declared]:
    """What the devices of the demo's house declare, by their agent.toml; of the host also its disk and network."""
    from agent import loader, settings
    from agent.rules.declared import of_reported
    from agent.wire.messages import NodeDeclaration, PluginDeclaration, Reported
    from plugins.host.plugin import disk_node, network_node
    from provisioning import demo_house

    found: list[Declared] = []
    house = demo_house.devices(9, "this", "This", data=folder, run=folder, mqtt_port=1883)
    for device in house:
        path = folder / f"{device.id}.toml"
        path.write_text(device.toml)
        plugins = {}
        for id_, entry in settings.load(path).plugins.items():
            plugin = loader.load(entry.use)
            config = settings.plugin_config(entry, plugin)
            nodes = [NodeDeclaration(id_, plugin.title, plugin(config).declare())]
            if entry.use == "host":
                nodes += [NodeDeclaration(f"{id_}-{node.id}", node.title, node.properties)
                          for node in (disk_node("/"), network_node("eth0"))]
            plugins[id_] = PluginDeclaration(id_, entry.use, plugin.title,
                                             settings.default_interval_s(plugin, entry), tuple(nodes))
        found += of_reported(device.id, Reported(device.name, "1", plugins))
    return found


def healthy(one: Declared, minute: int) -> object:
    """What it says in a house where nothing is wrong."""
    if one.datatype == "boolean":
        return one.device_class in ("connectivity", "presence")
    if one.datatype == "enum":
        return one.options[0] if one.options else "ok"
    if one.counter:
        return 1000.0 + minute // 60 * 5 * (6 * 60 < minute % 1440 < 22 * 60)  # nobody draws water at night
    if one.datatype in ("float", "integer"):
        return {"%": 42.0 + minute % 7, "°C": 45.0}.get(one.unit, 100.0 + minute % 5)
    return {"forced": None, "base": {"profile": "work"}} if one.property == "levels" else "fine"


def test_a_healthy_house_says_nothing_for_a_day_and_every_default_is_a_rule(tmp_path: Path) -> None:
    declared = all_declared(tmp_path)
    assert len(declared) > 100
    given = defaults(declared)
    rules = {id_: parse(text, id_) for id_, text in given.items()}
    assert all(rule.id == id_ and rule.enabled and rule.where == "hub" for id_, rule in rules.items())
    assert {"no-data", "clock", "disk-full", "disk-fills", "processor-hot", "emmc-spare", "leak-index-l",
            "override-at-night", "problem-under-voltage", "memory-full"} <= set(given)
    slow = [one for one in declared if one.max_age_s is None or one.max_age_s > 60]
    assert any(one.counter for one in slow) and any(one.property == "levels" for one in slow)
    for watched, minutes in ((declared, 6), (slow, 26 * 60)):  # the fast ones say no more in a day
        engine = Engine(rules.values(), watched, UTC)
        engine.tick(T0)
        due = {one.key: (one, 0) for one in watched if not one.event}
        for minute in range(minutes):
            now = T0 + minute * 60 * S
            for key, (one, at) in due.items():
                if minute >= at:
                    for part in range(1 if (one.max_age_s or 9999) > 60 else 12):
                        engine.feed(Sample(*key, now + part * 5 * S, healthy(one, minute)))
                    due[key] = one, minute + max(1, int((one.max_age_s or 600) / 120))
            engine.tick(now + 59 * S)
        assert [change.text for change in engine.changes()] == []
    assert len(given) < 40, "not so many that nobody reads them"


def test_twenty_thousand_series_cost_little() -> None:
    """Short form of ``make bench``: a tenth of the devices."""
    for figure in bench_rules.measure(devices=100, rounds=3):
        assert figure.ratio <= figure.at_most * 2, figure.line()


def test_the_commands_list_show_try_and_say_what_is_wrong(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from hub.cli import group

    lab = Lab(tmp_path).start()
    config = ["--config", str(tmp_path / "hub.toml")]
    try:
        lab.ask("rule.put", toml=RULE)
        lab.store(AIR, (0, 1200))
        lab.second(1)
        run = CliRunner().invoke
        listed = json.loads(run(group, ["rules", "list", "--json", *config]).output)
        own = next(one for one in listed if one["id"] == "stuffy")
        assert (own["origin"], own["standing"], own["where"]) == ("own", {"firing": 1}, "hub")
        assert "# firing: Stuffy: CO2 (hut/air/co2_ppm) is 1200 ppm" in run(group, ["rules", "show", "stuffy",
                                                                                    *config]).output
        file = tmp_path / "rule.toml"
        file.write_text(RULE.replace("above", "abov"))
        failed = run(group, ["rules", "dry-run", str(file), *config])
        assert "rule.toml: abov: unknown key, did you mean above? (rule.toml:5)" in str(failed.exception)
        assert "there is no rule stufy, did you mean stuffy?" in run(group, ["rules", "show", "stufy", *config]).output
    finally:
        lab.kill()
        lab.pages.close(0)


def test_a_dry_run_by_the_minute_and_from_hours_says_so(tmp_path: Path) -> None:
    from hub.rules import dry
    from hub.rules.catalog import declarations
    from hub.store.batch import Declared as DeclaredRow
    from hub.store.reader import Reader
    from tests.hub.rules.lab import REPORTED, WATER
    from tests.hub.store.lab import BOOT_AT, NOW, batch

    path = tmp_path / "samples.db"
    hour = 3600 * S
    with Writer(path) as writer:
        writer.commit([DeclaredRow("hut", NOW, REPORTED)])
        start = NOW - BOOT_AT - 23 * hour
        points = [(start + n * 10 * S, 1400.0 if 3000 < n < 3200 else 700.0) for n in range(8000)]
        water = [(start + n * 600 * S, 100.0 + n) for n in range(130)]
        writer.commit([batch(1, {AIR: points, WATER: water}, device="hut")])
    reader = Reader(path)
    rows = reader.series()
    known = declarations({"hut": REPORTED}, rows).values()
    rule = parse(RULE + "hold_s = 300")
    every = dry.run(reader, rule, known, rows, UTC, now_us=NOW, days=2)
    assert (len(every.firings), every.note, every.samples) == (1, "", 8000)
    try:
        dry.EVERY, before = 100, dry.EVERY
        by_minute = dry.run(reader, rule, known, rows, UTC, now_us=NOW, days=2)
    finally:
        dry.EVERY = before
    assert by_minute.note == "by the highest value of each minute" and by_minute.samples < 1500
    assert abs(by_minute.firings[0].from_us - every.firings[0].from_us) <= 120 * S
    leak = parse('id = "leak"\nkind = "never_zero"\nof = "hut/air/index_l"\nhours = 12')
    from_hours = dry.run(reader, leak, known, rows, UTC, now_us=NOW, days=2)
    assert from_hours.note == "from the hourly roll-ups" and len(from_hours.firings) == 1
    assert from_hours.samples < 60
    reader.close()

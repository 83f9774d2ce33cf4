"""Is this a good plugin? The checks every plugin passes, ours and others': ``assert conformance(MyPlugin) == []``."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from agent import loader
from agent.api import ConfigError, Node, Plugin, Property, Reading
from agent.discovery import DeviceInfo, discovery_payload, rules
from agent.homie.tree import Tree, describe_property, nodes_of, problems
from agent.homie.values import BadValue, payload
from agent.runner.intake import Intake
from agent.runner.io import RunnerIo
from agent.runner.logs import CappedLog
from agent.runner.worker import Worker, Yield
from agent.settings import PluginEntry, load, plugin_config
from agent.testing.actuators import lend_relay, on_stand_in_pins
from agent.testing.fakes import Lines
from agent.testing.transcripts import CASES
from agent.toml_typed import Source, Sources, convert
from agent.wire.messages import NodeDeclaration, PluginDeclaration

STOP_S = 1.0
STOP_TRIES = 3
"""A loaded test machine may delay a thread; a plugin that does not stop fails all of them."""
SIMULATED_S = 30.0


def conformance(kind: type[Plugin], folder: Path | None = None) -> list[str]:
    """What is wrong with the plugin, one line each; empty if it is good. ``folder`` defaults to its module's."""
    folder = folder or loader.folder(kind)
    found: list[str] = []
    for check in (readme_is_true, announcement_is_valid, config_errors_are_clear, example_is_valid,
                  look_answers, commands_are_wired, stops_within_a_second, simulation_works):
        try:
            found += [f"{check.__name__}: {text}" for text in check(kind, folder)]
        except ConfigError as error:
            found.append(f"{check.__name__}: {error}")
    return found


# --- what it declares -----------------------------------------------------------------------------------------


def declared(kind: type[Plugin], folder: Path) -> tuple[Property, ...]:
    """The class's properties, or those of the configured example where they depend on the configuration."""
    return kind.properties or kind(example_config(kind, folder)).declare()


def readings_table(kind: type[Plugin], folder: Path) -> str:
    """The table for the README, as Markdown."""
    rows = ["| Property | Unit | Meaning |", "|---|---|---|"]
    for prop in declared(kind, folder):
        rows.append(f"| `{prop.name}` | {prop.unit or ''} | {prop.title or describe_property(prop)['name']} |")
    return "\n".join(rows)


def readme_table(text: str) -> dict[str, str]:
    """Property -> unit, from the tables under a heading ``Readings``: first two columns."""
    section = re.search(r"^#+ *Readings\b.*?$(.*?)(?=^# |^## |\Z)", text, re.M | re.S)
    rows: dict[str, str] = {}
    for line in (section[1] if section else "").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        names = re.findall(r"`([a-z0-9_]+)`", cells[0]) if line.strip().startswith("|") else []
        for name in names:
            unit = cells[1].strip("`") if len(cells) > 1 else ""
            rows[name] = "" if unit in ("-", "–", "—") else unit
    return rows


def readme_is_true(kind: type[Plugin], folder: Path) -> Iterator[str]:
    """README.md lists every reading with its unit, and nothing that is neither declared nor seen in a testcase."""
    readme = folder / "README.md"
    if not readme.exists():
        yield f"{readme} is missing"
        return
    table = readme_table(readme.read_text())
    if not table:
        yield "README.md: no table under a heading 'Readings'; print one with hutkeeper-agent plugins"
        return
    wanted = {prop.name: prop.unit or "" for prop in declared(kind, folder)}
    for name, unit in wanted.items():
        if name not in table:
            yield f"README.md: `{name}` is declared and not in the table of readings"
        elif table[name] != unit:
            yield f"README.md: `{name}` has unit {table[name]!r} in the table and {unit!r} in the code"
    seen = _seen_in_testcases(folder)
    for name in table.keys() - wanted.keys():
        if name not in seen:
            yield f"README.md: `{name}` is in the table, and neither declared nor in any testcase"
        elif table[name] != (seen[name] or ""):
            yield f"README.md: `{name}` has unit {table[name]!r} in the table and {seen[name]!r} in the testcases"


def _seen_in_testcases(folder: Path) -> dict[str, str | None]:
    seen: dict[str, str | None] = {}
    for file in (folder / CASES).glob("*/expected.ndjson"):
        for line in file.read_text().splitlines():
            record = json.loads(line) if line.strip() else {}
            if "property" in record:
                seen[record["property"]] = record.get("unit")
    return seen


def announcement_is_valid(kind: type[Plugin], folder: Path) -> Iterator[str]:
    """Every property can be a Homie property and a Home Assistant component, and is plausible in itself."""
    properties = declared(kind, folder)
    if not properties and "simulate" not in kind.__dict__:
        yield "declares no property"
    declaration = PluginDeclaration("x", kind.name, kind.title or kind.name, kind.interval_s,
                                    (NodeDeclaration("x", "x", properties),), climate=kind.climate)
    yield from problems(declaration)
    yield from rules.problems(declaration)
    for prop in properties:
        if prop.datatype in ("float", "integer") and prop.options:
            yield f"{prop.name}: options on a number"
        if prop.max_rate_per_h is not None and prop.state_class != "total_increasing":
            yield f"{prop.name}: max_rate_per_h is for total_increasing"
    tree = Tree("device")
    tree.set_plugin(declaration)
    msgspec.json.encode(tree.description())
    for node in nodes_of(declaration):
        config = discovery_payload(DeviceInfo(id="device"), node, "install")
        if not config["components"] and properties:
            yield "no property has a Home Assistant component"


# --- configuration --------------------------------------------------------------------------------------------


def _example_entry(kind: type[Plugin], folder: Path) -> PluginEntry:
    example = folder / "agent.example.toml"
    if not example.exists():
        raise ConfigError(f"{example} is missing")
    text = example.read_text()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "agent.toml"
        head = "" if re.search(r"^\s*\[device\]", text, re.M) else '[device]\nid = "example"\n'
        path.write_text(head + text)
        for entry in load(path).plugins.values():
            if entry.use == kind.name:
                return entry
    raise ConfigError(f"agent.example.toml: no [plugins.<id>] uses {kind.name}")


def example_config(kind: type[Plugin], folder: Path) -> Any:
    """The typed Config of agent.example.toml. Raises ConfigError."""
    return plugin_config(_example_entry(kind, folder), kind)


def example_is_valid(kind: type[Plugin], folder: Path) -> Iterator[str]:
    """agent.example.toml is right and makes a plugin."""
    try:
        kind(example_config(kind, folder)).declare()
    except ConfigError as error:
        yield str(error)


def config_errors_are_clear(kind: type[Plugin], folder: Path) -> Iterator[str]:
    """A misspelt key and a wrong type are refused, each naming the key."""
    at = ("plugins", "x")
    sources = Sources(Source("agent.toml", "", {}))
    example = _example_entry(kind, folder).config
    for field in msgspec.structs.fields(kind.Config)[:3]:
        name = field.encode_name
        cases: list[tuple[str, Any, str]] = [(f"{name}_x", 1, f"plugins.x.{name}_x: unknown key, did you mean {name}?")]
        if not _takes_tables(field.type):
            cases.append((name, {"a": 1}, f"plugins.x.{name}"))
        for key, value, wanted in cases:
            base = {old: item for old, item in example.items() if old != name}
            try:
                convert({**base, key: value}, kind.Config, sources, at)
            except ConfigError as error:
                if wanted not in str(error):
                    yield f"{key} = {value}: expected an error with {wanted!r}, got: {error}"
            else:
                yield f"{key} = {value}: accepted; give Config forbid_unknown_fields=True and narrow types"


def _takes_tables(kind: Any) -> bool:
    return "dict" in str(kind) or "Any" in str(kind) or (isinstance(kind, type) and issubclass(kind, msgspec.Struct))


def look_answers(kind: type[Plugin], folder: Path) -> Iterator[str]:
    """``hutkeeper-agent check`` may ask it on a machine that has nothing: lines come, each of one line."""
    config = example_config(kind, folder)
    with tempfile.TemporaryDirectory() as nothing:
        try:
            lines = list(kind.look(config, Path(nothing)))
        except Exception as error:
            yield f"look(config, root) raises {type(error).__name__}: {error}"
            return
    for line in lines:
        if not isinstance(line, str) or not line or "\n" in line:
            yield f"look(config, root) gave {line!r}, expected one line of text"


def commands_are_wired(kind: type[Plugin], folder: Path) -> Iterator[str]:
    """Who declares a settable property carries out commands."""
    settable = [prop.name for prop in declared(kind, folder) if prop.settable]
    if settable and kind.command is Plugin.command:
        yield f"{', '.join(settable)}: settable, and the class has no command()"
    if (kind.poll is Plugin.poll) == (kind.run is Plugin.run):
        yield "needs exactly one of poll() and run()"


# --- running --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(kind: type[Plugin], config: Any, simulate: bool) -> Iterator[tuple[Worker, Lines]]:
    """The plugin on the runner's real worker and Io."""
    with contextlib.ExitStack() as stack:
        if simulate:
            config = stack.enter_context(on_stand_in_pins(kind, config))
            config = stack.enter_context(kind.simulate(config))
        lines = Lines()
        log = CappedLog(lines)
        woken = threading.Event()
        interval_s = float(getattr(config, "interval_s", None) or kind.interval_s)
        worker = Worker("x", lambda: kind(config), kind(config), interval_s, woken.set, log)
        worker.io = RunnerIo(worker, log, lambda: None, Path("/nonexistent"))
        lend_relay(worker.io, kind, config)
        worker.start()
        try:
            yield worker, lines
        finally:
            worker.stop()
            worker.join(STOP_S)


def stops_within_a_second(kind: type[Plugin], folder: Path) -> Iterator[str]:
    """Asked to stop, it ends: on its simulated device where it has one, else on the example's (absent) one."""
    config = example_config(kind, folder)
    simulate = "simulate" in kind.__dict__
    for attempt in range(STOP_TRIES):
        with running(kind, config, simulate) as (worker, _):
            time.sleep(0.2 * (attempt + 1))
            worker.stop()
            worker.join(STOP_S)
            if not worker.is_alive():
                return
    yield f"still runs {STOP_S:.0f} s after it was asked to stop: look at io.stopping, wait by io.clock.sleep"


def simulation_works(kind: type[Plugin], folder: Path) -> Iterator[str]:
    """``simulate`` gives readings, all of them as declared and fit for the state plane."""
    if "simulate" not in kind.__dict__:
        return
    told: list[str] = []

    def problem(message: str, *args: object) -> None:
        told.append(message % args if args else message)

    config = example_config(kind, folder)
    with running(kind, config, simulate=True) as (worker, lines):
        intake = Intake("x", kind.title or kind.name, kind(config).declare(), problem, ledger=False)
        deadline, readings = time.monotonic() + SIMULATED_S, 0
        while time.monotonic() < deadline and not (readings and not worker.items) and worker.is_alive():
            time.sleep(0.05)
            while worker.items:
                item = worker.items.popleft()
                if isinstance(item, Yield) and isinstance(item.what, Node):
                    intake.add_node(item.what)
                elif isinstance(item, Yield) and isinstance(item.what, Reading):
                    for sample, _, prop in intake.accept(item.what, item.t_us):
                        readings += 1
                        yield from _payload_problem(prop, sample.value)
        yield from told
        if not readings:
            yield f"no reading within {SIMULATED_S:.0f} s; it said {lines.of('warning', 'error')}"


def _payload_problem(prop: Property, value: Any) -> Iterator[str]:
    if value is None:
        return
    try:
        payload(prop, value)
    except BadValue as error:
        yield f"{prop.name}: {value!r} cannot be published: {error}"

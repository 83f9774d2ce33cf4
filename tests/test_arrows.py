"""The shape we care about is a test: imports follow the readings one way (DESIGN section 1); a library has one home."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from agent import loader

ROOT = Path(__file__).resolve().parents[1]
OURS = ("agent", "plugins", "firmware_bridges", "hub", "provisioning")
ARROWS: dict[str, set[str]] = {
    "agent": set(),
    "plugins": {"agent.api", "firmware_bridges"},
    "firmware_bridges": set(),
    "hub": {"agent.api", "agent.wire", "agent.settings", "agent.bus", "agent.inference", "agent.rules"},
    "provisioning": {"agent.settings", "agent.wire"},
}
HOMES: dict[str, tuple[str, ...]] = {
    "paho": ("agent/uplink/", "hub/", "plugins/foreign_mqtt/"),
    "sqlite_utils": ("hub/store/",),
    "serial": ("agent/runner/serial_port.py",),
    "bleak": ("plugins/ble/",),
    "dbus_fast": ("plugins/ble/",),
    "icalendar": ("plugins/schedule/",),
    "recurring_ical_events": ("plugins/schedule/",),
    "gpiod": ("agent/runner/gpio_lines.py",),
    "flask": ("hub/web/", "hub/pairing/"),
    "apprise": ("hub/notify/channels/",),
    "click": ("agent/cli/", "hub/cli/", "provisioning/"),
}
"""A library -> the only places that may know it, as prefixes of the path."""


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def imports(path: Path) -> tuple[tuple[str, int], ...]:
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported module by its full name, wherever in the file it is imported, with its line."""
    here = path.relative_to(ROOT).with_suffix("").parts
    package = here if path.name == "__init__.py" else here[:-1]
    package = package[:-1] if package and package[-1] == "__init__" else package
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            for alias in node.names:
                # `from agent import bus` names the module agent.bus, `from agent.bus import lock` the module agent.bus
                inner = f"{module}.{alias.name}"
                yield (inner if _is_module(inner) else module), node.lineno


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def _within(module: str, allowed: str) -> bool:
    return module == allowed or module.startswith(allowed + ".")


@pytest.mark.parametrize("package", OURS)
def test_imports_flow_one_way(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in modules(package)
        for module, line in imports(path)
        if module.split(".")[0] in OURS
        and not _within(module, package)
        and not any(_within(module, allowed) for allowed in ARROWS[package])
    ]
    assert wrong == [], f"{package} may import {sorted(ARROWS[package]) or 'nothing of ours'}"


@pytest.mark.parametrize("library", HOMES)
def test_one_home_for_each_library(library: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in OURS
        for path in modules(package)
        for module, line in imports(path)
        if _within(module, library) and not str(path.relative_to(ROOT)).startswith(HOMES[library])
    ]
    assert wrong == [], f"{library} belongs to {HOMES[library]}"


SQL_HOMES = ("agent/spool/", "hub/store/")


def test_only_the_store_and_the_spool_speak_sql() -> None:
    """Others may name an exception of sqlite3; opening a database and sending it a statement is nobody else's."""
    speaks = {"connect", "Connection", "Cursor", "execute", "executemany", "executescript"}
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.attr}"
        for package in OURS
        for path in modules(package)
        if not str(path.relative_to(ROOT)).startswith(SQL_HOMES) and any(m == "sqlite3" for m, _ in imports(path))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in speaks
    ]
    assert wrong == []


def test_a_plugin_imports_no_other_plugin() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in modules("plugins")
        for module, line in imports(path)
        if _within(module, "plugins") and module.split(".")[1:2] != list(path.relative_to(ROOT).parts[1:2])
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["agent", "hub"])
def test_nothing_names_a_plugin(package: str) -> None:
    """Ours are found as a third party's are: no plugin's name, class or folder is written outside its own folder."""
    ours = {name: entry.target for name, entry in loader.found().items() if entry.target.startswith("plugins.")}
    assert ours, "no plugin of ours is installed: pip install -e ."
    # English words, and Home Assistant's; their module paths are looked for below
    words = set(ours) - {"host", "light", "presence", "camera", "schedule", "announcer", "modem", "mains", "internet"}
    words |= {target.partition(":")[0] for target in ours.values()}
    pattern = re.compile(r"(?<![\w.-])(" + "|".join(sorted(map(re.escape, words))) + r")(?![\w-])")
    wrong = []
    for path in modules(package):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and pattern.search(node.value):
                docs = "\n" in node.value or " " in node.value  # prose may give an example
                if not docs:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}")
    assert wrong == []


def test_the_check_sees_what_it_should(tmp_path: Path) -> None:
    """A test that cannot fail is none: relative, nested and aliased imports are all found."""
    path = ROOT / "agent" / "runner" / "process.py"
    found = {module for module, _ in imports(path)}
    assert {"agent.bus", "agent.loader", "agent.api", "agent.runner.worker", "zmq"} <= found
    lazily = {module for module, _ in imports(ROOT / "agent" / "runner" / "serial_port.py")}
    assert {"serial", "agent.wire.faults"} <= lazily

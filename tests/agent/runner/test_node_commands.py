"""Commands for what a plugin found while running: the real worker and bus, from ``/set`` as uplink sends it on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import bus
from agent.api import CommandRefused, Io, Node, Property, Reading, RetryLater, Value
from agent.runner.worker import boottime_us

from .bus_end import BusEnd
from .parts import KINDS, Running, Streaming, settings_for

PLUG = Node(id="plug", title="Plug", properties=(
    Property(name="on", datatype="boolean", settable=True),
    Property(name="lock", datatype="json", settable=True, event=True),
    Property(name="power_w", datatype="float", unit="W")))


class Finder(Streaming, name="finder"):
    def run(self, io: Io) -> Iterator[Any]:
        yield PLUG
        yield Reading("on", False, node="plug")
        while io.clock.sleep(60):
            pass

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        raise AssertionError("this one is for the plugin's own node")

    def node_command(self, io: Io, node: str, property_name: str, value: Value) -> Value:
        if property_name == "lock":
            return {"key": "secret"}
        assert (node, property_name) == ("plug", "on")
        if value is False:
            raise CommandRefused("plug: a person holds the button")
        io.kept["commands"] = io.kept.get("commands", 0) + 1
        if io.kept["commands"] > 1:
            raise RetryLater("no connection to the plug")
        return value


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hk", dir="/tmp") as made:  # unix sockets need a short path
        yield Path(made)


@pytest.fixture
def end(monkeypatch: Any, folder: Path) -> Iterator[BusEnd]:
    monkeypatch.setattr("agent.runner.outbox.MAX_WAIT_S", 0.2)
    monkeypatch.setitem(KINDS, "finder", Finder)
    settings = settings_for(folder, '[plugins.x]\nuse = "finder"\n[plugins.y]\nuse = "streaming"\n')
    Streaming.body = staticmethod(Finder(None).run)  # type: ignore[assignment]
    with BusEnd(folder / "run") as end, Running(monkeypatch, settings, "x", "y"):
        end.until("both nodes", lambda: end.samples("x-plug/on") and end.samples("y-plug/on"))
        yield end


def ask(end: BusEnd, instance: str, *wanted: tuple[str, str, Any]) -> list[bus.Answer]:
    soon = boottime_us() + 20_000_000
    before = len(end.of(bus.Answer))
    for number, (node, prop, value) in enumerate(wanted):
        end.command(instance, bus.Command(f"{instance}{before}-{number}", node, prop, value, soon))
    end.until("answers", lambda: len(end.of(bus.Answer)) == before + len(wanted))
    return sorted(end.of(bus.Answer)[before:], key=lambda answer: answer.id)


def test_a_command_for_a_node_reaches_the_plugin_with_the_nodes_own_id(end: BusEnd) -> None:
    done, = ask(end, "x", ("x-plug", "on", True))
    assert (done.ok, done.value, done.message) == (True, True, "")
    end.until("the reading", lambda: [v for _, v, _ in end.samples("x-plug/on")] == [False, True])


def test_the_answer_to_a_momentary_command_is_the_askers_alone(end: BusEnd) -> None:
    locked, done = ask(end, "x", ("x-plug", "lock", {"service": "radio"}), ("x-plug", "on", True))
    assert (locked.ok, locked.value) == (True, {"key": "secret"})
    end.until("what came after it", lambda: True in [v for _, v, _ in end.samples("x-plug/on")])
    assert done.ok
    assert not list(end.samples("x-plug/lock"))


def test_what_it_refuses_comes_back_in_its_own_words(end: BusEnd) -> None:
    refused, unknown, fixed, wrong = ask(end, "x", ("x-plug", "on", False), ("x-lamp", "on", True),
                                         ("x-plug", "power_w", 5.0), ("x-plug", "on", "maybe"))
    assert (refused.ok, refused.message) == (False, "plug: a person holds the button")
    assert (unknown.ok, unknown.message) == (False, "x-lamp/on: no such property")
    assert (fixed.ok, fixed.message) == (False, "x-plug/power_w: not settable")
    assert not wrong.ok and "expected true or false" in wrong.message
    ask(end, "x", ("x-plug", "on", True))
    later, = ask(end, "x", ("x-plug", "on", True))
    assert (later.ok, later.message) == (False, "not now: no connection to the plug")


def test_a_plugin_without_node_commands_says_so(end: BusEnd) -> None:
    answer, = ask(end, "y", ("y-plug", "on", True))
    assert (answer.ok, answer.message) == (False, "streaming: plug takes no commands")

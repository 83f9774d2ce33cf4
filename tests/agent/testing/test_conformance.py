"""The checks themselves: a bad plugin fails each of them, with a line that says what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.testing import cases, conformance, run_case
from agent.testing.checks import readings_table, readme_table

BAD = '''
import time
from contextlib import contextmanager
from msgspec import Struct
from agent.api import Plugin, Property, Reading

class Config(Struct):
    port: str = ""

class Bad(Plugin, name="bad"):
    Config = Config
    properties = (
        Property(name="level", datatype="float", unit="m"),
        Property(name="Mode", datatype="enum"),
        Property(name="on", datatype="boolean", settable=True, state_class="measurement"),
        Property(name="used", datatype="float", unit="kWh", device_class="energy", state_class="measurement"),
        Property(name="heat", datatype="float", unit="kWh", device_class="temperature"),
    )
    def run(self, io):
        yield Reading("level", "high")
        until = time.monotonic() + 15
        while time.monotonic() < until:
            time.sleep(0.5)
    @classmethod
    @contextmanager
    def simulate(cls, config, seed=0):
        yield config
'''
README = """# Bad
## Readings
| Property | Unit |
|---|---|
| `level` | cm |
| `depth` | m |
"""


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "bad_plugin.py").write_text(BAD)
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "agent.example.toml").write_text('[plugins.bad]\nport = "/dev/null"\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    import bad_plugin  # type: ignore[import-not-found]

    yield bad_plugin.Bad
    del sys.modules["bad_plugin"]


@pytest.mark.filterwarnings("ignore")
def test_everything_that_is_wrong_is_said(bad: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.testing.checks.STOP_TRIES", 1)
    said = "\n".join(conformance(bad))
    for part in (
        "`level` has unit 'cm' in the table and 'm' in the code", "`Mode` is declared and not in the table",
        "`depth` is in the table, and neither declared nor in any testcase", "property 'Mode': a name is a-z",
        "property 'on': state class 'measurement' is for numbers, this is boolean",
        "property 'used': device class 'energy' does not go with state class 'measurement'",
        "property 'heat': device class 'temperature' wants a unit of",
        "on: settable, and the class has no command()", "still runs 1 s after it was asked to stop",
        "x/level: 'high' (str): expected a number",
    ):
        assert part in said, said


def test_a_table_made_by_us_is_read_by_us(bad: Any, tmp_path: Path) -> None:
    table = readme_table("## Readings\n\n" + readings_table(bad, tmp_path) + "\n\n## Else\n| `other` | V |\n")
    assert table == {"level": "m", "on": "", "used": "kWh", "heat": "kWh"}  # `Mode` is no name of a property


def case(folder: Path, wire: str, expected: str, toml: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text(toml or '[device]\nid = "d"\n[plugins.meter]\nuse = "lines"\nport = "p"\n')
    (folder / "wire.txt").write_text(wire)
    (folder / ("error.txt" if expected.startswith("agent.toml") else "expected.ndjson")).write_text(expected)
    return folder


def test_a_case_fails_with_a_diff_and_an_empty_one_fails_too(tmp_path: Path) -> None:
    from tests.agent.replay.test_replay import Lines

    right = '{"t": 1.0, "plugin": "test_lines", "property": "power_w", "value": 5.0, "unit": "W"}\n'
    run_case(case(tmp_path / "testcases" / "right", "# c\n< 1 5\\n\n", right), Lines)
    for name, expected, error in (("value", right.replace("5.0", "6.0"), r'-\{"t": 1.0.*6.0.*\n\+\{"t": 1.0.*5.0'),
                                  ("type", right.replace("5.0", "5"), "differs"),
                                  ("stamp", right.replace("1.0", "1.1"), "differs"), ("empty", "", "tests nothing")):
        with pytest.raises(AssertionError, match=error):
            run_case(case(tmp_path / "testcases" / name, "# c\n< 1 5\\n\n", expected), Lines)
    typo = '[device]\nid = "d"\n[plugins.meter]\nuse = "lines"\nprt = "p"\n'
    run_case(case(tmp_path / "testcases" / "typo", "< 1 5\n",
                  "agent.toml: plugins.meter.prt: unknown key, did you mean port? (agent.toml:5)\n", typo), Lines)
    assert [path.name for path in cases(tmp_path)] == ["empty", "right", "stamp", "type", "typo", "value"]

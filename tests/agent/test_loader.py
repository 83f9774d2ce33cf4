"""Entry points: a third party's plugin is found as ours is, and one that breaks breaks only whoever uses it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent import loader
from agent.api import ConfigError

GOOD = """
from msgspec import Struct
from agent.api import Plugin
class Config(Struct): pass
class Good(Plugin, name="{name}"):
    Config = Config
"""
Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution ``thing-<name>`` with one plugin on sys.path, as pip leaves it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def put(name: str, code: str) -> None:
        (tmp_path / f"thing_{name}.py").write_text(code)
        info = tmp_path / f"thing_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: thing-{name}\nVersion: 1.0\nProvides-Extra: radio\n"
            'Requires-Dist: pyradio-nonexistent>=1; extra == "radio"\n')
        (info / "entry_points.txt").write_text(f"[hutkeeper.plugins]\n{name} = thing_{name}:Good\n")

    yield put
    for module in set(sys.modules) - before:
        if module.startswith("thing_"):
            del sys.modules[module]


def test_a_third_party_is_found_beside_ours(install: Install, tmp_path: Path) -> None:
    install("water", GOOD.format(name="water"))
    assert {"water", "host", "power_meter"} <= set(loader.found())
    kind = loader.load("water")
    assert kind.name == "water" and loader.folder(kind) == tmp_path.resolve()
    assert loader.found()["water"].distribution == "thing-water"


@pytest.mark.parametrize("code, error", [
    ("import tuner_nonexistent", "plugin bad needs tuner_nonexistent, which is not installed: pip install tuner_none"),
    ("import pyradio_nonexistent", "which is not installed: pip install thing-bad[radio]"),
    ("1/0", "thing_bad:Good (thing-bad) cannot be imported: ZeroDivisionError: division by zero; tell whoever wrote"),
    ("Good = 3", "thing_bad:Good (thing-bad) is no subclass of agent.api.Plugin"),
    (GOOD.format(name="other"), "calls itself 'other'"),
    ("from agent.api import Plugin\nclass Good(Plugin, name='bad'): pass", "has no Config"),
])
def test_one_that_breaks_says_what_to_do_and_leaves_the_others_alone(install: Install, code: str, error: str) -> None:
    install("bad", code)
    install("fine", GOOD.format(name="fine"))
    with pytest.raises(ConfigError) as raised:
        loader.load("bad")
    assert error in str(raised.value) and "\n" not in str(raised.value)
    assert loader.load("fine").name == "fine"


def test_an_unknown_name_gets_the_near_one_and_the_list() -> None:
    wanted = r'^use = "power_metre": no such plugin, did you mean power_meter\? installed: '
    with pytest.raises(ConfigError, match=wanted):
        loader.load("power_metre")

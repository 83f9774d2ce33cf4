"""new-plugin: what it writes passes its own tests, installs offline, and is found; a bad name is one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.newplugin import main

ROOT = Path(__file__).resolve().parents[3]


def python(*words: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(p) for p in (path, ROOT) if p]),
           "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_a_repository_of_its_own_passes_its_tests_and_is_found_once_installed(tmp_path: Path, capfd: Any) -> None:
    assert main("rain_gauge", tmp_path) == 0
    repository = tmp_path / "hutkeeper-rain-gauge"
    assert f"wrote {repository}" in capfd.readouterr().out
    tests = python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=repository)
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "6 passed" in tests.stdout
    # What an editable install does, without the wheel package and the network that pip wants for it.
    metadata = python("-c", "import setuptools; setuptools.setup()", "--quiet", "egg_info", cwd=repository)
    assert metadata.returncode == 0, metadata.stderr
    wire = repository / "hutkeeper_rain_gauge" / "testcases" / "torn_line" / "wire.txt"
    replay = python("-m", "agent.cli", "replay", "rain_gauge", str(wire), cwd=tmp_path, path=repository)
    assert replay.returncode == 0, replay.stderr
    assert replay.stdout == (wire.parent / "expected.ndjson").read_text()


def test_inside_a_checkout_it_is_a_folder_of_plugins_and_a_line_in_setup_cfg(tmp_path: Path) -> None:
    for module in ("plugins/__init__.py", "agent/__init__.py", "agent/api.py", "agent/testing/__init__.py"):
        (tmp_path / module).parent.mkdir(exist_ok=True)
        (tmp_path / module).touch()
    (tmp_path / "ruff.toml").write_text((ROOT / "ruff.toml").read_text())
    (tmp_path / "setup.cfg").write_text((ROOT / "setup.cfg").read_text())
    assert main("rain_gauge", tmp_path) == 0
    line = "    rain_gauge = plugins.rain_gauge.plugin:RainGauge\n"
    before, after = (ROOT / "setup.cfg").read_text(), (tmp_path / "setup.cfg").read_text()
    assert line in after and after.replace(line, "") == before
    test = tmp_path / "tests" / "plugins" / "rain_gauge" / "test_rain_gauge.py"
    assert 'parents[3] / "plugins" / "rain_gauge"' in test.read_text()
    ruff = python("-m", "ruff", "check", "--no-cache", ".", cwd=tmp_path)
    assert ruff.returncode == 0, ruff.stdout


@pytest.mark.parametrize("name, word", [("Rain", "a-z"), ("class", "a-z"), ("9x", "a-z"), ("power_meter", "there is")])
def test_a_bad_name_is_refused_in_one_line(tmp_path: Path, capfd: Any, name: str, word: str) -> None:
    assert main(name, tmp_path) == 2
    error = capfd.readouterr().err
    assert error.startswith("new-plugin: ") and error.count("\n") == 1 and word in error
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "hutkeeper-rain-gauge").mkdir()
    assert main("rain_gauge", tmp_path) == 2
    assert "is there already" in capfd.readouterr().err

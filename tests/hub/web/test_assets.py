"""The chart library: only what the lock file's hashes say, and a clear word when it cannot be built."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hub.web import assets

ROOT = Path(__file__).parents[3]


def test_the_lock_holds_hashes_and_no_address() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    packages = {name: of for name, of in lock["packages"].items() if name}
    assert packages and all(of["integrity"].startswith("sha512-") for of in packages.values())
    assert "://" not in (ROOT / "package-lock.json").read_text()
    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]
    assert wanted == {"uplot": packages["node_modules/uplot"]["version"]}  # an exact version


def test_nothing_built_is_in_the_repository() -> None:
    assert "hub/web/static/built/" in (ROOT / ".gitignore").read_text().split()
    for path in (ROOT / "hub" / "web").rglob("*"):
        if path.suffix in (".js", ".css", ".html") and "built" not in path.parts:
            assert max(map(len, path.read_text().splitlines()), default=0) < 1500, f"{path} looks minified"
            assert not re.search(r"https?://(?!www\.w3\.org)", path.read_text()), f"{path} names another site"


def test_what_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(assets, "ROOT", tmp_path)
    assert assets.main() == 1
    assert "package.json is missing" in capsys.readouterr().err


def test_a_failing_npm_leaves_what_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = tmp_path / "built"
    built.mkdir()
    (built / assets.FILES[0]).write_text("old")
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error no network' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setattr(assets, "BUILT", built)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert assets.main() == 1
    said = capsys.readouterr().err
    assert "no network" in said and "make assets" in said and len(said.splitlines()) == 1
    assert (built / assets.FILES[0]).read_text() == "old"

"""``hutkeeper-hub install`` below a folder: files, modes, hints; and what uninstall leaves."""

from __future__ import annotations

import configparser
import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hub import install as work
from hub import settings

UNIT = "etc/systemd/system/hutkeeper-hub.service"


def hub(*words: str | Path, user: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", "from hub.cli import main; main()", *map(str, words)], text=True,
                          capture_output=True, timeout=60, user=user)


def installed(root: Path) -> list[str]:
    lines: list[str] = []
    work.install(root, lines.append, "Basecamp")
    return lines


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path.relative_to(root)): (path.lstat().st_mode, path.lstat().st_mtime_ns)
            for path in root.rglob("*") if path.is_file()}


def test_install_writes_user_folders_settings_and_unit(tmp_path: Path) -> None:
    done = hub("install", "--root", tmp_path, "--name", "Basecamp")
    assert done.returncode == 0, done.stderr
    assert "would run: useradd --system" in done.stdout and "would run: systemctl enable" in done.stdout
    loaded = settings.load(tmp_path / "etc/hutkeeper/hub.toml")
    assert loaded.hub.name == "Basecamp" and loaded.embedded_broker and loaded.web.host == "0.0.0.0"
    assert loaded.hub.data_dir == work.DATA
    data = tmp_path / "var/lib/hutkeeper/hub"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700 and stat.S_IMODE(data.parent.stat().st_mode) == 0o755
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(tmp_path / UNIT)
    service = unit["Service"]
    assert service["User"] == "hutkeeper-hub" and service["Restart"] == "always"
    assert service["KillMode"] == "control-group" and service["ReadWritePaths"] == str(work.DATA)
    assert service["RuntimeDirectory"] == settings.Hub().run_dir.name
    assert service["ExecStart"] == f"{Path(sys.executable).parent}/hutkeeper-hub run --config /etc/hutkeeper/hub.toml"
    assert "AmbientCapabilities" not in service and unit["Install"]["WantedBy"] == "multi-user.target"
    if shutil.which("systemd-analyze"):
        checked = subprocess.run(["systemd-analyze", "verify", tmp_path / UNIT], capture_output=True, text=True,
                                 timeout=60)
        assert not [line for line in checked.stderr.splitlines() if str(tmp_path / UNIT) in line]


def test_a_second_install_changes_nothing_and_keeps_what_the_owner_wrote(tmp_path: Path) -> None:
    installed(tmp_path)
    toml = tmp_path / "etc/hutkeeper/hub.toml"
    toml.write_text('# mine\n[web]\nport = 443\n[hub]\ndata_dir = "/srv/hutkeeper/data"\n')
    installed(tmp_path)
    before = snapshot(tmp_path)
    installed(tmp_path)
    assert snapshot(tmp_path) == before and toml.read_text().startswith("# mine")
    unit = (tmp_path / UNIT).read_text()
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in unit and "ReadWritePaths=/srv/hutkeeper/data" in unit
    assert (tmp_path / "srv/hutkeeper/data").is_dir()


def test_a_hub_toml_that_is_wrong_stops_it_with_its_own_line(tmp_path: Path) -> None:
    toml = tmp_path / "etc/hutkeeper/hub.toml"
    toml.parent.mkdir(parents=True)
    toml.write_text("[web]\nprot = 1\n")
    done = hub("install", "--root", tmp_path)
    assert done.returncode == 2 and "did you mean port" in done.stderr
    assert not (tmp_path / UNIT).exists()


def test_debians_own_broker_is_named_only_when_it_would_take_the_port(tmp_path: Path) -> None:
    def told() -> bool:
        return any("systemctl mask --now mosquitto" in line for line in installed(tmp_path))

    assert not told()
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "mosquitto.service").symlink_to("/lib/systemd/system/mosquitto.service")
    assert told()
    toml = tmp_path / "etc/hutkeeper/hub.toml"
    text = toml.read_text()
    for change in ('[broker]\nport = 1884\n', '[mqtt]\nhost = "localhost"\n'):
        toml.write_text(change)
        assert not told()
    toml.write_text(text)
    (tmp_path / "etc/systemd/system/mosquitto.service").symlink_to("/dev/null")
    assert not told()


def test_a_missing_mosquitto_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "find_mosquitto", lambda: None)
    assert any("apt-get install --no-install-recommends mosquitto" in line for line in installed(tmp_path))


def test_uninstall_keeps_the_data_and_purge_does_not(tmp_path: Path) -> None:
    installed(tmp_path)
    sample = tmp_path / "var/lib/hutkeeper/hub/samples.db"
    sample.write_text("years of samples")
    neighbour = tmp_path / "var/lib/hutkeeper/agent/spool.db"
    neighbour.parent.mkdir()
    neighbour.write_text("the agent's")
    done = hub("uninstall", "--root", tmp_path)
    assert done.returncode == 0 and "kept:" in done.stdout and not (tmp_path / UNIT).exists()
    assert sample.exists() and (tmp_path / "etc/hutkeeper/hub.toml").exists()
    assert hub("uninstall", "--root", tmp_path).returncode == 0  # again, with nothing there
    done = hub("uninstall", "--root", tmp_path, "--purge")
    assert done.returncode == 0 and "would run: userdel hutkeeper-hub" in done.stdout
    assert not sample.parent.exists() and not (tmp_path / "etc/hutkeeper/hub.toml").exists()
    assert neighbour.read_text() == "the agent's"


def test_purge_refuses_a_data_dir_near_the_root(tmp_path: Path) -> None:
    installed(tmp_path)
    (tmp_path / "etc/hutkeeper/hub.toml").write_text('[hub]\ndata_dir = "/srv/all"\n')
    (tmp_path / "srv/all").mkdir(parents=True)
    done = hub("uninstall", "--root", tmp_path, "--purge")
    assert done.returncode == 1 and "too near the root" in done.stderr and (tmp_path / "srv/all").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_without_root_it_says_sudo(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "import os, hub.cli.house, hub.install, hub.store.errors\n"
                           "os.setuid(65534); hub.cli.main()", "install"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "sudo hutkeeper-hub install" in done.stderr


def test_a_program_that_the_service_user_cannot_reach_is_found(tmp_path: Path) -> None:
    program = tmp_path / "venv/bin/hutkeeper-hub"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    (tmp_path / "venv").chmod(0o700)
    assert work.reachable_by_all(program) == tmp_path / "venv"
    (tmp_path / "venv").chmod(0o755)
    assert work.reachable_by_all(program) != tmp_path / "venv"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become the owner of the data")
def test_root_makes_a_code_that_the_hub_can_read(tmp_path: Path) -> None:
    """`sudo hutkeeper-hub pair-code` must not leave files of root in the hub's folder."""
    nobody = pwd.getpwnam("nobody")
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    toml = tmp_path / "hub.toml"
    toml.write_text('[hub]\ndata_dir = "data"\n')
    done = hub("pair-code", "--config", toml, "--json")
    assert done.returncode == 0, done.stderr
    done = hub("user", "first-code", "--config", toml)
    assert done.returncode == 0 and done.stdout, done.stderr
    assert (data / "web.db").exists() and (data / "ca/pairing.json").exists()
    assert {path.stat().st_uid for path in data.rglob("*")} == {nobody.pw_uid}
    done = hub("pair-code", "--config", toml, "--device", "garden")
    assert done.returncode == 0 and "Type on the device:  sudo hutkeeper-agent pair http" in done.stdout
    done = hub("pair-code", "--config", toml, "--replace")
    assert done.returncode == 1 and "--replace needs --device" in done.stderr

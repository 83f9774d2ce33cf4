"""install and uninstall below another root: real files, a real user in its own passwd, commands shown."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.settings import SettingsError
from agent.supervision import install
from agent.supervision.install import InstallError

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("useradd") is None,
                                reason="needs root and useradd (apt install passwd)")
CONFIG = '[device]\nid = "attic"\n[plugins.host]\n'


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The root of a machine that has serial ports and pins."""
    etc = tmp_path / "image/etc"
    etc.mkdir(parents=True)
    (tmp_path / "image/var/lib").mkdir(parents=True)
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (etc / "group").write_text("root:x:0:\ndialout:x:20:\ngpio:x:997:\n")
    (etc / "shadow").touch()
    (etc / "gshadow").touch()
    return tmp_path / "image"


def files(image: Path) -> set[str]:
    """What is there, without useradd's own backups."""
    return {str(path.relative_to(image)) for path in image.rglob("*") if not path.name.endswith("-")}


def test_install_makes_user_folders_config_and_unit_and_shows_the_commands(image: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(CONFIG)
    said: list[str] = []
    assert install.install(config, image, said.append) == 0
    assert "hutkeeper:x:" in (image / "etc/passwd").read_text()
    assert "dialout:x:20:hutkeeper\ngpio:x:997:hutkeeper" in (image / "etc/group").read_text()
    assert (image / "etc/hutkeeper/agent.toml").read_text() == CONFIG
    assert (image / "etc/hutkeeper/agent.toml").stat().st_mode & 0o777 == 0o640
    data = (image / "var/lib/hutkeeper/agent").stat()
    assert data.st_mode & 0o777 == 0o750 and data.st_uid != 0
    unit = (image / "etc/systemd/system/hutkeeper-agent.service").read_text()
    assert "Restart=always" in unit and "StartLimitIntervalSec=0" in unit and "User=hutkeeper" in unit
    assert "supervisord -c /run/hutkeeper/supervisord.conf" in unit and "RuntimeDirectory=hutkeeper\n" in unit
    assert "  would run: systemctl enable --now hutkeeper-agent.service" in said


def test_a_folder_that_holds_no_system_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="holds no system"):
        install.install(None, tmp_path, lambda line: None)
    assert not list(tmp_path.iterdir())


def test_the_unit_is_valid_for_systemd(image: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (apt install systemd)")
    install.install(None, image, lambda line: None)
    text = (image / "etc/systemd/system/hutkeeper-agent.service").read_text()
    unit = tmp_path / "hutkeeper-agent.service"
    unit.write_text(text.replace("=hutkeeper\n", "=root\n"))  # the user is the image's
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60,
                          check=False)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "hutkeeper-agent.service" in line]
    assert not complaints


def test_a_second_install_changes_nothing_and_keeps_an_edited_config(image: Path) -> None:
    install.install(None, image, lambda line: None)
    (image / "etc/hutkeeper/agent.toml").write_text(CONFIG)
    before = files(image)
    said: list[str] = []
    install.install(None, image, said.append)
    assert files(image) == before
    assert (image / "etc/hutkeeper/agent.toml").read_text() == CONFIG
    assert not [line for line in said if "wrote" in line or "made" in line or "useradd" in line]


def test_uninstall_removes_what_install_made_and_keeps_the_data(image: Path) -> None:
    before = files(image)
    install.install(None, image, lambda line: None)
    (image / "var/lib/hutkeeper/agent/spool.db").write_text("samples")
    install.uninstall(image, lambda line: None)
    assert files(image) - before == {
        "etc/systemd", "etc/systemd/system", "etc/hutkeeper", "etc/hutkeeper/agent.toml", "var/lib/hutkeeper",
        "var/lib/hutkeeper/agent", "var/lib/hutkeeper/agent/spool.db"}
    assert "hutkeeper" not in (image / "etc/passwd").read_text()
    with pytest.raises(InstallError, match="is not installed below"):
        install.uninstall(image, lambda line: None)


def test_data_of_an_earlier_installation_belong_to_the_new_user(image: Path) -> None:
    install.install(None, image, lambda line: None)
    spool = image / "var/lib/hutkeeper/agent/spool.db"
    spool.write_text("samples")
    install.uninstall(image, lambda line: None)
    (image / "etc/passwd").open("a").write("somebody:x:999:999::/:/bin/sh\n")
    install.install(None, image, lambda line: None)
    assert spool.stat().st_uid == (image / "var/lib/hutkeeper/agent").stat().st_uid != 0


def test_purge_leaves_no_trace(image: Path) -> None:
    before = files(image)
    install.install(None, image, lambda line: None)
    (image / "var/lib/hutkeeper/agent/spool.db").write_text("samples")
    install.uninstall(image, lambda line: None, purge=True)
    assert files(image) - before <= {"etc/systemd", "etc/systemd/system"}


def test_the_hubs_user_stays_while_the_hub_does(image: Path) -> None:
    install.install(None, image, lambda line: None)
    (image / "etc/systemd/system/hutkeeper-hub.service").touch()
    install.uninstall(image, lambda line: None)
    assert "hutkeeper" in (image / "etc/passwd").read_text()


def test_a_wrong_config_is_refused_before_anything_is_made(image: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('[device]\nid = "Not An Id"\n')
    before = files(image)
    with pytest.raises(SettingsError, match=r"mine\.toml: device\.id"):
        install.install(config, image, lambda line: None)
    assert files(image) == before


def test_a_program_below_a_closed_home_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "home"
    (closed / "bin").mkdir(parents=True)
    program = closed / "bin/python"
    program.touch()
    closed.chmod(0o700)
    with pytest.raises(InstallError, match=r"lies below .*, which the user hutkeeper may not enter: install into /opt"):
        install._must_be_readable_for_all(program)


def test_the_watchdog_may_reboot_where_there_is_polkit_and_uninstall_takes_that_back(image: Path) -> None:
    rules = image / "etc/polkit-1/rules.d"
    rules.mkdir(parents=True)
    install.install(None, image, lambda line: None)
    (rule,) = rules.iterdir()
    assert 'subject.user == "hutkeeper"' in rule.read_text() and "login1.reboot" in rule.read_text()
    unit = (image / "etc/systemd/system/hutkeeper-agent.service").read_text()
    assert "Environment=HUTKEEPER_SERVICE=1\n" in unit and "OOMPolicy=continue\n" in unit
    install.uninstall(image, lambda line: None)
    assert list(rules.iterdir()) == []

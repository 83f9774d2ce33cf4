"""``make demo`` and ``make test`` say what is missing and what to type; a second run needs nothing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the environment is made from, in a folder of their own."""
    for name in ("setup.cfg", "pyproject.toml", "README.md", "package.json", "package-lock.json"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "provisioning", tmp_path / "provisioning")
    return tmp_path


def environment(checkout: Path, goal: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, checkout / "provisioning" / "environment.py", goal],
                          env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60)


def test_a_missing_system_package_is_named_with_the_command(checkout: Path) -> None:
    done = environment(checkout, "test", path=str(checkout))
    assert done.returncode == 1
    assert done.stderr.startswith("make test: ")
    assert "sudo apt-get install" in done.stderr and "chromium" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_wrong_goal_is_bad_usage(checkout: Path) -> None:
    done = environment(checkout, "dmeo", path=os.environ["PATH"])
    assert done.returncode == 2 and "usage:" in done.stderr


def test_a_second_run_asks_nothing_and_works_offline(checkout: Path) -> None:
    """Stamps of a finished installation: no program is started any more, so an empty PATH does not matter."""
    sys.path.insert(0, str(checkout / "provisioning"))
    try:
        import environment as made  # type: ignore[import-not-found]

        (made.VENV / "bin").mkdir(parents=True)
        (made.VENV / "bin" / "pip").write_text("")
        inputs = [made.ROOT / "setup.cfg", made.ROOT / "pyproject.toml"]
        made.stamp("pip-test", made.fingerprint(inputs, f"{made.EXTRAS['test']} {sys.version_info[:2]}"))
        made.stamp("npm", made.fingerprint([made.ROOT / "package-lock.json"], ""))
        missing = [deb for deb, name in made.DEBS["demo"].items()
                   if shutil.which(name, path=f"{checkout}:/usr/sbin:/sbin") is None]
        made.stamp("apt-demo", made.fingerprint([], " ".join(missing)))
    finally:
        sys.path.remove(str(checkout / "provisioning"))
        sys.modules.pop("environment", None)
    done = environment(checkout, "demo", path=str(checkout))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_taken_port_names_its_holder_and_another_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run([sys.executable, "-m", "provisioning.demo", "--port", str(port), "--dir", str(tmp_path)],
                              cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert f"port {port} is taken by" in done.stderr and f"(process {os.getpid()})" in done.stderr
    assert "make demo PORT=" in done.stderr

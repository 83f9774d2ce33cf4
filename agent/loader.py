"""From the word ``use`` in agent.toml to a plugin class, by the entry-point group ``hutkeeper.plugins``.

Nothing in ``agent/`` names a plugin: ours and third parties' are found the same way. One that cannot be imported
breaks only whoever uses it.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import NamedTuple

from agent.api import ConfigError, Plugin

GROUP = "hutkeeper.plugins"


class Found(NamedTuple):
    """A plugin's name, where its class is, and the distribution that brings it."""

    name: str
    target: str
    """``package.module:Class``"""
    distribution: str
    extras: tuple[str, ...] = ()
    """The extras its distribution offers: the first guess when an import is missing."""


def found() -> dict[str, Found]:
    """Every installed plugin by name, nothing imported. If two distributions have one name, the first on sys.path."""
    from importlib.metadata import distributions  # 2 MB, and only start-up needs it

    plugins: dict[str, Found] = {}
    for distribution in distributions():
        points = [point for point in distribution.entry_points if point.group == GROUP]
        if not points:
            continue
        metadata = distribution.metadata
        extras = tuple(metadata.get_all("Provides-Extra") or ())
        for point in points:
            plugins.setdefault(point.name, Found(point.name, point.value, metadata["Name"] or "?", extras))
    return dict(sorted(plugins.items()))


def load(use: str) -> type[Plugin]:
    """The class behind ``use``. Raises ConfigError with the next step: near name, missing extra, or what is broken."""
    plugins = found()
    entry = plugins.get(use)
    if entry is None:
        raise ConfigError(_unknown(use, list(plugins)))
    return load_found(entry)


def load_found(entry: Found) -> type[Plugin]:
    """Import one plugin. Raises ConfigError; whatever a third party's module raises becomes one line."""
    module_name, _, attribute = entry.target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(_missing(entry, error)) from error
    except Exception as error:
        raise ConfigError(f"plugin {entry.name}: {entry.target} ({entry.distribution}) cannot be imported: "
                          f"{type(error).__name__}: {error}; tell whoever wrote {entry.distribution}") from error
    plugin: object = module
    for part in attribute.split(".") if attribute else ():
        plugin = getattr(plugin, part, None)
    if not isinstance(plugin, type) or not issubclass(plugin, Plugin):
        raise ConfigError(f"plugin {entry.name}: {entry.target} ({entry.distribution}) is no subclass of "
                          f"agent.api.Plugin; correct the entry point in {entry.distribution}")
    if plugin.name != entry.name:
        raise ConfigError(f"plugin {entry.name}: {entry.target} calls itself {plugin.name!r}; the entry point and "
                          f"class {plugin.__name__}(Plugin, name=...) must agree")
    if not hasattr(plugin, "Config"):
        raise ConfigError(f"plugin {entry.name}: class {plugin.__name__} has no Config; give it a msgspec.Struct")
    return plugin


def folder(plugin: type[Plugin]) -> Path:
    """The plugin's folder (README.md, agent.example.toml, testcases/): where its module lies."""
    module = sys.modules[plugin.__module__]
    if module.__file__ is None:
        raise ConfigError(f"plugin {plugin.name}: {plugin.__module__} is not a file")
    return Path(module.__file__).resolve().parent


def _unknown(use: str, names: list[str]) -> str:
    if not names:
        return f'use = "{use}": no plugin is installed; pip install hutkeeper again'
    from difflib import get_close_matches  # only on the way to an error

    near = get_close_matches(use, names, n=1)
    hint = f", did you mean {near[0]}?" if near else ";"
    return f'use = "{use}": no such plugin{hint} installed: {", ".join(names)}'


def _missing(entry: Found, error: ImportError) -> str:
    """Which library is missing and the extra that brings it (each plugin family has one, DESIGN section 1)."""
    name = error.name or ""
    own = entry.target.partition(":")[0].split(".")[0]
    if not isinstance(error, ModuleNotFoundError) or name.split(".")[0] == own:
        return (f"plugin {entry.name}: {entry.target} ({entry.distribution}) cannot be imported: {error}; "
                f"pip install --force-reinstall {entry.distribution}")
    extra = _extra_for(name.split(".")[0], entry)
    package = f"{entry.distribution}[{extra}]" if extra else name.split(".")[0]
    return f"plugin {entry.name} needs {name}, which is not installed: pip install {package}"


def _extra_for(module: str, entry: Found) -> str | None:
    """The extra of the distribution whose requirement looks like ``module`` (pyserial brings ``serial``)."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        requirements = requires(entry.distribution) or []
    except PackageNotFoundError:
        return None
    wanted = module.lower().replace("_", "-")
    for requirement in requirements:
        name, _, marker = requirement.partition(";")
        plain = name.split("[")[0].split(">")[0].split("<")[0].split("=")[0].split("~")[0].split("!")[0]
        plain = plain.strip().lower().replace("_", "-")
        if "extra" in marker and (plain == wanted or plain == f"py{wanted}" or plain == f"python-{wanted}"):
            extra = marker.split("extra")[1].strip().lstrip("=").strip().strip("\"'").split("\"")[0].split("'")[0]
            if extra != "all":
                return extra
    return module if module in entry.extras else None

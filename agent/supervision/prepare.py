"""From an edited agent.toml to a configuration that supervision runs: judged whole, kept as the good one, rendered."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from agent import loader, settings
from agent.api import ConfigError
from agent.settings import Settings, SettingsError
from agent.supervision import conf
from agent.supervision.plan import Plan, plan


class Prepared(Struct, frozen=True):
    """What runs now, and what was refused about the newest agent.toml (one line each)."""

    settings: Settings
    plan: Plan
    problems: tuple[str, ...]


def plugin_problems(loaded: Settings) -> list[str]:
    """One line for each enabled plugin that is not installed or whose section its Config refuses."""
    problems = []
    for entry in loaded.plugins.values():
        if not entry.enabled:
            continue
        try:
            settings.plugin_config(entry, loader.load(entry.use))
        except SettingsError as error:
            problems.append(str(error))
        except ConfigError as error:
            problems.append(f"{loaded.path.name}: plugins.{entry.id}: {error}")
    return problems


def prepare(path: Path) -> Prepared:
    """Approve agent.toml, or go on with the last good one (B80). Raises SettingsError when there is neither.

    With no good copy yet, a plugin whose section is wrong does not keep the others from starting."""
    try:
        loaded = settings.load(path)
        problems = plugin_problems(loaded)
        if not problems or not (loaded.device.data_dir / settings.GOOD).exists():
            settings.save_good(loaded)
            return Prepared(loaded, plan(loaded), tuple(problems))
    except SettingsError as error:
        problems = [str(error)]
        good = settings.load_good(path)  # raises the same error when there is no good copy
        return Prepared(good.settings, plan(good.settings), tuple(problems))
    kept = settings.read_good(loaded)
    return Prepared(kept, plan(kept), tuple(problems))


def prepare_and_write(path: Path) -> tuple[Prepared, Path]:
    """:func:`prepare`, and supervisord's file and the watchdog's plan written; returns the file's path too."""
    prepared = prepare(path)
    return prepared, conf.write(prepared.settings, prepared.plan)

"""The supervised processes: ``plugin ID...``, ``guard ID``, ``uplink`` and ``watchdog``, started without click.

Each first makes itself a good child: it ends with its supervisor, has a memory limit, and no log line can block it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

from agent import settings
from agent.api import ConfigError
from agent.cli import one_line

USAGE = {
    "plugin": "usage: hutkeeper-agent plugin ID [ID...] [--config PATH]",
    "guard": "usage: hutkeeper-agent guard ID [--config PATH]",
    "uplink": "usage: hutkeeper-agent uplink [--config PATH]",
    "rules": "usage: hutkeeper-agent rules [--config PATH]",
    "watchdog": "usage: hutkeeper-agent watchdog [--config PATH]",
}


class Usage(Exception):
    """Wrong words on the command line."""


def run(arguments: list[str]) -> int:
    """Run one service until it ends; returns the exit code."""
    name = arguments[0]
    threading.excepthook = _thread_died
    try:
        instances, config = parse(name, arguments[1:])
        return _service(name, instances, config or settings.default_path())
    except Usage as error:
        print(one_line(f"{error}; {USAGE[name]}"), file=sys.stderr)
        return 2
    except ConfigError as error:
        print(one_line(str(error)), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        _show(error)
        return 1


def _show(error: BaseException) -> None:
    """What killed this process, at the end of its log: the watchdog carries it to the hub."""
    from agent.wire import crashes

    with contextlib.suppress(OSError, ValueError):
        print(crashes.text(error), file=sys.stderr, flush=True)


def _thread_died(args: threading.ExceptHookArgs) -> None:
    """A process that lost one of its threads lives on deaf or dumb: it ends, and is started anew (B64)."""
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        _show(args.exc_value)
        os._exit(1)


def parse(name: str, words: list[str]) -> tuple[list[str], Path | None]:
    """``(instance ids, --config)``. Raises Usage."""
    instances: list[str] = []
    config: Path | None = None
    rest = iter(words)
    for word in rest:
        if word == "--config":
            value = next(rest, "")
            if not value:
                raise Usage("--config needs a path")
            config = Path(value)
        elif word.startswith("--config="):
            config = Path(word.removeprefix("--config="))
        elif word.startswith("-"):
            raise Usage(f"no such option {word}")
        else:
            instances.append(word)
    if name in ("plugin", "guard") and not instances:
        raise Usage("which plugin?")
    if name == "guard" and len(instances) > 1:
        raise Usage("one guard, one relay")
    if name not in ("plugin", "guard") and instances:
        raise Usage(f"{name} takes no {instances[0]!r}")
    return instances, config


def _service(name: str, instances: list[str], config: Path) -> int:
    from agent.supervision import child

    if name == "watchdog":
        child.end_with_supervisor()
        from agent.supervision import watchdog

        return watchdog.main(config)
    loaded = settings.load_good(config)
    # a guard whose supervisor dies still has a pin to put to OFF
    child.adopt(loaded.settings, instances, signal.SIGTERM if name == "guard" else signal.SIGKILL,
                oom={"guard": child.OOM_CONTROL, "uplink": child.OOM_UPLINK, "rules": child.OOM_UPLINK}.get(name))
    if loaded.error is not None:
        print(one_line(f"{loaded.error}; the last good configuration goes on"), file=sys.stderr)
    if name == "uplink":
        from agent import uplink

        return int(uplink.main(loaded.settings) or 0)
    if name == "rules":
        from agent import ruling

        return ruling.main(loaded.settings)
    for instance in instances:
        if instance not in loaded.settings.plugins:
            known = ", ".join(loaded.settings.plugins) or "none"
            raise Usage(f"{config.name} has no [plugins.{instance}], known are: {known}")
    if name == "guard":
        from agent.guard import service

        return service.main(loaded.settings, instances[0])
    from agent import runner

    return int(runner.main(loaded.settings, *instances) or 0)

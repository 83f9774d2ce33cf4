"""``hutkeeper-agent replay USE FILE``: a captured file through the real plugin code, one JSON object a line."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agent import loader
from agent.api import ConfigError, Plugin
from agent.replay.capture import CaptureError
from agent.toml_typed import Source, Sources, convert

__all__ = ["config_for", "main"]


def main(use: str, file: Path, assignments: Sequence[str] = ()) -> int:
    """Print readings, warnings and errors. Returns 0 when the file was read to its end, 1 when the plugin gave up
    before, 2 for bad usage with one line on stderr."""
    from agent.replay.engine import Replay

    file = Path(file)
    try:
        kind = loader.load(use)
        config, interval_s = config_for(kind, assignments)
        replay = Replay(kind, config, file, interval_s=interval_s)
    except (ConfigError, CaptureError) as error:
        return _usage(str(error))
    except OSError as error:
        return _usage(f"{file}: {error.strerror or error}")
    try:
        for record in replay.records():
            sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever reads has seen enough (| head); keep Python from complaining once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if not replay.whole:
        return _fail("the plugin gave up before the end of the file, see the last error")
    return 0


def _usage(text: str) -> int:
    print(f"replay: {text}", file=sys.stderr)
    return 2


def _fail(text: str) -> int:
    print(f"replay: {text}", file=sys.stderr)
    return 1


def config_for(kind: type[Plugin], assignments: Sequence[str]) -> tuple[Any, float | None]:
    """The plugin's Config from ``key=value`` words, and ``interval_s`` if it was among them. Raises ConfigError.

    A value is read as TOML, and as plain text where it is none. A ``port`` or a ``relay`` that is
    required is filled: it is the capture's."""
    raw: dict[str, Any] = {}
    for word in assignments:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {word}: expected KEY=VALUE")
        raw[key.strip()] = _value(text)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind.Config)}
    if "port" in fields and fields["port"].required:
        raw.setdefault("port", "/dev/capture")
    if kind.actuator and "relay" in fields and fields["relay"].required:
        raw.setdefault("relay", {"driver": "plain", "line": "capture"})  # it moves nothing in a replay
    interval_s = raw.get("interval_s") if "interval_s" in fields else raw.pop("interval_s", None)
    if interval_s is not None and (isinstance(interval_s, bool) or not isinstance(interval_s, int | float)
                                   or not interval_s > 0):
        raise ConfigError("--set interval_s: expected seconds, more than 0")
    return convert(raw, kind.Config, Sources(Source("--set", "", {}))), interval_s


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text

"""Files of phrases: ours by language, or the operator's own."""

from __future__ import annotations

import tomllib
from pathlib import Path

from agent.api import ConfigError

KINDS = {"time": "{time}", "hello": "", "reminder": "{event}"}
"""The lists of a file, and what each of their phrases must hold."""
MAX_BYTES = 256 * 1024


def load(path: Path) -> dict[str, tuple[str, ...]]:
    """``time``, ``hello`` and ``reminder``: lists of strings. Raises ConfigError naming file and list."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES // 1024} KiB")
        lists = tomllib.loads(data.decode())
    except OSError as error:
        raise ConfigError(f"phrases: {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"phrases: {path}: {error}") from None
    found = {}
    for kind, place in KINDS.items():
        phrases = lists.get(kind)
        if not isinstance(phrases, list) or not phrases or not all(isinstance(one, str) and one for one in phrases):
            raise ConfigError(f"phrases: {path}: {kind}: expected a list of strings")
        for one in phrases:
            if place not in one:
                raise ConfigError(f"phrases: {path}: {kind}: {one[:60]!r} has no {place} in it")
        found[kind] = tuple(phrases)
    return found


def of_language(language: str) -> dict[str, tuple[str, ...]]:
    return load(Path(__file__).parent / f"phrases_{language}.toml")

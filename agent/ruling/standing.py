"""What fires, over restarts: written down before its orders go out, so that each is given at most once, also when this
process is killed in between."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from agent.rules.engine import fingerprint
from agent.rules.model import Rule

FILE = "firing.json"


class Firing(Struct, frozen=True):
    since_us: int
    text: str
    print: int = 0
    """:func:`agent.rules.engine.fingerprint` of the rule that fired: another rule under its id fires for itself."""


class Standing:
    """(rule, subject) -> since when and what; :meth:`save` is on disk when it returns."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.problem = ""
        self.firing: dict[tuple[str, str], Firing] = {}
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=list[tuple[str, str, Firing]])
            self.firing = {(rule, subject): what for rule, subject, what in kept}
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self.problem = f"{self._path} cannot be read ({error}): what still holds fires anew, with its orders"

    def keep_only(self, rules: Mapping[str, Rule], heard: Callable[[str], bool] = lambda subject: True) -> bool:
        """Forget what fired for rules that are no more or say something else now, and for a subject that is not
        ``heard`` any more, since nobody would ever see it well again; True when there was one."""
        before = len(self.firing)
        self.firing = {(rule, subject): what for (rule, subject), what in self.firing.items()
                       if rule in rules and what.print == fingerprint(rules[rule]) and heard(subject)}
        return len(self.firing) != before

    def text_of(self, rule: str) -> str | None:
        """What its alert says: the first one that began, and how many more."""
        all_of = sorted((what for (one, _), what in self.firing.items() if one == rule), key=lambda what: what.since_us)
        if not all_of:
            return None
        more = len(all_of) - 1
        return all_of[0].text + (f" (and {more} more)" if more else "")

    def save(self) -> None:
        """Raises OSError."""
        replace(self._path, msgspec.json.encode([(rule, subject, what) for (rule, subject), what in
                                                 self.firing.items()]))


def replace(path: Path, data: bytes) -> None:
    """Whole or not at all, and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)

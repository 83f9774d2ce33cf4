"""Which foreign nodes there are, what each of their values is called here, and who is online. Pure.

Names do not change once given: a second value that would take a name gets a longer one, and what was given is kept
over restarts. All that strangers can make grow is bounded (B40)."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from agent.api import Node, Property, Reading, Yielded

from .config import MOST
from .findings import Finding, Known, Online, Seen
from .members import Entry, Member, packed, unpacked
from .quantities import LASTING_S, MAX_NAME

FORGET_DAYS = 30
"""A node that nobody heard for so long is not restored at a start."""
MAX_ID = 63
NEAR = 5.0
"""How far a believed value may be from what a failing sensor says, in the property's unit (B43)."""
SAVE_S = 5.0
DAY_US = 86_400_000_000


class Registry:
    def __init__(self, instance: str, kept: dict[str, Any], *, interval_s: float | None, own: int, now_s: float,
                 today: int | None, least_age_s: float = 0.0) -> None:
        """``least_age_s``: no value counts as stale before, whatever its project's habit is."""
        self._instance = instance
        self._kept = kept
        self._interval_s = interval_s
        self._least_age_s = least_age_s
        self._members: dict[tuple[str, str], Member] = {}
        self._ids: dict[str, Member] = {}
        self._own = own
        """Series of the plugin's own node."""
        self.series = own
        self.refused = 0
        """Names that found no room."""
        self.bad = 0
        """Values that were no values."""
        self.last_bad = ""
        self._today = today
        self._dirty = False
        self._saved_s = -math.inf
        self._restore(now_s)

    # --- what is known ----------------------------------------------------------------------------------------

    @property
    def members(self) -> Iterable[Member]:
        return self._members.values()

    def find(self, node: str, name: str) -> tuple[Member, str, Entry] | None:
        member = self._ids.get(node)
        if member is None:
            return None
        key = member.names.get(name)
        return None if key is None else (member, key, member.keys[key])

    def nodes(self) -> Iterator[Node]:
        for member in self._members.values():
            yield member.node()

    # --- findings ---------------------------------------------------------------------------------------------

    def take(self, preset: str, findings: Iterable[Finding], *, retained: bool, t_us: int) -> list[Yielded]:
        """What one message becomes: nodes that grew, then readings. What was retained only tells what there is, and
        who is online."""
        now_s = t_us / 1e6
        grown: dict[str, Member] = {}
        readings: list[Reading] = []
        for finding in findings:
            if isinstance(finding, Online):
                readings += self._availability(preset, finding, grown, now_s, t_us)
            elif isinstance(finding, Known):
                self._known(preset, finding, grown, now_s)
            else:
                readings += self._seen(preset, finding, grown, retained, now_s, t_us)
        self._dirty = self._dirty or bool(grown)
        return [*(member.node() for member in grown.values()), *readings]

    def _known(self, preset: str, known: Known, grown: dict[str, Member], now_s: float) -> None:
        member = self._member(preset, known.raw, grown, now_s)
        if member is None:
            return
        if known.title and known.title != member.title:
            member.title = known.title[:100]
            grown[member.id] = member
        for key, prop in known.props:
            self._entry(member, key, prop, f"{prop.name}_2", grown, sure=True)

    def _seen(self, preset: str, seen: Seen, grown: dict[str, Member], retained: bool, now_s: float, t_us: int
              ) -> Iterator[Reading]:
        member = self._member(preset, seen.raw, grown, now_s)
        if member is None:
            return
        entry = self._entry(member, seen.key, seen.prop, seen.longer, grown)
        if retained:
            return
        member.heard_s = now_s
        if self._today is not None and member.day != self._today:
            member.day = self._today
            grown.setdefault(member.id, member)  # kept anew; the node is told again, which changes nothing
        gone = member.told_by_project and member.online is False and not member.silent
        member.silent = False
        if member.online is not True and not gone:
            member.online = True
            yield Reading("online", True, t_us, member.id)
        if entry is None:
            return
        reading = self._judged(member, entry, seen, now_s, t_us)
        if reading is not None:
            yield reading

    def _judged(self, member: Member, entry: Entry, seen: Seen, now_s: float, t_us: int) -> Reading | None:
        prop, value, quality = entry.prop, seen.value, seen.quality
        if seen.prop.datatype != prop.datatype:  # it was a number and is a text now: names do not change their kind
            if prop.datatype == "string" and isinstance(value, int | float):
                value = str(value)
            else:
                value, quality = None, "bad"
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and quality is None and seen.suspect is not None:
            assert isinstance(value, int | float)
            far = entry.last is None or abs(entry.last - seen.suspect) > NEAR
            if far and abs(value - seen.suspect) < 0.1:  # read in °F it is not exactly that
                value, quality = None, "sensor_error"
        if quality is not None:
            self.bad += 1
            self.last_bad = f"{prop.name} is {quality}"
        elif number:
            assert isinstance(value, int | float)
            entry.last = float(value)
            measured = not prop.settable and not prop.event
            if self._interval_s is not None and measured and now_s - entry.told_s < self._interval_s - min(
                    0.5, self._interval_s / 4):
                return None
        entry.told_s = now_s
        return Reading(prop.name, value, t_us, member.id, quality)

    # --- who is online ----------------------------------------------------------------------------------------

    def _availability(self, preset: str, told: Online, grown: dict[str, Member], now_s: float, t_us: int
                      ) -> Iterator[Reading]:
        if told.below:
            found = [member for member in self._members.values() if member.preset == preset and (
                not told.raw or member.raw == told.raw or member.raw.startswith(told.raw + "/"))]
        else:
            one = self._member(preset, told.raw, grown, now_s)
            found = [one] if one is not None else []
        for member in found:
            member.told_by_project = member.told_by_project or bool(told.raw)
            if told.online:
                member.heard_s = now_s
            member.silent = False
            if member.online is not told.online:
                member.online = told.online
                yield Reading("online", told.online, t_us, member.id)

    def silent(self, limits: dict[str, float | None], now_s: float) -> list[Member]:
        """Who has said nothing for longer than its preset's limit, each once; they are offline from now on."""
        found = []
        for member in self._members.values():
            limit_s = limits.get(member.preset)
            if limit_s is not None and member.online is not False and now_s - member.heard_s > limit_s:
                member.online, member.silent = False, True
                found.append(member)
        return found

    def unknown(self, t_us: int) -> list[Reading]:
        """The connection is gone: nobody knows who is online."""
        found = [member for member in self._members.values() if member.online is not None]
        for member in found:
            member.online = None
        return [Reading("online", None, t_us, member.id, "bad") for member in found]

    def day(self, today: int | None) -> None:
        self._today = today

    # --- room and names ---------------------------------------------------------------------------------------

    def _room(self) -> bool:
        if self.series < MOST:
            self.series += 1
            return True
        self.refused += 1
        return False

    def _member(self, preset: str, raw: str, grown: dict[str, Member], now_s: float) -> Member | None:
        member = self._members.get((preset, raw))
        if member is None and raw and self._room():
            member = Member(preset, raw, self._id(preset, raw), raw[:100], {}, now_s)
            self._members[preset, raw] = self._ids[member.id] = member
            grown[member.id] = member
        return member

    def _id(self, preset: str, raw: str) -> str:
        longest = max(8, MAX_ID - len(self._instance) - 1)
        base = re.sub(r"[^a-z0-9]+", "-", raw[:200].lower()).strip("-")
        mark = format(zlib.crc32(f"{preset}/{raw}".encode("utf-8", "replace")), "08x")[:6]
        if not base or len(base) > longest or base in self._ids:
            base = f"{base[: longest - 7].strip('-')}-{mark}".strip("-")
        return base

    def _entry(self, member: Member, key: str, prop: Property, longer: str, grown: dict[str, Member], *,
               sure: bool = False) -> Entry | None:
        """The property behind a key, made when there is room. Only a description changes what a name means."""
        prop = _aged(prop, self._least_age_s)
        entry = member.keys.get(key)
        if entry is None:
            if not self._room():
                return None
        elif not (sure or entry.restored) or _same(entry, prop):
            entry.restored = entry.restored and not _same(entry, prop)
            return entry
        names = {name for name, other in member.names.items() if other != key}
        name = prop.name
        if name in names:
            name = longer if longer and longer not in names and len(longer) <= MAX_NAME else (
                f"{name[: MAX_NAME - 7]}_{format(zlib.crc32(key.encode('utf-8', 'replace')), '08x')[:6]}")
        entry = Entry(msgspec.structs.replace(prop, name=name), prop.name)
        member.keys[key] = entry
        grown[member.id] = member
        return entry

    # --- kept over restarts -----------------------------------------------------------------------------------

    def save(self, now_s: float) -> None:
        """Keep names and what they mean, so that a restart neither removes nor renames anything; at most every 5 s."""
        if not self._dirty or now_s - self._saved_s < SAVE_S:
            return
        self._dirty, self._saved_s = False, now_s
        self._kept["nodes"] = packed(self._members.values())

    def _restore(self, now_s: float) -> None:
        for member in unpacked(self._kept.get("nodes"), now_s):
            old = self._today is not None and member.day is not None and self._today - member.day > FORGET_DAYS
            if old or self.series + 1 + len(member.keys) > MOST:
                self._dirty = True
                continue
            self.series += 1 + len(member.keys)
            self._members[member.preset, member.raw] = self._ids[member.id] = member

    def keep_only(self, presets: Iterable[str]) -> None:
        """Nodes of a preset that agent.toml no longer names are gone."""
        allowed = set(presets)
        for at, member in list(self._members.items()):
            if member.preset not in allowed:
                del self._members[at], self._ids[member.id]
                self.series -= 1 + len(member.keys)
                self._dirty = True


@lru_cache(maxsize=2048)
def _aged(prop: Property, least_age_s: float) -> Property:
    """What is told when it changes only is not missed: a door that nobody opens is no fault, and of a node that has
    gone the measured values are all that is stale, so that it is one alert."""
    age_s = prop.max_age_s
    if age_s is None:
        return prop
    return msgspec.structs.replace(prop, max_age_s=max(age_s, least_age_s), comes_and_goes=age_s >= LASTING_S)


def _same(entry: Entry, prop: Property) -> bool:
    return entry.wanted == prop.name and entry.prop == msgspec.structs.replace(prop, name=entry.prop.name)

"""TOML into typed structs, with errors that a person can act on: the file, the key's path, the near name, the range.

``agent.toml: plugins.main-meter.prot: unknown key, did you mean protocol? (agent.toml:14)``
Used for agent.toml and its overlays, each plugin's own section, and the hub's hub.toml.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec import inspect as mi

from agent.api import ConfigError

T = TypeVar("T", bound=Struct)
At = tuple[str, ...]

MAX_FILE_BYTES = 1024 * 1024
MAX_SHOWN = 60
SECRET = re.compile(r"password|secret|token|psk|pin_code", re.I)
"""Keys whose value is never repeated in a message."""


class SettingsError(ConfigError):
    """A configuration that is refused, as one line: file, path, what is allowed, and ``file:line`` where known."""

    def __init__(self, message: str, *, file: str = "", line: int | None = None, at: At = ()) -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.at = at


class Source(Struct, frozen=True):
    """One file that took part: its name as shown, its text (for line numbers) and what it said."""

    name: str
    text: str
    raw: dict[str, Any]


class Sources:
    """The files behind one configuration, the later ones laid over the earlier ones."""

    def __init__(self, *files: Source) -> None:
        self.files = files

    def error(self, at: At, message: str, *, separator: str = ": ") -> SettingsError:
        """The error at path ``at``, in the file that set it."""
        source = max(enumerate(self.files), key=lambda item: (_depth(item[1].raw, at), item[0]))[1]
        line = locate(source.text, at)
        text = f"{source.name}: {dotted(at)}{separator}{message}" if at else f"{source.name}: {message}"
        if line is not None:
            text += f" ({source.name}:{line})"
        return SettingsError(text, file=source.name, line=line, at=at)


def read_source(path: Path, name: str | None = None) -> Source:
    """Read and parse one TOML file. Raises SettingsError, with ``file:line`` for a syntax error."""
    name = name or path.name
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}: cannot read the configuration", file=name) from None
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"{name}: larger than {MAX_FILE_BYTES} bytes, this is not a configuration", file=name)
    return parse_source(data, name)


def parse_source(data: bytes, name: str) -> Source:
    """Parse the bytes of a TOML file. Raises SettingsError."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{name}:{line}: not UTF-8 text, save the file as UTF-8", file=name, line=line) from None
    try:
        return Source(name, text, tomllib.loads(text))
    except RecursionError:
        raise SettingsError(f"{name}: lists or tables nested too deeply", file=name) from None
    except ValueError as error:  # TOMLDecodeError, and numbers too long for int()
        found = re.search(r"\(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
        reason = str(error)[: found.start()].strip() if found else str(error)
        twice = re.fullmatch(r"Cannot declare \((.+)\) twice", reason)
        if twice:  # the words of Python's own parser
            table = ".".join(re.findall("'([^']*)'", twice[1]))
            reason = f"[{table}] is there twice, make one of them"
        at_line = int(found[1]) if found and found[1] else text.count("\n") + 1 if found else None
        where = f"{name}:{at_line}" if at_line is not None else name
        raise SettingsError(f"{where}: {reason[0].lower() + reason[1:]}", file=name, line=at_line) from None


def load_toml(path: Path, kind: type[T]) -> T:
    """Read one TOML file into struct ``kind``. Raises SettingsError."""
    source = read_source(path)
    return convert(source.raw, kind, Sources(source))


def convert(raw: Any, kind: type[T], sources: Sources, at: At = (), *, known: tuple[str, ...] = ()) -> T:
    """``raw`` (a parsed table) as struct ``kind``; ``known`` are names that may also be meant by a misspelt key.

    Unknown keys are refused at every depth that is a struct. Raises SettingsError."""
    if not isinstance(raw, dict):
        raise sources.error(at, f"expected a table [{dotted(at)}]", separator=f" = {shown(at, raw)}: ")
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in raw:
        if key not in fields:
            names = [*fields, *known]
            hint = near(key, [name for name in names if name not in raw]) or f", known are {', '.join(sorted(names))}"
            raise sources.error((*at, key), f"unknown key{hint}")
    values: dict[str, Any] = {}
    for key, field in fields.items():
        if key in raw:
            values[field.name] = _value(raw[key], field.type, sources, (*at, key))
        elif field.required:
            raise sources.error((*at, key), f"missing, expected {expected(mi.type_info(field.type))}")
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:  # a struct's own __post_init__: "key: message" or "message"
        key, colon, message = str(error).partition(": ")
        if colon and key in fields:
            raise sources.error((*at, key), message) from None
        raise sources.error(at, str(error)) from None


def _value(raw: Any, kind: Any, sources: Sources, at: At) -> Any:
    info = mi.type_info(kind)
    plain = info.type if isinstance(info, mi.Metadata) else info
    if isinstance(plain, mi.UnionType) and isinstance(raw, dict) and not _tagged(plain):
        # a table that may be left out: Table | None
        plain = next((item for item in plain.types if isinstance(item, mi.StructType)), plain)
    if isinstance(plain, mi.StructType):
        return convert(raw, plain.cls, sources, at)
    if isinstance(plain, mi.DictType) and isinstance(raw, dict) and isinstance(plain.value_type, mi.StructType):
        return {key: convert(item, plain.value_type.cls, sources, (*at, key)) for key, item in raw.items()}
    if isinstance(plain, mi.UnionType) and isinstance(raw, dict) and (kinds := _tagged(plain)):
        return _by_tag(raw, kinds, sources, at)
    if isinstance(plain, mi.ListType | mi.VarTupleType) and isinstance(raw, list):
        item_type = plain.item_type
        of_structs = isinstance(item_type, mi.StructType) or (isinstance(item_type, mi.UnionType)
                                                              and bool(_tagged(item_type)))
        if of_structs and len(raw) >= (plain.min_length or 0) and len(raw) <= (plain.max_length or len(raw)):
            items = [_item(item, item_type, sources, (*at, str(n))) for n, item in enumerate(raw)]
            return tuple(items) if isinstance(plain, mi.VarTupleType) else items
    try:
        value = msgspec.convert(raw, kind, dec_hook=_decode)
    except (msgspec.ValidationError, ValueError, OverflowError, RecursionError):
        hint = near(raw, _words(plain)) if isinstance(raw, str) else ""
        message = f"expected {expected(info)}{hint}"
        raise sources.error(at, message, separator=f" = {shown(at, raw)}: ") from None
    if not _holds_any(plain) and not _finite(value):
        raise sources.error(at, "expected finite numbers", separator=f" = {shown(at, raw)}: ")
    return value


def _tagged(info: mi.UnionType) -> list[mi.StructType]:
    """The structs of a union that a tag tells apart; none if it is another kind of union."""
    kinds = [item for item in info.types if isinstance(item, mi.StructType) and item.tag_field is not None]
    return kinds if len(kinds) == sum(not isinstance(item, mi.NoneType) for item in info.types) else []


def _item(raw: Any, info: mi.Type, sources: Sources, at: At) -> Any:
    if isinstance(info, mi.StructType) or not isinstance(raw, dict):
        kind = info.cls if isinstance(info, mi.StructType) else _tagged(info)[0].cls  # type: ignore[arg-type]
        return convert(raw, kind, sources, at)
    return _by_tag(raw, _tagged(info), sources, at)  # type: ignore[arg-type]


def _by_tag(raw: dict[str, Any], kinds: list[mi.StructType], sources: Sources, at: At) -> Any:
    """A table whose kind one of its keys names. Raises SettingsError."""
    key = str(kinds[0].tag_field)
    tags = {str(kind.tag): kind for kind in kinds}
    if key not in raw:
        raise sources.error((*at, key), f"missing, expected one of {', '.join(tags)}")
    chosen = tags.get(raw[key]) if isinstance(raw[key], str) else None
    if chosen is None:
        hint = near(raw[key], list(tags)) if isinstance(raw[key], str) else ""
        raise sources.error((*at, key), f"expected one of {', '.join(tags)}{hint}",
                            separator=f" = {shown((*at, key), raw[key])}: ")
    return convert({name: value for name, value in raw.items() if name != key}, chosen.cls, sources, at)


def _decode(kind: type, raw: Any) -> Any:
    if kind is Path and isinstance(raw, str) and raw and "\0" not in raw:
        return Path(raw)
    raise ValueError(f"expected {kind.__name__}")


def _holds_any(info: mi.Type) -> bool:
    """True for what is typed later, by somebody else's struct (a plugin's section)."""
    while isinstance(info, mi.DictType):
        info = info.value_type
    return isinstance(info, mi.AnyType)


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | tuple):
        return all(_finite(item) for item in value)
    return all(_finite(item) for item in value.values()) if isinstance(value, dict) else True


def expected(info: mi.Type) -> str:
    """What a person may write for this type: ``0..27``, ``one of auto, dsmr``, ``a number more than 0``."""
    if isinstance(info, mi.Metadata):
        note = (info.extra_json_schema or {}).get("description", "")
        return f"{expected(info.type)} ({note})" if note else expected(info.type)
    if isinstance(info, mi.IntType | mi.FloatType):
        return _range(info)
    if isinstance(info, mi.UnionType):
        kinds = [item for item in info.types if not isinstance(item, mi.NoneType)]
        return " or ".join(dict.fromkeys(expected(item) for item in kinds))
    words = _words(info)
    if words:
        return f"one of {', '.join(words)}"
    if isinstance(info, mi.ListType | mi.VarTupleType | mi.SetType | mi.FrozenSetType):
        least = f"at least {info.min_length}: " if info.min_length else ""
        return f"a list of {least}{expected(info.item_type)}"
    if isinstance(info, mi.TupleType):
        return f"a list of {len(info.item_types)}: {', '.join(expected(item) for item in info.item_types)}"
    if isinstance(info, mi.StrType):
        return _text(info)
    if isinstance(info, mi.CustomType):
        return "a path in quotes" if info.cls is Path else f"a {info.cls.__name__}"
    names = {mi.BoolType: "true or false", mi.DictType: "a table", mi.StructType: "a table", mi.AnyType: "a value",
             mi.DateTimeType: "a date and time", mi.DateType: "a date", mi.TimeType: "a time of day"}
    return names.get(type(info), type(info).__name__.removesuffix("Type").lower())


def _range(info: mi.IntType | mi.FloatType) -> str:
    noun = "an integer" if isinstance(info, mi.IntType) else "a number"
    if info.ge is not None and info.le is not None:
        return f"{info.ge:g}..{info.le:g}" if max(abs(info.ge), abs(info.le)) < 1e6 else f"{info.ge}..{info.le}"
    bounds = [f"{word} {bound:g}" for word, bound in
              (("at least", info.ge), ("more than", info.gt), ("at most", info.le), ("less than", info.lt))
              if bound is not None]
    return f"{noun} {' and '.join(bounds)}" if bounds else noun


def _text(info: mi.StrType) -> str:
    if info.pattern:
        return f"text of the form {info.pattern}"
    if info.max_length is not None:
        return f"text of {info.min_length or 0}..{info.max_length} characters"
    return "text in quotes, not empty" if info.min_length else "text in quotes"


def _words(info: mi.Type) -> list[str]:
    if isinstance(info, mi.LiteralType):
        return [str(value) for value in info.values]
    if isinstance(info, mi.EnumType):
        return [str(member.value) for member in info.cls]
    if isinstance(info, mi.UnionType):
        return [word for item in info.types for word in _words(item)]
    return []


def near(word: str, names: list[str]) -> str:
    """``, did you mean protocol?`` or nothing. An abbreviation (``prot``) counts as near."""
    import difflib  # only when something is wrong

    low = word.lower().replace("-", "_")
    close = [name for name in names if len(low) >= 3 and name.startswith(low)]
    if len(close) != 1:
        close = difflib.get_close_matches(low, names, n=1, cutoff=0.6)
    return f", did you mean {close[0]}?" if len(close) == 1 else ""


def shown(at: At, raw: Any) -> str:
    """A value as it may be shown: TOML's spelling, cut, control characters escaped, secrets hidden."""
    if at and SECRET.search(at[-1]):
        return "(hidden)"
    if isinstance(raw, bool):
        return "true" if raw else "false"
    text = json.dumps(raw, ensure_ascii=False) if isinstance(raw, str) else _plain(raw)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def _plain(raw: Any) -> str:
    if isinstance(raw, dict):
        return "a table"
    if isinstance(raw, list):
        return f"a list of {len(raw)}"
    try:
        return str(raw)
    except ValueError:  # an integer of more digits than str() makes
        return "a number of thousands of digits"


def dotted(at: At) -> str:
    """``plugins.main-meter.port``; a part that TOML would quote is quoted."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part) for part in at)


def _depth(raw: Any, at: At) -> int:
    depth = 0
    for part in at:
        if isinstance(raw, dict) and part in raw:
            raw = raw[part]
        elif isinstance(raw, list) and part.isdigit() and int(part) < len(raw):
            raw = raw[int(part)]
        else:
            break
        depth += 1
    return depth


_KEY = r"(?:[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*')"
_PATH = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_PATH})\s*\]")
_ASSIGN = re.compile(rf"\s*({_PATH})\s*=")


def locate(text: str, at: At) -> int | None:
    """The line (from 1) that sets the path ``at``, or the deepest table above it; None when nothing of it is there.

    tomllib keeps no positions, so the lines are read again here: headers, keys, and multi-line strings to pass over."""
    best: tuple[int, int] | None = None
    table: At = ()
    counts: dict[At, int] = {}
    fence = ""
    for number, line in enumerate(text.split("\n"), 1):
        if fence:
            if fence in line:
                fence = ""
            continue
        if header := _HEADER.match(line):
            table = _parts(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, str(counts[table]))
            current = table
        elif assign := _ASSIGN.match(line):
            current = (*table, *_parts(assign[1]))
            for quote in ('"""', "'''"):
                if line.count(quote) % 2:
                    fence = quote
        else:
            continue
        if current and current == at[: len(current)] and (best is None or len(current) > best[0]):
            best = (len(current), number)
    return best[1] if best else None


def _parts(path: str) -> At:
    """Split a dotted key by the parser that knows its quoting."""
    parts: list[str] = []
    try:
        level: Any = tomllib.loads(f"{path} = 0")
    except ValueError:
        return ()
    while isinstance(level, dict):
        (key, level), = level.items()
        parts.append(key)
    return tuple(parts)


def default_of(kind: type[Struct], name: str) -> Any:
    """The default of a struct's field, or NODEFAULT."""
    for field in msgspec.structs.fields(kind):
        if field.name == name:
            return field.default if field.default is not NODEFAULT else (
                field.default_factory() if field.default_factory is not NODEFAULT else NODEFAULT)
    return NODEFAULT

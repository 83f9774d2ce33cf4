"""agent.toml, typed: one file, its overlays ``agent.d/*.toml``, and the last good copy to go on with.

Every process of the agent reads the same file through :func:`load_good`: a configuration that is refused changes
nothing, the copy in ``<data_dir>/agent.toml.good`` goes on (B80). Relative paths count from agent.toml's folder.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from agent.api import Plugin
from agent.toml_typed import (
    At,
    SettingsError,
    Source,
    Sources,
    convert,
    default_of,
    load_toml,
    near,
    read_source,
)
from agent.wire.topics import HUB, is_id

__all__ = ["Device", "Loaded", "Mqtt", "PluginEntry", "Settings", "SettingsError", "SpoolLimits", "default_path",
           "load", "load_good", "load_toml", "near", "plugin_config", "save_good"]

DEFAULT_PATH = Path("/etc/hutkeeper/agent.toml")
HUB_OVERLAY = "50-hub.toml"
GOOD = "agent.toml.good"
DATA_DIR = Path("/var/lib/hutkeeper/agent")
RUN_DIR = Path("/run/hutkeeper")
RESERVED_INSTANCES = {"sys": "the device's own node", "hub": "the hub", "rules": "the rules of this device"}

Port = Annotated[int, Meta(ge=1, le=65535)]
Positive = Annotated[float, Meta(gt=0)]


class Device(Struct, frozen=True, kw_only=True):
    """``[device]``: who this machine is and where it keeps things."""

    id: str
    """``[a-z0-9-]``, 1 to 63 characters: the Homie device id and the MQTT user name."""
    name: str = ""
    """What a person reads; default: the id."""
    suggested_area: str = ""
    data_dir: Path = DATA_DIR
    run_dir: Path = RUN_DIR
    inputs: tuple[str, ...] = ()
    """Properties of other devices this one needs: ``<device>/<node>/<property>``."""
    publish_live: tuple[str, ...] = ()
    """Own properties that other devices name in their ``inputs``: ``<node>/<property>``."""
    hardware_watchdog: Path | None = None
    """``/dev/watchdog``: fed by the guard of an actuator, else by the watchdog; a board that hangs, with its heater ON
    or not, resets after 15 s."""
    reboot: Literal["auto", "always", "never"] = "auto"
    """Whether the watchdog may restart this machine (3 times in 24 h at most). ``auto``: where it is its service."""
    clock: Literal["auto", "trust"] = "auto"
    """``trust``: this machine's clock is right although nothing says so (a container)."""

    def __post_init__(self) -> None:
        if not is_id(self.id):
            raise ValueError(f"id: {json.dumps(self.id)[:80]}: expected a-z, 0-9 and -, at most 63 characters")
        if self.id == HUB:
            raise ValueError(f'id: "{HUB}" is the hub\'s own id, choose another')
        for item in self.inputs:
            if len(item.split("/")) != 3 or not all(part and not set(part) & set("+#\0") for part in item.split("/")):
                raise ValueError(f"inputs: {json.dumps(item)[:80]}: expected <device>/<node>/<property>")


class Mqtt(Struct, frozen=True, kw_only=True):
    """``[mqtt]``: the one broker. TLS unless it is this machine; the files default to ``<data_dir>/tls/``."""

    host: Annotated[str, Meta(min_length=1)] = "localhost"
    port: Port = 0
    """Default 8883, or 1883 without TLS."""
    tls: bool | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    keepalive_s: Annotated[int, Meta(ge=2, le=300)] = 10
    username: str | None = None
    password_file: Path | None = None

    def __post_init__(self) -> None:
        if self.tls is False and not is_loopback(self.host):
            raise ValueError(f"tls: plain MQTT is allowed on this machine only, and {self.host} is another")
        if self.tls is False and (self.ca or self.cert or self.key):
            raise ValueError("tls: false, but ca, cert or key is set")
        if (self.cert is None) != (self.key is None):
            raise ValueError(f"{'key' if self.key is None else 'cert'}: missing, cert and key go together")
        if self.password_file is not None and self.username is None:
            raise ValueError("username: missing, password_file is set")

    def resolved(self, data_dir: Path, base: Path) -> Mqtt:
        """The same with nothing left open: port, tls and file paths."""
        tls = self.tls if self.tls is not None else bool(self.ca or self.cert) or not is_loopback(self.host)
        own = data_dir / "tls"
        ca, cert, key = self.ca, self.cert, self.key
        if tls and ca is None:
            ca = own / "ca.pem"
        if tls and cert is None and self.username is None:
            cert, key = own / "device.pem", own / "device.key"
        paths = {"ca": ca, "cert": cert, "key": key, "password_file": self.password_file}
        return msgspec.structs.replace(self, tls=tls, port=self.port or (8883 if tls else 1883),
                                       **{name: path and base / path for name, path in paths.items()})


class SpoolLimits(Struct, frozen=True, kw_only=True):
    """``[spool]``: how much is kept on this device's disk while the hub is away."""

    max_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 40)] = 256 << 20
    max_age_days: Positive = 30.0
    keep_receipted_h: Annotated[float, Meta(ge=0)] = 24.0
    commit_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    commit_rows: Annotated[int, Meta(ge=1, le=10_000)] = 200


class _Common(Struct, frozen=True, kw_only=True):
    """Keys that every ``[plugins.<id>]`` may have, whatever the plugin."""

    use: str | None = None
    enabled: bool = True
    simulate: bool = False
    interval_s: Annotated[float, Meta(ge=0.01, le=86400)] | None = None
    process: str | None = None
    memory_mb: Annotated[int, Meta(ge=64, le=65536)] = 512
    hang_after_s: Annotated[float, Meta(ge=20, le=86400)] | None = None


class PluginEntry(Struct, frozen=True, kw_only=True):
    """One ``[plugins.<id>]``; ``config`` is what is left for the plugin's own Config (:func:`plugin_config`)."""

    id: str
    use: str
    """The plugin's name; default: the id with ``_`` for ``-``."""
    enabled: bool = True
    simulate: bool = False
    """Run on the plugin's own simulated device."""
    interval_s: float | None = None
    """Beats the plugin's own interval."""
    process: str | None = None
    """Entries of the same word share one process (boards with little memory)."""
    memory_mb: int = 512
    """What the process may hold in memory (RLIMIT_DATA, B57)."""
    hang_after_s: float | None = None
    """Without progress for this long it is killed; default 3 x interval, at least 30 s."""
    config: dict[str, Any] = {}
    sources: Any = None
    """The files behind it, for error messages."""


class Settings(Struct, frozen=True, kw_only=True):
    """Everything of agent.toml, paths absolute, defaults filled in."""

    device: Device
    mqtt: Mqtt
    spool: SpoolLimits
    plugins: dict[str, PluginEntry]
    path: Path
    raw: dict[str, Any] = {}
    """The merged tables, as written: what :func:`save_good` keeps and a reload compares."""


class _File(Struct, frozen=True, kw_only=True):
    device: Device
    mqtt: Mqtt = Mqtt()
    spool: SpoolLimits = SpoolLimits()
    plugins: dict[str, dict[str, Any]] = {}


class Loaded(NamedTuple):
    """Settings to run with, and why they are the last good ones instead of the newest (or None)."""

    settings: Settings
    error: SettingsError | None


def is_loopback(host: str) -> bool:
    """True for localhost and 127.0.0.0/8, ::1."""
    if host.lower().rstrip(".") in ("localhost", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def default_path() -> Path:
    """``./agent.toml`` if it exists, else ``/etc/hutkeeper/agent.toml``."""
    here = Path("agent.toml")
    return here.resolve() if here.exists() else DEFAULT_PATH


def load(path: Path) -> Settings:
    """Read agent.toml and its overlays. Raises SettingsError, one line."""
    path = path.absolute()
    sources = [read_source(path)]
    for overlay in sorted((path.parent / "agent.d").glob("*.toml")):
        source = read_source(overlay, f"agent.d/{overlay.name}")
        if overlay.name == HUB_OVERLAY:
            _refuse_foreign_keys(source, sources[0].raw)
        sources.append(source)
    raw: dict[str, Any] = {}
    for source in sources:
        raw = _merged(raw, source.raw)
    return _build(raw, Sources(*sources), path)


def load_good(path: Path) -> Loaded:
    """What to run with: the newest if it is right, else the last good copy and the reason (B80).

    A supervised process reads the copy that supervision approved (``HUTKEEPER_GOOD``), so a restart in the middle of
    an edit changes nothing. Raises SettingsError when there is no good copy either."""
    approved = os.environ.get("HUTKEEPER_GOOD")
    if approved is not None:
        try:
            source = read_source(Path(approved), path.name)
            return Loaded(_build(source.raw, Sources(source), path.absolute()), None)
        except SettingsError:
            pass  # the copy is gone or damaged: agent.toml itself is next
    try:
        return Loaded(load(path), None)
    except SettingsError as error:
        good = _data_dir_hint(path) / GOOD
        try:
            source = read_source(good)
            return Loaded(_build(source.raw, Sources(source), path.absolute()), error)
        except SettingsError:
            raise error from None


def read_good(settings: Settings) -> Settings:
    """The last good copy beside these settings' data. Raises SettingsError."""
    source = read_source(settings.device.data_dir / GOOD, settings.path.name)
    return _build(source.raw, Sources(source), settings.path)


def save_good(settings: Settings) -> None:
    """Keep these settings as the last good ones: ``<data_dir>/agent.toml.good``, whole or not at all."""
    good = settings.device.data_dir / GOOD
    text = "# The last agent.toml (with its overlays) that was right. Made by hutkeeper-agent; edits are lost.\n"
    text += _toml(settings.raw)
    try:
        if good.read_text(encoding="utf-8") == text:
            return  # nothing to write: a flash card has a limited number of writes
    except (OSError, UnicodeDecodeError):
        pass  # not there yet, or damaged: written below
    good.parent.mkdir(parents=True, exist_ok=True)
    scratch = good.with_name(f"{GOOD}.{os.getpid()}")
    with scratch.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(good)


def plugin_config(entry: PluginEntry, plugin: type[Plugin]) -> Any:
    """The plugin's typed Config from its section. Raises SettingsError naming the path.

    ``interval_s`` reaches a Config that has such a field."""
    kind = plugin.Config
    raw = dict(entry.config)
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    if entry.interval_s is not None and "interval_s" in names:
        raw["interval_s"] = entry.interval_s
    return convert(raw, kind, entry.sources or Sources(Source("agent.toml", "", {})),
                   ("plugins", entry.id), known=_Common.__struct_fields__)


def _build(raw: dict[str, Any], sources: Sources, path: Path) -> Settings:
    file = convert(raw, _File, sources)
    device = msgspec.structs.replace(file.device, data_dir=path.parent / file.device.data_dir,
                                     run_dir=path.parent / file.device.run_dir,
                                     name=file.device.name or file.device.id)
    plugins: dict[str, PluginEntry] = {}
    for name, section in file.plugins.items():
        plugins[name] = _entry(name, section, sources)
    return Settings(device=device, mqtt=file.mqtt.resolved(device.data_dir, path.parent), spool=file.spool,
                    plugins=plugins, path=path, raw=raw)


def _entry(name: str, section: dict[str, Any], sources: Sources) -> PluginEntry:
    at = ("plugins", name)
    if not is_id(name):
        raise sources.error(at, "expected an id of a-z, 0-9 and -, at most 63 characters")
    if name in RESERVED_INSTANCES:
        raise sources.error(at, f'"{name}" is {RESERVED_INSTANCES[name]}, choose another id')
    own = {key: value for key, value in section.items() if key in _Common.__struct_fields__}
    common = convert(own, _Common, sources, at)
    use = common.use if common.use is not None else name.replace("-", "_")
    if not re.fullmatch(r"[a-z0-9_]{1,63}", use):
        raise sources.error((*at, "use"), "expected a plugin's name of a-z, 0-9 and _")
    if common.process is not None and not is_id(common.process):
        raise sources.error((*at, "process"), "expected a word of a-z, 0-9 and -")
    values = msgspec.structs.asdict(common) | {"use": use}
    return PluginEntry(id=name, config={key: value for key, value in section.items() if key not in own},
                       sources=sources, **values)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Tables are laid over each other, anything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


_SAFETY = re.compile(r"(^|_)(pins?|gpio|bcm|relay|lease|frost|safety|interlock|watchdog)(_|$)|^(max|min)_(on|off)")
"""Pins and safety limits stay with whoever stands at the device."""


def _refuse_foreign_keys(source: Source, own: dict[str, Any]) -> None:
    """What a hub may push is how often and what to call it; never whom to trust, who we are, what may get hot."""
    sources = Sources(source)

    def refuse(at: At, why: str) -> None:
        raise sources.error(at, f"an overlay of the hub may not set this ({why}): set it in agent.toml")

    for table, content in source.raw.items():
        if table == "mqtt":
            refuse((table,), "the broker is the device owner's choice")
        elif table == "device":
            for key in content if isinstance(content, dict) else [""]:
                if key not in ("name", "suggested_area"):
                    refuse((table, key), "identity and folders")
        elif table == "plugins" and isinstance(content, dict):
            for instance, section in content.items():
                if instance not in own.get("plugins", {}):
                    refuse((table, instance), "agent.toml has no such plugin")
                for at in _paths(section, (table, instance)):
                    if at[2:] == ("use",) or any(_SAFETY.search(part) for part in at[2:]):
                        refuse(at, "pins and safety limits")


def _paths(value: Any, at: At) -> list[At]:
    if isinstance(value, dict):
        return [path for key, item in value.items() for path in _paths(item, (*at, key))]
    return [at]


def _data_dir_hint(path: Path) -> Path:
    """Where the good copy lies when agent.toml cannot be read: what supervision said, else what the text says."""
    if os.environ.get("HUTKEEPER_DATA_DIR"):
        return Path(os.environ["HUTKEEPER_DATA_DIR"])
    try:
        with path.open("rb") as file:
            text = file.read(1 << 20)
    except OSError:
        return DATA_DIR
    found = re.search(rb"^\s*data_dir\s*=\s*(?:\"([^\"\\\n\0]+)\"|'([^'\n\0]+)')", text, re.M)
    if found is None:
        return DATA_DIR
    return path.absolute().parent / os.fsdecode(found[1] or found[2])


def _toml(tables: dict[str, Any]) -> str:
    """Merged tables as TOML; ``[plugins.x]`` as a table of its own, deeper ones inline."""
    lines = [f"{_key(key)} = {_literal(value)}" for key, value in tables.items() if not isinstance(value, dict)]
    for key, value in tables.items():
        if isinstance(value, dict):
            if key == "plugins" and all(isinstance(item, dict) for item in value.values()):
                lines.append("[plugins]")
                for name, section in value.items():
                    lines.append(f"\n[plugins.{_key(name)}]")
                    lines += [f"{_key(inner)} = {_literal(item)}" for inner, item in section.items()]
            else:
                lines.append(f"\n[{_key(key)}]")
                lines += [f"{_key(inner)} = {_literal(item)}" for inner, item in value.items()]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _literal(key)


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)  # dates; numbers, inf, nan


def default_interval_s(plugin: type[Plugin], entry: PluginEntry) -> float:
    """How often this entry is expected to read: its own key, else the Config's default, else the plugin's."""
    if entry.interval_s is not None:
        return entry.interval_s
    own = default_of(plugin.Config, "interval_s")
    return float(own) if isinstance(own, int | float) else plugin.interval_s

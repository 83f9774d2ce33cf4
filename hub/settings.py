"""hub.toml, typed. Every part of the hub reads it through :func:`load`; errors name file, line, path and near name.

```toml
[hub]
name = "Basecamp"
data_dir = "/var/lib/hutkeeper/hub"
[web]
host = "0.0.0.0"
[retention]
raw_days = 90
[calls]                         # /set_profile, /announce, /send_SMS where a house has several
heater = "bc-power/heater"      # <device>/<node>
[[notify.channel]]              # who is told of alerts, see hub/notify/settings.py
name = "push"
url_file = "/etc/hutkeeper/push.url"
[heartbeat]                     # an outside service that notices when this hub is dead
url_file = "heartbeat.url"
[[retention.series]]            # the first pattern that fits a series counts
match = "*/*/sound_*"           # <device>/<node>/<property>
raw_days = 7
```
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from agent.settings import SettingsError, is_loopback, load_toml
from hub.energy.prices import Energy
from hub.notify.settings import Notify
from hub.watch.settings import Heartbeat

__all__ = ["Alerts", "Broker", "Calls", "Foreign", "Heartbeat", "Hub", "Mirror", "Mqtt", "Notify", "Retention",
           "SeriesRetention", "Settings", "SettingsError", "Store", "Web", "default_path", "load"]

DEFAULT_PATH = Path("/etc/hutkeeper/hub.toml")
Port = Annotated[int, Meta(ge=1, le=65535)]
Days = Annotated[int, Meta(ge=0, le=36500)]


class Hub(Struct, frozen=True, kw_only=True):
    """``[hub]``: names and folders."""

    name: str = "Hutkeeper"
    data_dir: Path = Path("/var/lib/hutkeeper/hub")
    run_dir: Path = Path("/run/hutkeeper-hub")


class Mqtt(Struct, frozen=True, kw_only=True):
    """``[mqtt]``: another machine's broker. Without ``host`` the hub runs its own, as ``[broker]`` says."""

    host: Annotated[str, Meta(min_length=1)] | None = None
    port: Port | None = None
    """Default 8883, or 1883 on this machine without TLS files."""
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    keepalive_s: Annotated[int, Meta(ge=2, le=300)] = 10

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError(f"{'key' if self.key is None else 'cert'}: missing, cert and key go together")
        if self.password_file is not None and self.username is None:
            raise ValueError("username: missing, password_file is set")

    @property
    def tls(self) -> bool:
        """TLS everywhere but on this machine."""
        return self.ca is not None or (self.host is not None and not is_loopback(self.host))


class Foreign(Struct, frozen=True, kw_only=True):
    """``[[broker.foreign]]``: topics of others that a device may hear and speak to (its plugin ``foreign_mqtt``)."""

    device: Annotated[str, Meta(pattern=r"^(\*|[a-z0-9-]+)$")] = "*"
    """Its id; ``*``: every paired device."""
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key, topics in (("read", self.read), ("write", self.write)):
            for topic in topics:
                first = topic.split("/", 1)[0]
                if not first or set(first) & set("#+$%") or not topic.isprintable():
                    raise ValueError(f"{key}: {topic!r}: begins with a plain word, as in tele/#")
                if first == "hutkeeper" or (key == "write" and first == "homie" and not topic.endswith("/set")):
                    raise ValueError(f"{key}: {topic!r}: every device has its own part of that tree and no more")


class Broker(Struct, frozen=True, kw_only=True):
    """``[broker]``: the embedded broker. Plain MQTT is for this machine only, devices come by TLS."""

    port: Port = 1883
    tls_listen: str = "0.0.0.0"
    tls_port: Port = 8883
    names: tuple[str, ...] = ()
    """Further host names and addresses under which devices reach this machine, for the hub's certificate."""
    max_devices: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    """Sizes the queues: each device may have a window of batches under way."""
    save_s: Annotated[int, Meta(ge=0, le=3600)] = 0
    """0: the broker's state file is written at every change, all of it: about 1 ms and 150 KB a message at 2,000
    retained values. Else this often, in seconds: kinder to a card, and a killed broker forgets the last ones (no
    sample: those have receipts)."""
    foreign: tuple[Foreign, ...] = ()
    program: Literal["auto", "mosquitto", "iotcore"] = "auto"
    """``iotcore`` keeps nothing over a restart and has no TLS here: for a try-out only."""


class Web(Struct, frozen=True, kw_only=True):
    """``[web]``: the pages. HTTPS with ``cert`` and ``key`` or the hub's own certificate, plain on loopback."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Port = 8080
    cert: Path | None = None
    key: Path | None = None
    public_url: str | None = None
    """How browsers reach the page when a proxy stands in between."""

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError(f"{'key' if self.key is None else 'cert'}: missing, cert and key go together")

    @property
    def https(self) -> bool:
        """With a certificate of the owner's, or the hub's own: always, except when only this machine is served."""
        return self.cert is not None or not is_loopback(self.host)


class SeriesRetention(Struct, frozen=True, kw_only=True):
    """``[[retention.series]]``: days for the series that ``match`` fits (``*`` and ``?``); left out: the default."""

    match: Annotated[str, Meta(min_length=1)]
    raw_days: Days | None = None
    minute_days: Days | None = None
    hour_days: Days | None = None
    day_days: Days | None = None


class Retention(Struct, frozen=True, kw_only=True):
    """``[retention]``: how long samples, roll-ups and the logbook are kept, in days; 0 is for ever."""

    raw_days: Days = 90
    minute_days: Days = 400
    hour_days: Days = 0
    day_days: Days = 0
    logbook_days: Days = 400
    series: tuple[SeriesRetention, ...] = ()


class Mirror(Struct, frozen=True, kw_only=True):
    """``[mirror]``: the devices once more, for controllers of an older convention."""

    homie4: bool = False
    """Homie 4 under ``homie/<device>/...``, as openHAB reads it."""


Node = Annotated[str, Meta(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")]


class Calls(Struct, frozen=True, kw_only=True):
    """``[calls]``: which node ``/set_profile``, ``/announce``, ``/send_SMS`` ... mean where there are several."""

    heater: Node | None = None
    """``<device>/<node>``, as on the device page."""
    announcer: Node | None = None
    modem: Node | None = None


DeviceId = Annotated[str, Meta(pattern=r"^[a-z0-9-]+$")]


class Alerts(Struct, frozen=True, kw_only=True):
    """``[alerts]``: what the hub cannot see by itself of how things hang together."""

    ups: tuple[DeviceId, ...] = ()
    """Devices that go on without the mains; one with the plugin ``mains`` does anyway."""
    remote: tuple[DeviceId, ...] = ()
    """Devices that reach the broker by the internet, from another house."""
    settle_s: Annotated[float, Meta(ge=0, le=15)] = 5.0
    """A cause may turn up so long before somebody is told; what is critical and no absence waits for nobody."""
    lost_s: Annotated[float, Meta(ge=0, le=600)] = 15.0
    """A device that is back within this time (a wireless network, a restart of its agent) is nobody's message."""
    start_s: Annotated[float, Meta(ge=0, le=600)] = 45.0
    """After its start the hub waits so long before it believes that something does not come."""
    over_s: Annotated[float, Meta(ge=1, le=600)] = 10.0
    """So long something must be no more before its alert is over."""
    history_days: Days = 400
    """How long alerts that are over are kept; 0 is for ever."""


class Store(Struct, frozen=True, kw_only=True):
    """``[store]``: how samples are written."""

    commit_s: Annotated[float, Meta(gt=0, le=10)] = 0.5
    """A transaction is open for at most this long: the longest that a receipt waits."""
    commit_samples: Annotated[int, Meta(ge=100, le=1_000_000)] = 20_000
    max_series_per_device: Annotated[int, Meta(ge=1, le=100_000)] = 500
    future_s: Annotated[float, Meta(ge=1)] = 300.0
    """A sample this far ahead of the hub's clock is E_TS_FUTURE: kept, but never the live value."""


class Settings(Struct, frozen=True, kw_only=True):
    """Everything of hub.toml with defaults filled in and paths absolute."""

    hub: Hub = Hub()
    mqtt: Mqtt = Mqtt()
    broker: Broker = Broker()
    web: Web = Web()
    retention: Retention = Retention()
    store: Store = Store()
    energy: Energy = Energy()
    mirror: Mirror = Mirror()
    calls: Calls = Calls()
    alerts: Alerts = Alerts()
    notify: Notify = Notify()
    heartbeat: Heartbeat = Heartbeat()
    path: Path = DEFAULT_PATH

    @property
    def samples_db(self) -> Path:
        """Written by ingest alone."""
        return self.hub.data_dir / "samples.db"

    @property
    def web_db(self) -> Path:
        """Written by web alone."""
        return self.hub.data_dir / "web.db"

    @property
    def alerts_db(self) -> Path:
        """Written by notify alone."""
        return self.hub.data_dir / "alerts.db"

    @property
    def embedded_broker(self) -> bool:
        return self.mqtt.host is None

    @property
    def broker_host(self) -> str:
        """Where the hub's own parts find the broker."""
        return self.mqtt.host or "127.0.0.1"

    @property
    def broker_port(self) -> int:
        if self.mqtt.host is None:
            return self.broker.port
        return self.mqtt.port or (8883 if self.mqtt.tls else 1883)


class _File(Struct, frozen=True, kw_only=True):
    hub: Hub = Hub()
    mqtt: Mqtt = Mqtt()
    broker: Broker = Broker()
    web: Web = Web()
    retention: Retention = Retention()
    store: Store = Store()
    energy: Energy = Energy()
    mirror: Mirror = Mirror()
    calls: Calls = Calls()
    alerts: Alerts = Alerts()
    notify: Notify = Notify()
    heartbeat: Heartbeat = Heartbeat()


def default_path() -> Path:
    """``./hub.toml`` if it exists, else ``/etc/hutkeeper/hub.toml``."""
    here = Path("hub.toml")
    return here.resolve() if here.exists() else DEFAULT_PATH


def load(path: Path) -> Settings:
    """Read hub.toml; relative paths count from its folder. Raises SettingsError, one line."""
    path = path.absolute()
    file = load_toml(path, _File)
    base = path.parent

    def full(section: Struct, *names: str) -> dict[str, Path | None]:
        return {name: None if (value := getattr(section, name)) is None else base / value for name in names}

    replace = msgspec.structs.replace
    return Settings(
        hub=replace(file.hub, **full(file.hub, "data_dir", "run_dir")),
        mqtt=replace(file.mqtt, **full(file.mqtt, "ca", "cert", "key", "password_file")),
        broker=file.broker,
        web=replace(file.web, **full(file.web, "cert", "key")),
        retention=file.retention,
        store=file.store,
        energy=file.energy,
        mirror=file.mirror,
        calls=file.calls,
        alerts=file.alerts,
        notify=replace(file.notify,
                       channel=tuple(replace(one, **full(one, "url_file")) for one in file.notify.channel)),
        heartbeat=replace(file.heartbeat, **full(file.heartbeat, "url_file")),
        path=path,
    )

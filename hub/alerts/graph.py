"""What explains what: mains -> internet -> broker -> hub -> device -> plugin -> property. Pure.

Only what says that something does not come is ever explained, and only by a cause that it can have had: the mains takes
no device that runs on a UPS, the internet none on this network, and nothing explains what was so long before it.
Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

SLACK_US = 120_000_000
"""So long after its effects a cause may be found out: a line is lost after a few bad probes, a device at once."""
MAINS, INTERNET, BROKER, HUB = "mains", "internet", "broker", "hub"
HUB_STOPS = ("hub:ingest", "hub:store", "hub:E_DB_FULL", "hub:E_DB_CORRUPT", "hub:E_SECOND_HUB")
"""Conditions of the hub that keep samples from being stored. A page that cannot be served explains nothing."""
DEVICE_STOPS = ("lost:", "silent:")
THROUGH_HUB = ("rule:", "backlog:", "canary:")
"""Conditions that hang on the hub's store. A device's connection does not, nor what a device finds by itself."""


class House(Struct, frozen=True):
    """What the hub knows of how things hang together."""

    on_ups: frozenset[str] = frozenset()
    """Devices that go on without the mains."""
    remote: frozenset[str] = frozenset()
    """Devices that reach the broker by the internet, and have another mains."""
    broker_elsewhere: bool = False
    """The broker is another machine, and nobody said that it has a UPS."""
    plugins: Mapping[str, Mapping[str, str]] = {}
    """Device -> node -> the plugin instance that it belongs to."""


def device_of(subject: str) -> str:
    """The device in a subject, or ''."""
    kind, _, rest = subject.partition(":")
    return rest.partition("/")[0] if kind in ("device", "plugin", "property") else ""


def stops(key: str, subject: str) -> bool:
    """Whether an alert explains that others hear nothing."""
    kind = subject.partition(":")[0]
    if kind == "device":
        return key.startswith(DEVICE_STOPS)
    if kind == HUB:
        return key.startswith(HUB_STOPS)
    return kind in (MAINS, INTERNET, BROKER, "plugin")


def causes(key: str, subject: str, house: House) -> list[str]:
    """Subjects that would explain that something of ``subject`` does not come, the nearest first. Its own is among
    them where one thing is told in two ways: a plugin that ends again and again does not work either."""
    kind, _, rest = subject.partition(":")
    match kind:
        case "property":
            device, _, node = rest.rpartition("/")[0].partition("/")
            instance = house.plugins.get(device, {}).get(node, node)
            own = [f"plugin:{device}/{node}"] if instance == node else [f"plugin:{device}/{node}",
                                                                         f"plugin:{device}/{instance}"]
            return [*own, f"device:{device}", *_hub(key), *_of_device(device, house)]
        case "plugin":
            device, _, node = rest.partition("/")
            instance = house.plugins.get(device, {}).get(node, node)
            own = [subject] if instance == node else [subject, f"plugin:{device}/{instance}"]
            return [*own, f"device:{device}", *_of_device(device, house)]
        case "device":
            own = [] if key.startswith("lost:") else [subject]
            return [*own, *_hub(key), *_of_device(rest, house)]
        case "hub":
            return [BROKER, INTERNET]
        case "broker":
            return [MAINS] if house.broker_elsewhere else []
        case "internet":
            return [MAINS]
    return []


def _hub(key: str) -> list[str]:
    return [HUB] if key.startswith(THROUGH_HUB) or key.endswith(":no-receipt") else []


def explains(cause_key: str, cause_subject: str, cause_of_absence: bool, key: str, subject: str) -> bool:
    """Whether an alert of a subject that :func:`causes` names is a cause indeed: of two that say of the same thing that
    it does not come neither explains the other, unless it is not even connected, or a rule says once more what is
    known."""
    return (cause_subject != subject or not cause_of_absence or cause_key.startswith("lost:")
            or (key.startswith("rule:") and not cause_key.startswith("rule:")))


def _of_device(device: str, house: House) -> list[str]:
    if device in house.remote:
        return [BROKER, INTERNET]
    return [BROKER] if device in house.on_ups else [BROKER, MAINS]


def of_this_house(key: str, subject: str, house: House) -> bool:
    """Whether it is the one mains or internet that all here have, whichever device says so."""
    return subject in (MAINS, INTERNET) and key.partition(":")[2].partition("/")[0] not in house.remote


def plausible(effect_us: int, cause_us: int) -> bool:
    """Whether what began at ``effect_us`` can come of what began at ``cause_us``."""
    return effect_us >= cause_us - SLACK_US

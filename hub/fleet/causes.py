"""One line per root cause: what is wrong only because of something else is counted under it, as the alerts do. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from agent.settings import is_loopback
from hub.alerts import graph
from hub.fleet.answers import Problem
from hub.fleet.facts import DeviceFacts
from hub.settings import Settings


def house_of(devices: Iterable[DeviceFacts], settings: Settings) -> graph.House:
    """How things hang together, as far as the devices and ``[alerts]`` of hub.toml say it."""
    devices = list(devices)
    return graph.House(
        on_ups=frozenset(settings.alerts.ups) | {device.id for device in devices if device.on_ups},
        remote=frozenset(settings.alerts.remote) | {device.id for device in devices if _far(device.address)},
        broker_elsewhere=not is_loopback(settings.broker_host),
        plugins={device.id: {node.id: node.plugin for node in device.nodes} for device in devices},
    )


def rooted(found: Sequence[Problem], house: graph.House, now_us: int) -> list[Problem]:
    """Those that nothing else of ``found`` explains, in their order, each with the number of those that it explains."""
    stops: dict[str, list[int]] = {}
    for place, problem in enumerate(found):
        if graph.stops(problem.key, problem.subject):
            stops.setdefault(problem.subject, []).append(place)
    if not stops:
        return list(found)
    above = [_cause(place, problem, found, stops, house, now_us) for place, problem in enumerate(found)]
    children: dict[int, int] = {}
    for place in range(len(found)):
        root = place
        while (up := above[root]) is not None:
            root = up
        if root != place:
            children[root] = children.get(root, 0) + 1
    return [replace(problem, children=children.get(place, 0)) if place in children else problem
            for place, problem in enumerate(found) if above[place] is None]


def _cause(place: int, problem: Problem, found: Sequence[Problem], stops: dict[str, list[int]], house: graph.House,
           now_us: int) -> int | None:
    if not problem.of_absence:
        return None
    for subject in graph.causes(problem.key, problem.subject, house):
        for other in stops.get(subject, ()):
            cause = found[other]
            if other == place or not graph.explains(cause.key, cause.subject, cause.of_absence, problem.key,
                                                       problem.subject):
                continue
            since_us = problem.since_us if problem.since_us is not None else now_us
            # what is silent began to be so when it was last heard, which may be long before it was noticed
            if cause.since_us is None or graph.plausible(since_us, cause.since_us) or not problem.key.startswith(
                    "lost:"):
                return other
    return None


def _far(address: str) -> bool:
    """An address that no house network has."""
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False

"""Names of topics, in one place. A device id, a node id and a property id are ``[a-z0-9-]+``."""

from __future__ import annotations

import re
from typing import NamedTuple

HOMIE = "homie/5"
OURS = "hutkeeper/1"
DISCOVERY = "homeassistant"
HUB = "hub"
"""A reserved device id: the hub's own results are a Homie device too."""

ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")


def is_id(text: str) -> bool:
    """True for ``[a-z0-9-]``, 1 to 63 characters, no dash at an end."""
    return ID.match(text) is not None


def homie(device: str, *rest: str) -> str:
    return "/".join((HOMIE, device, *rest))


def state(device: str) -> str:
    return f"{HOMIE}/{device}/$state"


def description(device: str) -> str:
    return f"{HOMIE}/{device}/$description"


def records(device: str) -> str:
    return f"{OURS}/{device}/records"


def receipt(device: str) -> str:
    return f"{OURS}/{device}/receipt"


def live(device: str, plugin: str) -> str:
    return f"{OURS}/{device}/live/{plugin}"


def request(device: str, name: str) -> str:
    return f"{OURS}/{device}/request/{name}"


def response(device: str, name: str) -> str:
    return f"{OURS}/{device}/response/{name}"


def reported(device: str) -> str:
    return f"{OURS}/{device}/reported"


def desired(device: str) -> str:
    return f"{OURS}/{device}/desired"


HUB_STATE = f"{OURS}/{HUB}/$state"


def discovery(device: str, node: str) -> str:
    return f"{DISCOVERY}/device/{device}/{node}/config"


class OurTopic(NamedTuple):
    device: str
    kind: str
    rest: str


def parse_ours(topic: str) -> OurTopic | None:
    """``hutkeeper/1/<device>/<kind>[/<rest>]``, or None when it is not one of ours or the id is not allowed."""
    parts = topic.split("/", 4)
    if len(parts) < 4 or f"{parts[0]}/{parts[1]}" != OURS or not is_id(parts[2]):
        return None
    return OurTopic(parts[2], parts[3], parts[4] if len(parts) == 5 else "")

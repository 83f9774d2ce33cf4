"""``/set``: from a controller's bytes to a typed command for a plugin, and what became of it.

The request ``set`` comes in here too, typed, and gets its answer.

Refused, with one line on ``$log/warn`` (Homie has no other answer to a ``/set``): a retained one (it would switch
something on after every reconnect; the broker's copy is deleted), a value outside datatype and ``format``, a property
that nobody can set, a plugin that is not running. Accepted: ``$target`` takes the very bytes that came, the plugin
gets a :class:`agent.bus.Command`, and its answer moves the value, or takes the target back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from agent.api import homie_id
from agent.bus import Answer, Command
from agent.homie.tree import Tree
from agent.homie.values import Illegal, parse_set
from agent.uplink.state_values import Send, Slot, Values
from agent.wire import topics
from agent.wire.private import without

TTL_US = 10_000_000
"""A ``/set`` carries no time of issue, so it is worth no more than the seconds a person waits for a switch."""
MAX_PENDING = 50


Done = Callable[[Any, str | None], None]
"""(the value now true, None) or (None, one line of refusal)."""


class Order(NamedTuple):
    """What was asked for, for the record: by whom, and what came of it."""

    node: str
    property: str
    value: Any
    """None where it may hold what is nobody's business (a text message, a key): momentary commands."""
    who: str
    refusal: str | None


class Pending(NamedTuple):
    instance: str
    command: Command
    slot: Slot
    who: str
    done: Done | None


class Commands:
    def __init__(
        self,
        device: str,
        values: Values,
        send: Send,
        send_command: Callable[[str, Command], object],
        warn: Callable[[str], None],
        record: Callable[[Order], None] = lambda order: None,
    ) -> None:
        self._device = device
        self._values = values
        self._send = send
        self._send_command = send_command
        self._warn = warn
        self._record = record
        self._pending: dict[str, Pending] = {}

    def subscription(self) -> str:
        return topics.homie(self._device, "+", "+", "set")

    def on_set(self, tree: Tree, node_id: str, property_id: str, data: bytes, retained: bool, now_us: int) -> None:
        """A message on ``homie/5/<device>/<node>/<property>/set``."""
        where = f"{node_id}/{property_id}/set"
        if not data:
            return  # the deletion of a retained one, ours or somebody's
        if retained:
            self._send(topics.homie(self._device, node_id, property_id, "set"), b"", 1, True)
            self._warn(f"E_CMD_RETAINED {where}: a retained command is never carried out; it was deleted from the "
                       "broker; publish commands without the retain flag")
            return
        refusal = self._begin(tree, node_id, property_id, data, "mqtt", now_us, None)
        if refusal is not None:
            self._warn(f"{where}: {refusal}")

    def order(self, tree: Tree, node_id: str, property_id: str, data: bytes, who: str, now_us: int, done: Done) -> None:
        """The request ``set``: ``data`` as on a ``/set`` topic. ``done`` is called once, now or with the answer."""
        refusal = self._begin(tree, node_id, property_id, data, who, now_us, done)
        if refusal is not None:
            done(None, refusal)

    def _begin(self, tree: Tree, node_id: str, property_id: str, data: bytes, who: str, now_us: int,
               done: Done | None) -> str | None:
        """Send it to its plugin; returns why not."""
        found = tree.find(node_id, property_id)
        # A manual reading of a counter is a command too: the ledger goes on from what the meter's display says. It is
        # not announced as settable, or Home Assistant would show an input field in place of the sensor.
        if found is None or not (found[1].settable or found[1].state_class == "total_increasing"):
            return "no such property" if found is None else "this property cannot be set"
        node, prop = found
        try:
            value = parse_set(prop, data)
        except Illegal as error:
            return f"refused, {error}"
        slot = self._values.slots[node.id, prop.name]
        if len(self._pending) >= MAX_PENDING:
            return f"refused, {MAX_PENDING} commands are waiting for their answer"
        command = Command(secrets.token_hex(8), node.id, prop.name, value, now_us + TTL_US)
        # Only the newest command moves the target; an older one for the same property still gets its answer.
        self._pending[command.id] = Pending(node.instance, command, slot, who, done)
        if slot.has_target:
            slot.pending = True
            self._values.set_target(slot, data)
        if self._send_command(node.instance, command) is False:
            self._settle(command.id, f"refused, {node.instance} is not running")
        return None

    def on_answer(self, answer: Answer, now_us: int) -> bool:
        """True when the answer was to one of these commands."""
        pending = self._pending.get(answer.id)
        if pending is None:
            return False
        if not answer.ok:
            self._settle(answer.id, f"refused by {answer.instance}: {answer.message}")
            return True
        slot = pending.slot
        true_now = answer.value
        if not slot.prop.event:
            true_now = answer.value if answer.value is not None else pending.command.value
            self._values.take(slot.node.id, slot.prop.name, true_now, now_us, None, now_us)
        self._settle(answer.id, None, true_now)
        return True

    def _settle(self, command_id: str, refusal: str | None, value: Any = None) -> None:
        """The command is over; refused, the target goes back to what is true."""
        pending = self._pending.pop(command_id)
        slot, command = pending.slot, pending.command
        slot.pending = any(other.slot is slot for other in self._pending.values())
        kept = None if slot.prop.event else command.value
        told = without(refusal, command.value) if slot.prop.event and refusal is not None else refusal
        self._record(Order(command.node, command.property, kept, pending.who, told))
        if pending.done is not None:
            pending.done(value, refusal)
        if refusal is None:
            return
        if slot.has_target and not slot.pending and slot.wanted is not None:
            self._values.set_target(slot, slot.wanted)
        if pending.done is None:
            where = f"{command.node}/{homie_id(command.property)}/set"
            code, _, rest = refusal.partition(" ")
            self._warn(f"{code} {where}: {rest}" if code.startswith("E_") else f"{where}: {refusal}")

    def expire(self, now_us: int) -> int | None:
        """Give up on answers that are overdue; returns when the next one is."""
        for id_ in [id_ for id_, pending in self._pending.items() if now_us >= pending.command.deadline_us]:
            self._settle(id_, f"E_CMD_EXPIRED no answer from {self._pending[id_].instance} in {TTL_US // 1_000_000} s")
        return min((pending.command.deadline_us for pending in self._pending.values()), default=None)

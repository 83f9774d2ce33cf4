"""Which of the rules that came are taken here, and why the others are not: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from agent.rules.model import Rule, matches, parse
from agent.settings import SettingsError
from agent.wire.messages import Desired


def taken(desired: Desired, device: str, inputs: Iterable[str]) -> tuple[list[Rule], dict[str, str]]:
    """(rules, refused: rule -> one line)."""
    rules: list[Rule] = []
    refused: dict[str, str] = {}
    for name, text in sorted(desired.rules.items()):
        try:
            rule = parse(text, name)
        except (SettingsError, RecursionError) as error:
            refused[name] = str(error).replace("\n", " ")[:300]
            continue
        why = _why_not(rule, name, device, tuple(inputs))
        if why:
            refused[name] = f"{name}: {why}"
        elif rule.on(device):
            rules.append(rule)
    return rules, refused


def _why_not(rule: Rule, name: str, device: str, inputs: tuple[str, ...]) -> str:
    if rule.id != name:
        return f'its id is "{rule.id}"'
    if rule.where != device:
        return f'where = "{rule.where}", this is {device}'
    for order in (*rule.then, *rule.back):
        if order.target()[0] != device:
            return f'set = "{order.set}": a rule of a device commands its own plugins only; where = "hub" may do this'
    for leaf in rule.leaves:
        other = leaf.of.split("/")[0]
        if other == device or set(other) & set("*?"):
            continue
        if not any(matches(leaf.of, *one.split("/")) for one in inputs):
            return f'of = "{leaf.of}": not among device.inputs of {device}, so it does not hear of it'
    return ""


def heard(subject: str, device: str, plugins: Collection[str], inputs: Iterable[str]) -> bool:
    """Whether a series may still come here: of one of this device's plugins, or among its inputs."""
    if not subject:
        return True
    of_device, node, name = subject.split("/")
    if of_device == device:
        return node == "sys" or any(node == one or node.startswith(f"{one}-") for one in plugins)
    return any(matches(one, of_device, node, name) for one in inputs)


def topics(rules: Iterable[Rule], device: str) -> list[str]:
    """Prefixes on the local bus that these rules need."""
    found: set[str] = set()
    for rule in rules:
        for leaf in rule.leaves:
            of_device, node, _ = leaf.of.split("/")
            wild = set(of_device) & set("*?")
            plain = "" if set(node) & set("*?") else node
            if wild or of_device == device:
                found.add(f"now/{plain}")
            if wild:
                found.add("live/")
            elif of_device != device:
                found.add(f"live/{of_device}/{plain}")
    return sorted(found)

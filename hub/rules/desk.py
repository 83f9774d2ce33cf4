"""What pages and commands may do to rules: ``rule.put``, ``rule.remove``, ``rule.enable``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.rules.model import HUB, Rule, parse
from agent.settings import SettingsError
from agent.wire.topics import is_id
from hub.logbook.model import Entry
from hub.notify.asks import Handler, Refused
from hub.store import rules_rows
from hub.store.rules_rows import RuleRow

if TYPE_CHECKING:
    from hub.rules.keeper import Rules

MAX_RULES = 1000


def handlers(rules: Rules) -> dict[str, Handler]:
    def put(args: dict[str, Any], who: str) -> Any:
        """Write a rule under its id: a new one, another text, or in the place of a default."""
        rule = checked(args.get("toml"))
        if args.get("id") not in (None, "", rule.id):
            raise Refused(f"the text says id = \"{rule.id}\", and this is {str(args['id'])[:63]}: make them the same")
        old = {row.id: row for row in rules_rows.rules(rules.hall.db)}
        if rule.id not in old and len(old) >= MAX_RULES:
            raise Refused(f"there are {MAX_RULES} rules already: remove some")
        rules_rows.put_rule(rules.hall.db, RuleRow(rule.id, args["toml"], True, rules.hall.now_us(), who[:100]))
        said(rules, rule.id, "written", who)
        return {"id": rule.id, "note": note(rules, rule)}

    def remove(args: dict[str, Any], who: str) -> Any:
        """Forget what somebody wrote; a default is itself again."""
        id_ = _id(args)
        if not rules_rows.remove_rule(rules.hall.db, id_) and rules.entry(id_) is None:
            raise Refused(f"there is no rule {id_}")
        said(rules, id_, "removed", who)
        return {"id": id_, "default": rules.entry(id_) is not None}

    def enable(args: dict[str, Any], who: str) -> Any:
        id_, on = _id(args), args.get("on")
        if not isinstance(on, bool):
            raise Refused("on: expected true or false")
        entry = rules.entry(id_)
        if entry is None:
            raise Refused(f"there is no rule {id_}")
        if on and entry.rule is None:
            raise Refused(f"{id_} is not a rule yet: {entry.error}")
        row = next((row for row in rules_rows.rules(rules.hall.db) if row.id == id_), None)
        if on and row is not None and row.toml is not None and not parse(row.toml, id_).enabled:
            raise Refused(f"{id_}: its own text says enabled = false: take that line out")
        text = None if row is None else row.toml
        rules_rows.put_rule(rules.hall.db, RuleRow(id_, text, on, rules.hall.now_us(), who[:100]))
        said(rules, id_, "switched on" if on else "switched off", who)
        return {"id": id_, "on": on}

    return {"rule.put": put, "rule.remove": remove, "rule.enable": enable}


def said(rules: Rules, id_: str, what: str, who: str) -> None:
    rules.rules_changed()
    now_us = rules.hall.now_us()
    rules.hall.logbook.add(Entry(now_us, "hub", "rules", "info", f"rule {id_} was {what}", "change", who[:100]))


def checked(text: Any) -> Rule:
    """Raises Refused with the line of the fault."""
    if not isinstance(text, str) or not text.strip():
        raise Refused("toml: expected the text of a rule")
    try:
        return parse(text)
    except SettingsError as error:
        raise Refused(str(error)) from None


def note(rules: Rules, rule: Rule) -> str:
    """One line about a rule that is sound, and may not be what was meant."""
    if rule.where != HUB:
        device = rules.hall.tree.device(rule.where)
        if device is None:
            return f"no device {rule.where} is known yet: it gets the rule when it comes"
    return ""


def _id(args: dict[str, Any]) -> str:
    id_ = args.get("id")
    if not isinstance(id_, str) or not is_id(id_):
        raise Refused("id: expected a rule's id")
    return id_

"""A plugin as its documentation shows it: settings and readings, made from the code itself."""

from __future__ import annotations

import json
from typing import Any

import click
import msgspec
from msgspec import NODEFAULT
from msgspec import inspect as mi

from agent.api import Plugin, Property, title_of
from agent.cli.common import table
from agent.toml_typed import expected


def describe(plugin: type[Plugin]) -> dict[str, Any]:
    """Name, title, text, settings and readings of one plugin class, JSON-able."""
    return {"name": plugin.name, "title": plugin.title or plugin.name, "text": (plugin.__doc__ or "").strip(),
            "interval_s": plugin.interval_s, "actuator": plugin.actuator, "settings": settings_of(plugin),
            "readings": [reading_of(prop) for prop in plugin.properties]}


def settings_of(plugin: type[Plugin]) -> list[dict[str, Any]]:
    """One row per key of the plugin's Config: what may be written and the default (None: it must be given)."""
    rows = []
    for field in msgspec.structs.fields(plugin.Config):
        default = field.default
        if default is NODEFAULT and field.default_factory is not NODEFAULT:
            default = field.default_factory()
        rows.append({"key": field.encode_name, "expected": expected(mi.type_info(field.type)),
                     "required": field.required, "default": None if default is NODEFAULT else _shown(default)})
    return rows


def _shown(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=str)


def reading_of(prop: Property) -> dict[str, Any]:
    """One row per property."""
    return {"name": prop.name, "title": title_of(prop), "datatype": prop.datatype, "unit": prop.unit,
            "settable": prop.settable, "event": prop.event, "optional": prop.optional,
            "device_class": prop.device_class, "state_class": prop.state_class, "max_age_s": prop.max_age_s}


def print_description(found: dict[str, Any]) -> None:
    """The same for a person."""
    click.echo(f"{found['name']}: {found['title']}")
    if found["text"]:
        click.echo(found["text"] + "\n")
    if found["settings"]:
        table(("SETTING", "DEFAULT", "EXPECTED"),
              [(row["key"], "(needed)" if row["required"] else json.dumps(row["default"]), row["expected"])
               for row in found["settings"]])
        click.echo("")
    marks = (("settable", "settable"), ("event", "event"), ("optional", "if there"))
    table(("READING", "UNIT", "DATATYPE", "WHAT IT IS"),
          [(row["name"], row["unit"] or "", row["datatype"],
            row["title"] + "".join(f", {word}" for key, word in marks if row[key])) for row in found["readings"]])

"""The OpenAPI 3.1 document of the API: made from one table and the very types that are sent."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from hub.energy.bill import Bill
from hub.logbook.model import SEVERITIES
from hub.store.logbook_rows import Line
from hub.store.reader import Chart, EventRow, LedgerRow, Sample, SeriesRow
from hub.web.ranges import RANGES


class NodeOut(Struct, frozen=True):
    """A node of a device; ``values`` as published (Homie 5 text)."""

    name: str
    health: str
    last_us: int | None
    silent: bool
    errors: int
    values: dict[str, str]


class DeviceOut(Struct, frozen=True):
    """A device as it is now. Times are microseconds since 1970 UTC."""

    id: str
    name: str
    state: str
    since_us: int | None = None
    last_us: int | None = None
    ahead_us: int = 0
    clock: str = ""
    waiting_samples: int = 0
    waiting_age_s: float = 0.0
    ledger_difference: int = 0
    version: str = ""
    alerts: dict[str, str] = {}
    nodes: dict[str, NodeOut] = {}


class AlertOut(Struct, frozen=True):
    """An alert: something that is wrong, with its life. Times are microseconds since 1970 UTC."""

    id: int
    key: str
    subject: str
    severity: str
    title: str
    code: str
    state: str
    """open, acknowledged or resolved"""
    since_us: int
    opened_us: int
    kept: str
    """What is safe."""
    do: str
    """The next step."""
    cause_id: int | None
    """The open alert that explains it: nobody is told of this one."""
    listed: int
    """How many open alerts are under it."""
    times: int
    told_us: int | None
    resolved_us: int | None
    acknowledged_by: str
    acknowledged_us: int | None
    silenced_until_us: int | None


class SilenceOut(Struct, frozen=True):
    id: int
    match: str
    why: str
    who: str
    from_us: int
    until_us: int


class AlertsOut(Struct, frozen=True):
    alerts: list[AlertOut]
    silences: list[SilenceOut]


class AcknowledgedOut(Struct, frozen=True):
    acknowledged: int


class QuarantineOut(Struct, frozen=True):
    """A message that could not be read. ``prefix``: its first bytes, as Python writes them."""

    id: int
    device: str
    topic: str
    code: str
    reason: str
    prefix: str
    sha256: str
    size: int
    n: int
    count: int
    first_us: int
    last_us: int


class Error(Struct, frozen=True):
    """What is wrong and what to do, in one line."""

    error: str


class SetIn(Struct, frozen=True, forbid_unknown_fields=True):
    """``value`` in the property's own datatype."""

    value: Any


class SetOut(Struct, frozen=True):
    """What came of a command: ``value`` is true now, ``before`` was published before (Homie text)."""

    text: str
    value: Any
    before: str | None


class Param(Struct, frozen=True):
    name: str
    text: str
    schema: dict[str, Any]
    where: str = "query"


class Operation(Struct, frozen=True):
    path: str
    """As Flask writes it, below /api/v1."""
    summary: str
    answer: Any
    params: tuple[Param, ...] = ()
    missing: bool = False
    """True when it may answer 404."""
    method: str = "get"
    body: Any = None
    """What a POST sends as JSON; None: parameters only."""


STRING, INTEGER = {"type": "string"}, {"type": "integer"}
DEVICE = Param("device", "only of this device", STRING)
SPAN = (
    Param("range", "up to now", {"type": "string", "enum": list(RANGES)}),
    Param("start", "ISO 8601 or microseconds since 1970 UTC, in place of range", STRING),
    Param("end", "likewise; default now", STRING),
)
ID = Param("series_id", "from /series", INTEGER, "path")
ALERT = Param("alert_id", "from /alerts", INTEGER, "path")
KEY = Param("Idempotency-Key", "of your choice: a call that is made again with it is not carried out again", STRING,
            "header")
WHICH = (Param("device", "where there are several", STRING), Param("node", "likewise", STRING))


def _call(path: str, summary: str, *params: tuple[str, str]) -> Operation:
    """A call of the older house's services: also at the root, parameters also by form or JSON."""
    return Operation(path, summary, str, (*(Param(name, text, STRING) for name, text in params), *WHICH, KEY), True,
                     "post")


PROFILE, UNTIL = ("profile", "its name"), ("expiration", "RFC 3339 with its zone, as 2026-11-26T22:00:00+01:00")
OR_NONE = ("profile", "its name; None ends the level")
SERVICE = ("service", "who asks")
OPERATIONS = (
    Operation("/openapi.json", "This document", dict[str, Any]),
    Operation("/devices", "All devices as they are now", list[DeviceOut]),
    Operation("/devices/<device_id>", "One device as it is now", DeviceOut,
              (Param("device_id", "its id", STRING, "path"),), True),
    Operation("/series", "What is stored, with the newest sample of each", list[SeriesRow], (DEVICE,)),
    Operation("/series/<int:series_id>", "One series", SeriesRow, (ID,), True),
    Operation("/series/<int:series_id>/chart", "Mean, minimum and maximum over a range", Chart,
              (ID, *SPAN, Param("points", "at most this many; default 1000", INTEGER)), True),
    Operation("/series/<int:series_id>/samples", "Samples as they came: [t_us, value, quality]", list[Sample],
              (ID, *SPAN, Param("limit", "at most this many; default all", INTEGER),
               Param("format", "default json", {"type": "string", "enum": ["json", "csv"]})), True),
    Operation("/latest", "The newest sample of each series", dict[str, Sample],
              (Param("series", "ids with commas between", STRING),)),
    Operation("/energy", "kWh, cost and standby of one meter by day or month", Bill,
              (DEVICE, Param("node", "the meter's node", STRING), Param("start", "first day, 2026-11-01", STRING),
               Param("end", "first day no longer taken", STRING),
               Param("per", "default day", {"type": "string", "enum": ["day", "month"]}),
               Param("format", "default json", {"type": "string", "enum": ["json", "csv"]})), True),
    Operation("/ledger", "Both sides of the ledger, per device and epoch", list[LedgerRow], (DEVICE,)),
    Operation("/events", "What the hub noticed, newest first", list[EventRow],
              (DEVICE, Param("since", "ISO 8601 or microseconds", STRING), Param("limit", "default 200", INTEGER))),
    Operation("/alerts", "What is wrong now, the oldest first, and the silences that go on", AlertsOut,
              (Param("state", "default open: all that is not over", {"type": "string", "enum": ["open", "resolved"]}),
               Param("limit", "of those that are over; default 200", INTEGER))),
    Operation("/alerts/<int:alert_id>", "One alert", AlertOut, (ALERT,), True),
    Operation("/alerts/<int:alert_id>/acknowledge", "Somebody has seen it: it goes up no further", AcknowledgedOut,
              (ALERT,), True, "post"),
    Operation("/quarantine", "What could not be read, newest first", list[QuarantineOut],
              (DEVICE, Param("limit", "default 100", INTEGER))),
    Operation("/devices/<device_id>/nodes/<node>/properties/<prop>", "Set a property, answered by the device", SetOut,
              (Param("device_id", "its id", STRING, "path"), Param("node", "its id", STRING, "path"),
               Param("prop", "Homie id or plain name", STRING, "path"), KEY), True, "post", SetIn),
    Operation("/status", "The heater: profiles, levels, temperatures, relay, aim", dict[str, Any], WHICH, True),
    _call("/set_profile", "Set the base profile; force_comfort, force_eco: for 2 h, or until expiration, at most 12 h",
          PROFILE, UNTIL),
    _call("/set_base_profile", "Set the base profile", PROFILE),
    _call("/set_suppl_profile", "Set or end the supplementary level", OR_NONE, UNTIL),
    _call("/set_except_profile", "Set or end the exceptional level", OR_NONE, UNTIL),
    _call("/send_SMS", "Send a text message", ("msisdn", "to whom"), ("text", "what")),
    _call("/announce", "Speak", SERVICE, ("announce", "what"), ("key", "of the lock"), ("volume", "0 to 100"),
          ("priority", "low, normal, high or alarm")),
    _call("/lock", "Keep others from speaking for a minute: answers the key", SERVICE),
    _call("/release", "End the lock", SERVICE),
    Operation("/add_to_logbook", "Add a line to the logbook; ALARM wakes somebody", str,
              (Param("machine", "where", STRING), Param("service", "what", STRING), Param("message", "", STRING),
               Param("log_type", "default INFO", {"type": "string", "enum": [
                   "DEBUG", "INFO", "WARNING", "ERROR", "ALARM"]}), KEY), False, "post"),
    Operation("/get_logbook", "Today's lines, newest first, with the older house's names", list[dict[str, Any]]),
    Operation("/logbook", "Lines of the logbook, newest first; the next page: before = the last one's n",
              list[Line],
              (Param("q", "words that must stand in it", STRING), Param("machine", "of this one", STRING),
               Param("service", "of this one", STRING),
               Param("severity", "at least", {"type": "string", "enum": list(SEVERITIES)}),
               Param("kind", "of this kind", STRING), Param("day", "of the house, 2026-11-25", STRING), *SPAN[1:],
               Param("before", "the number of a line", INTEGER), Param("limit", "default 200, at most 5000", INTEGER),
               Param("format", "default json", {"type": "string", "enum": ["json", "csv"]}))),
)


STATUSES = (("400", "bad parameter"), ("401", "no session and no token"), ("404", "there is none"))
COMMANDED = (
    ("403", "the token may only read"), ("409", "refused by the device, or another hub rules"),
    ("422", "the Idempotency-Key was used for something else"), ("429", "too many commands"),
    ("503", "the device is not connected: nothing was sent"), ("504", "no answer: the command is void by now"),
)


def document(hub_name: str) -> dict[str, Any]:
    """JSON-able."""
    kinds = [operation.answer for operation in OPERATIONS]
    bodies = [operation.body for operation in OPERATIONS if operation.body is not None]
    schemas, components = msgspec.json.schema_components([*kinds, *bodies, Error],
                                                         ref_template="#/components/schemas/{name}")
    error, given = schemas[-1], iter(schemas[len(kinds):])
    paths: dict[str, dict[str, Any]] = {}
    for operation, schema in zip(OPERATIONS, schemas, strict=False):
        content = {"text/plain" if operation.answer is str else "application/json": {"schema": schema}}
        if any(param.name == "format" for param in operation.params):
            content["text/csv"] = {"schema": STRING}
        answers: dict[str, Any] = {"200": {"description": "OK", "content": content}}
        more = COMMANDED if operation.method == "post" else (("503", "store unreadable"),)
        for status, text in (*STATUSES, *more):
            if status != "404" or operation.missing:
                answers[status] = {"description": text, "content": {"application/json": {"schema": error}}}
        told = paths.setdefault(openapi_path(operation.path), {})[operation.method] = {
            "summary": operation.summary,
            "operationId": operation.path.strip("/").replace("<int:", "").translate(str.maketrans("/<.", "___", ">:")),
            "parameters": [
                {"name": p.name, "in": p.where, "required": p.where == "path", "description": p.text,
                 "schema": p.schema}
                for p in operation.params
            ],
            "responses": answers,
        }
        if operation.body is not None:
            kind = next(given)
            told["requestBody"] = {"required": True, "content": {"application/json": {"schema": kind}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{hub_name}: Hutkeeper API", "version": "1",
                 "description": "Times are microseconds since 1970 UTC. What changes something is a POST with a token "
                                "that may command; calls of the older house answer with OK, a key, or ERROR: ..."},
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer"},
            "session": {"type": "apiKey", "in": "cookie", "name": "hutkeeper"},
        }},
    }


def openapi_path(path: str) -> str:
    """``/series/<int:series_id>`` -> ``/series/{series_id}``"""
    return path.replace("<int:", "<").replace("<", "{").replace(">", "}")

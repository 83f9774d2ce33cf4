"""The beginning of a rule's text from a series, a kind and a limit."""

from __future__ import annotations

import json
import re

KINDS = ("above", "below", "is", "is_not", "no_data", "never_zero", "rate", "forecast_above", "forecast_below",
         "frozen", "override")
_BODY = {
    "above": 'kind = "threshold"\nof = "{of}"\nabove = {number}\nhysteresis = 0\nhold_s = 60\n',
    "below": 'kind = "threshold"\nof = "{of}"\nbelow = {number}\nhysteresis = 0\nhold_s = 60\n',
    "is": 'kind = "state"\nof = "{of}"\nis = {word}\nhold_s = 60\n',
    "is_not": 'kind = "state"\nof = "{of}"\nis_not = {word}\nhold_s = 60\n',
    "no_data": 'kind = "no_data"\nof = "{of}"\nhold_s = 60\n',
    "never_zero": 'kind = "never_zero"\nof = "{of}"\nhours = 24\n',
    "rate": 'kind = "rate"\nof = "{of}"\nabove = {number}           # per hour\nwindow_s = 3600\n',
    "forecast_above": 'kind = "forecast"\nof = "{of}"\nabove = {number}\nwithin_days = 7\n',
    "forecast_below": 'kind = "forecast"\nof = "{of}"\nbelow = {number}\nwithin_days = 7\n',
    "frozen": 'kind = "frozen"\nof = "{of}"\nfor_s = 3600\n',
    "override": 'kind = "override"\nof = "{of}"\nhold_s = 1800\nbetween = "23:00-06:00"\n',
}
_HEAD = 'id = "{id}"\ntitle = ""              # what is so while it fires\n'
_TAIL = ('severity = "warning"    # info, warning, error, critical\n'
         'do = ""                 # the next step\n'
         'where = "hub"           # or the id of a device: then it is evaluated there, hub up or not\n'
         '# then = [{set = "hall/voice/say", value = "..."}]\n')


def text(series: str, kind: str, limit: str) -> str:
    """A whole rule, also from nothing or from nonsense: the page says what is wrong with it."""
    of = series[:200] if re.fullmatch(r"[a-z0-9.*?_/-]+", series) else "device/node/property"
    kind = kind if kind in KINDS else "above"
    limit = limit.strip()[:100]
    number = limit if re.fullmatch(r"-?\d+(\.\d+)?", limit) else "0"
    word = limit if limit in ("true", "false") or re.fullmatch(r"-?\d+(\.\d+)?", limit) else json.dumps(
        limit or "word", ensure_ascii=False)
    id_ = re.sub(r"[^a-z0-9]+", "-", f"{of.rpartition('/')[2]}-{kind}".lower()).strip("-")[:60] or "rule"
    return _HEAD.format(id=id_) + _BODY[kind].format(of=of, number=number, word=word) + _TAIL

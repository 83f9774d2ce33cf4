"""What the labels of Téléinfo mean: label -> property, format of its data, scale. Tables, and ``measure(frame)``.

Source: Enedis-NOI-CPT_54E sections 5.3.5 (historic) and 6.2.2 (standard).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from .frames import Measured
from .properties import COLOURS, PHASES
from .teleinfo import Frame, Group


@dataclass(frozen=True, slots=True)
class Label:
    """Where the value of a label goes and what it must look like; ``scale`` None: the text itself."""

    property: str
    format: re.Pattern[str]
    scale: float | None = None
    whole: bool = False
    upper: float | None = None


def _number(name: str, digits: int, scale: float = 1.0, *, whole: bool = False, upper: float | None = None) -> Label:
    return Label(name, re.compile(rf"\d{{{digits}}}", re.ASCII), scale, whole, upper)


def _text(name: str, pattern: str = r"[ -~]*") -> Label:
    return Label(name, re.compile(pattern))


def _energy(tariff: str, digits: int = 9) -> Label:
    return _number(f"active_energy_import_{tariff}_kwh" if tariff else "active_energy_import_kwh", digits, 0.001)


#: Registers whose sum is the import of the whole contract, by contract.
TOTALS = (
    ("HCHC", "HCHP"), ("EJPHN", "EJPHPM"),
    ("BBRHCJB", "BBRHPJB", "BBRHCJW", "BBRHPJW", "BBRHCJR", "BBRHPJR"),
)

HISTORIC: dict[str, Label] = {
    "ADCO": _text("meter_id", r"\d{12}"),
    "OPTARIF": _text("contract", r"BASE|HC\.\.|EJP\.|BBR[ -~]"),
    "ISOUSC": _number("subscribed_current_a", 2),
    "BASE": _energy(""),
    "HCHC": _energy("off_peak"), "HCHP": _energy("peak"),
    "EJPHN": _energy("normal"), "EJPHPM": _energy("mobile_peak"),
    "BBRHCJB": _energy("blue_off_peak"), "BBRHPJB": _energy("blue_peak"),
    "BBRHCJW": _energy("white_off_peak"), "BBRHPJW": _energy("white_peak"),
    "BBRHCJR": _energy("red_off_peak"), "BBRHPJR": _energy("red_peak"),
    "PEJP": _number("ejp_notice_min", 2, whole=True),
    "PTEC": _text("tariff", r"TH\.\.|HC\.\.|HP\.\.|HN\.\.|PM\.\.|H[CP]J[BWR]"),
    "DEMAIN": _text("tariff_tomorrow", r"----|BLEU|BLAN|ROUG"),
    "IINST": _number("phase_current_l1_a", 3), "IMAX": _number("phase_current_max_l1_a", 3),
    "ADPS": _number("over_subscription_l1_a", 3),
    "PMAX": _number("active_power_max_w", 5),
    "PAPP": _number("apparent_power_va", 5, upper=45_000),
    "HHPHC": _text("schedule_group", r"[A-Y]"),
    "MOTDETAT": _text("status_register", r"[0-9A-Fa-f]{6}"),
    "PPOT": _text("", r"[0-9A-Fa-f]{2}"),
    "GAZ": _text("", r"\d{7}"), "AUTRE": _text("", r"\d{7}"),
    **{f"IINST{n}": _number(f"phase_current_{p}_a", 3) for n, p in enumerate(PHASES, 1)},
    **{f"IMAX{n}": _number(f"phase_current_max_{p}_a", 3) for n, p in enumerate(PHASES, 1)},
    **{f"ADIR{n}": _number(f"over_subscription_{p}_a", 3) for n, p in enumerate(PHASES, 1)},
}

STANDARD: dict[str, Label] = {
    "ADSC": _text("meter_id", r"[0-9A-Fa-f]{12}"),
    "VTIC": _text("protocol_version", r"\d{2}"),
    "DATE": _text("meter_time", r""),
    "NGTF": _text("contract", r"[ -~]{1,16}"),
    "LTARF": _text("tariff_label", r"[ -~]{1,16}"),
    "EAST": _energy(""),
    **{f"EASF{n:02d}": _energy(f"t{n}") for n in range(1, 11)},
    **{f"EASD{n:02d}": _energy(f"d{n}") for n in range(1, 5)},
    "EAIT": _number("active_energy_export_kwh", 9, 0.001),
    **{f"ERQ{n}": _number(f"reactive_energy_q{n}_kvarh", 9, 0.001) for n in range(1, 5)},
    **{f"IRMS{n}": _number(f"phase_current_{p}_a", 3) for n, p in enumerate(PHASES, 1)},
    **{f"URMS{n}": _number(f"voltage_{p}_v", 3, upper=300) for n, p in enumerate(PHASES, 1)},
    **{f"UMOY{n}": _number(f"voltage_average_{p}_v", 3, upper=300) for n, p in enumerate(PHASES, 1)},
    "PREF": _number("reference_power_kva", 2), "PCOUP": _number("cutoff_power_kva", 2),
    "SINSTS": _number("apparent_power_va", 5, upper=45_000),
    "SINSTI": _number("apparent_power_export_va", 5, upper=45_000),
    "SMAXSN": _number("apparent_power_max_va", 5, upper=45_000),
    "SMAXSN-1": _number("apparent_power_max_yesterday_va", 5, upper=45_000),
    "SMAXIN": _number("apparent_power_export_max_va", 5, upper=45_000),
    "SMAXIN-1": _number("apparent_power_export_max_yesterday_va", 5, upper=45_000),
    **{f"SINSTS{n}": _number(f"apparent_power_{p}_va", 5, upper=45_000) for n, p in enumerate(PHASES, 1)},
    **{f"SMAXSN{n}": _number(f"apparent_power_max_{p}_va", 5, upper=45_000) for n, p in enumerate(PHASES, 1)},
    **{f"SMAXSN{n}-1": _number(f"apparent_power_max_yesterday_{p}_va", 5, upper=45_000)
       for n, p in enumerate(PHASES, 1)},
    "CCASN": _number("active_power_load_curve_w", 5, upper=45_000),
    "CCASN-1": _number("", 5), "CCAIN-1": _number("", 5),
    "CCAIN": _number("active_power_load_curve_export_w", 5, upper=45_000),
    "STGE": _text("status_register", r"[0-9A-Fa-f]{8}"),
    **{f"{a}PM{n}": _text("mobile_peak_start" if a == "D" and n == 1 else "mobile_peak_end" if n == 1 else "",
                          r"\d{2}") for a in "DF" for n in (1, 2, 3)},
    "MSG1": _text("message", r"[ -~]{1,32}"), "MSG2": _text("message_short", r"[ -~]{1,16}"),
    "PRM": _text("delivery_point", r"\d{14}"),
    "RELAIS": _number("relays", 3, whole=True),
    "NTARF": _number("tariff_index", 2, whole=True),
    "NJOURF": _number("day_index", 2, whole=True), "NJOURF+1": _number("day_index_tomorrow", 2, whole=True),
    "PJOURF+1": _text("day_profile_tomorrow", r"(?:(?:[0-9A-F]{8}|NONUTILE) ?)+"),
    "PPOINTE": _text("peak_day_profile", r"(?:(?:[0-9A-F]{8}|NONUTILE) ?)+"),
}

PTEC = {
    "TH..": "base", "HC..": "off_peak", "HP..": "peak", "HN..": "normal", "PM..": "mobile_peak",
    "HCJB": "blue_off_peak", "HPJB": "blue_peak", "HCJW": "white_off_peak", "HPJW": "white_peak",
    "HCJR": "red_off_peak", "HPJR": "red_peak",
}
DEMAIN = {"----": "unknown", "BLEU": "blue", "BLAN": "white", "ROUG": "red"}


def known(group: Group) -> Label | None:
    return (STANDARD if group.standard else HISTORIC).get(group.label)


def horodate(text: str) -> str | None:
    """``E220615123456`` -> ISO 8601 with the offset that E (summer) or H (winter) says; None if it is no date.

    A small letter or a space means that the meter does not trust its own clock: no value."""
    offset = {"E": 2, "H": 1}.get(text[:1])
    if offset is None:
        return None
    try:
        moment = datetime.strptime(text[1:], "%y%m%d%H%M%S")
    except ValueError:
        return None
    return moment.replace(tzinfo=timezone(timedelta(hours=offset))).isoformat()


def measure(group: Group) -> Measured | None:
    """The value of one group, or None where the label is unknown, has no property, or its data has a wrong form."""
    row = known(group)
    if row is None or not row.format.fullmatch(group.data):
        return None
    if group.label == "DATE":
        stamp = horodate(group.horodate)
        return Measured("meter_time", stamp) if stamp else None
    if not row.property:
        return None
    if row.scale is None:
        text = {"PTEC": PTEC, "DEMAIN": DEMAIN}.get(group.label, {}).get(group.data, group.data.strip())
        if row.property.startswith("mobile_peak_"):
            text = horodate(group.horodate) or ""
        return Measured(row.property, text) if text else None
    number = int(group.data)
    if row.upper is not None and number > row.upper:
        return None
    if row.whole:
        return Measured(row.property, number)
    # 0.001 is not exact in binary: dividing is rounded right, multiplying is not.
    return Measured(row.property, number / 1000 if row.scale == 0.001 else float(number) * row.scale)


def derived(group: Group) -> Iterator[Measured]:
    """What follows from one group: the running tariff's name, and three fields of the status register."""
    if group.label == "NTARF" and 1 <= int(group.data) <= 10:
        yield Measured("tariff", f"t{int(group.data)}")
    if group.label == "STGE":
        register = int(group.data, 16)
        yield Measured("overload", bool(register >> 7 & 1))
        for name, shift in (("tariff_today", 24), ("tariff_tomorrow", 26)):
            if register >> shift & 3:
                yield Measured(name, COLOURS[register >> shift & 3])


def totals(frame: Frame, accepted: set[str]) -> Measured | None:
    """The sum of a contract's registers, when every one of them was accepted in this frame."""
    data = {group.label: group.data for group in frame.groups if group.label in accepted}
    for labels in TOTALS:
        if all(label in data for label in labels):
            return Measured("active_energy_import_kwh", sum(int(data[label]) for label in labels) / 1000)
    return None

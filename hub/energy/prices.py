"""``[energy]`` of hub.toml: what a kilowatt-hour costs, by register of the meter and since when.

```toml
[energy]
currency = "EUR"
timezone = "Europe/Paris"       # where a day begins; left out: this machine's
[[energy.tariff]]
since = 2026-01-01
import_per_kwh = { peak = 0.27, off_peak = 0.2068 }      # or one price: 0.2516
export_per_kwh = 0.1
standing_per_day = 0.52
[[energy.tariff]]               # from this day on, and only for the meters that match
since = 2026-08-01
match = "*/main-meter"          # <device>/<node>, * and ? allowed
import_per_kwh = 0.2016
```
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import Annotated
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

Price = Annotated[float, Meta(ge=-100_000, le=100_000)]
ANY = "any"
"""Key of ``import_per_kwh`` for the registers that are not named."""


class Tariff(Struct, frozen=True, kw_only=True):
    """``[[energy.tariff]]``. Prices are in ``energy.currency``, with tax or without: as the owner wants to see them."""

    since: date
    match: Annotated[str, Meta(min_length=1)] = "*/*"
    import_per_kwh: Price | dict[str, Price]
    """One price, or one for each register (``peak``, ``t1``, ``blue_off_peak``, ...; ``any``: those not named)."""
    export_per_kwh: Price = 0.0
    standing_per_day: Price = 0.0

    def import_price(self, register: str) -> float | None:
        """None: this register has no price here."""
        if isinstance(self.import_per_kwh, dict):
            return self.import_per_kwh.get(register, self.import_per_kwh.get(ANY))
        return self.import_per_kwh


class Energy(Struct, frozen=True, kw_only=True):
    """``[energy]``."""

    currency: Annotated[str, Meta(min_length=1, max_length=8)] = "EUR"
    timezone: str | None = None
    tariff: tuple[Tariff, ...] = ()

    def __post_init__(self) -> None:
        if self.timezone is not None:
            try:
                ZoneInfo(self.timezone)
            except (ValueError, OSError, KeyError):
                raise ValueError(f"timezone: {self.timezone!r}: no such zone; write it as Europe/Paris") from None

    def tariffs_of(self, device: str, node: str) -> list[Tariff]:
        """Those for one meter, the oldest first; of two with the same day the later in the file counts."""
        return sorted((one for one in self.tariff if fnmatchcase(f"{device}/{node}", one.match)),
                      key=lambda one: one.since)

    def day_of(self, t_us: int) -> date:
        """The local day of a moment (microseconds since 1970 UTC)."""
        zone = ZoneInfo(self.timezone) if self.timezone else None
        return datetime.fromtimestamp(t_us // 1_000_000, zone).date()

    def begin_us(self, day: date) -> int:
        """When a local day begins."""
        zone = ZoneInfo(self.timezone) if self.timezone else None
        return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1_000_000


def in_force(tariffs: Iterable[Tariff], day: date) -> Tariff | None:
    """The newest that has begun; None before the first."""
    found = None
    for one in tariffs:
        if one.since <= day:
            found = one
    return found

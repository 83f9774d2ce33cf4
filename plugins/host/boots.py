"""Has the machine booted since we last looked, and why did it go down? Hints of the kernel and firmware, in order of
how sure they are; "unknown" where there is none.

``kept`` holds one key per boot that this plugin has seen: keys of other boots tell what was known at their end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from .proc import number, read

Reason = Literal["clean", "power_loss", "watchdog", "panic", "unknown"]
REASONS: tuple[Reason, ...] = ("clean", "power_loss", "watchdog", "panic", "unknown")
KEY = "boot:"
PM_RSTS = ("proc/device-tree/chosen/bootloader/rsts", "proc/device-tree/chosen/bootloader/pm_rsts")
HAD_POWER_ON_RESET = 0x1000
"""Bit HADPOR of PM_RSTS (Raspberry Pi): this boot began with the supply coming up; a warm one has 0x20."""
PMIC_RESET = "proc/device-tree/chosen/power/power_reset"
PMIC_VOLTAGE, PMIC_WATCHDOG = 0x03, 0x10
"""Raspberry Pi 5: the power chip cut the supply for over- or under-voltage, or its watchdog did."""
WDIOF_CARDRESET = 0x20
"""include/uapi/linux/watchdog.h: the watchdog caused the last reset."""


def boot_id(root: Path) -> str | None:
    """The kernel's id of this boot, 32 hex digits."""
    text = read(root / "proc/sys/kernel/random/boot_id")
    return text.strip().replace("-", "") if text and text.strip() else None


def enter(kept: dict[str, Any], current: str) -> dict[str, Any] | None:
    """Note this boot in ``kept``; what was known of the boot before it, once, or None (no other boot was seen)."""
    before = [(key.removeprefix(KEY), kept.pop(key)) for key in list(kept)
              if key.startswith(KEY) and key != KEY + current]
    if KEY + current not in kept or kept[KEY + current].get("stopped"):
        kept[KEY + current] = {"stopped": False}
    known = [item | {"boot": boot} for boot, item in before if isinstance(item, dict)]
    return known[-1] if known else None


def leave(kept: dict[str, Any], current: str) -> None:
    """Note that we were asked to stop: if the machine goes down now, it does so in order."""
    kept[KEY + current] = {"stopped": True}


def by_watchdog(book: Path, before: dict[str, Any]) -> str | None:
    """Why the agent's watchdog ended that boot, by its ``reboots.json``; None: it did not."""
    try:
        reboots = json.loads(book.read_text())
        return next((str(one["why"]) for one in reversed(reboots) if one["boot"] == before.get("boot")), None)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def reason(root: Path, before: dict[str, Any], ordered: str | None = None) -> Reason:
    """Why the machine went down before this boot. ``ordered``: what :func:`by_watchdog` says."""
    if ordered is not None:
        return "watchdog"
    if _fresh_dump(root):
        return "panic"
    pmic = _cell(root / PMIC_RESET)
    if pmic & PMIC_WATCHDOG or any(
            (number(device / "bootstatus") or 0) & WDIOF_CARDRESET
            for device in (root / "sys/class/watchdog").glob("watchdog*")):
        return "watchdog"
    if before.get("stopped"):
        return "clean"
    if pmic & PMIC_VOLTAGE or any(_cell(root / path) & HAD_POWER_ON_RESET for path in PM_RSTS):
        return "power_loss"
    return "unknown"


def _fresh_dump(root: Path) -> bool:
    """A crash dump of the boot before: still in pstore, or moved away by systemd-pstore during this boot."""
    if any((root / "sys/fs/pstore").glob("dmesg-*")):
        return True
    stat = read(root / "proc/stat") or ""
    began = next((line.split()[1:2] for line in stat.splitlines() if line.startswith("btime ")), [])
    if not began or not began[0].isdigit():
        return False
    for dump in (root / "var/lib/systemd/pstore").glob("*/dmesg*"):
        try:
            if dump.stat().st_mtime >= int(began[0]):
                return True
        except OSError:
            continue  # removed while we looked
    return False


def _cell(path: Path) -> int:
    """A 32-bit big-endian cell of the device tree; 0 where there is none."""
    try:
        return int.from_bytes(path.read_bytes()[:4], "big")
    except OSError:
        return 0

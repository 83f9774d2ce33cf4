"""The optional Homie 4 mirror (``[mirror] homie4 = true``): every Homie 5 device of the broker once more as controllers
of the older convention read it, openHAB among them. :mod:`hub.mirror.homie4` says what stands where and knows no MQTT,
:mod:`hub.mirror.service` keeps it so."""

from __future__ import annotations

from hub.settings import Settings


def main(settings: Settings) -> None:
    """Run the mirror in the foreground until SIGTERM; exits 1 when its live tree died (B64)."""
    from hub.mirror.service import main as run

    run(settings)

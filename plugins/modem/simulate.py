"""A stick with a friendly network for ``simulate = true``: it delivers, reports, writes now and then, has a balance."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from .fake_modem import FakeModem
from .fake_network import Submitted

FIRST_S, EVERY_S, REPORT_S = 2.0, 600.0, 1.5
SAID = ("Tout va bien ?", "Merci, bien reçu", "Je rentre à 18 h", "How warm is it? 🏠")


@contextlib.contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config with ``port`` on a pty that has a modem behind it; its SIM asks for no PIN."""
    rng = random.Random(seed)
    writers = [*config.allow, "+33700000099"]
    with tempfile.TemporaryDirectory(prefix="modem-") as folder, FakeModem(Path(folder)) as modem:
        balance = round(rng.uniform(5, 20), 2)

        def delivered(message: Submitted) -> None:
            if message.report:
                modem.later(REPORT_S, lambda: modem.report(message.reference, message.to))

        def write() -> None:
            modem.csq = max(2, min(31, modem.csq + rng.randint(-2, 2)))
            modem.incoming(writers[0] if rng.random() < 0.8 else writers[-1], rng.choice(SAID))
            modem.later(EVERY_S, write)

        modem.after_submit = delivered
        modem.ussd = lambda code: f'+CUSD: 0,"Votre solde est de {balance:.2f} EUR, valable 30 jours",15'
        modem.later(FIRST_S, write)
        yield msgspec.structs.replace(config, port=modem.port, pin_file="")

"""The embedded broker: what ``hutkeeper-hub broker`` runs when hub.toml names no ``[mqtt] host``.

A private ``mosquitto`` child, else the pip-installed ``iotcore`` (MQTT 5 on loopback, nothing kept over a restart, no
TLS, no ACL: for demo and tests only). The rest of the hub knows neither: it connects to ``settings.broker_port``.
"""

from __future__ import annotations

import sys
import time

from hub.broker.child import BrokerError, print_line
from hub.broker.conf import TlsFiles
from hub.broker.keeper import Keeper, Plan
from hub.logbook import handler
from hub.settings import Settings
from hub.watch.pulse import Pulse

__all__ = ["BrokerError", "Keeper", "Plan", "main", "plan"]

RENEW_S = 600.0
"""How often the hub's certificate is compared with this machine's names and addresses."""


def plan(settings: Settings) -> Plan:
    """What hub.toml asks for. The TLS listener opens with the hub's CA, which is made at the first pairing."""
    data_dir, names = settings.hub.data_dir, settings.broker.names
    renewed_s = float("-inf")
    told = ""

    def tls() -> TlsFiles | None:
        nonlocal renewed_s
        if not (data_dir / "ca" / "ca.pem").exists():
            return None
        from hub import ca  # cryptography: only where it is needed

        authority = ca.Authority(ca.folder(data_dir))
        if time.monotonic() - renewed_s > RENEW_S:
            authority = ca.ensure(data_dir, names)
            renewed_s = time.monotonic()
        return TlsFiles(authority.ca_path, authority.cert_path, authority.hub_key_path, authority.crl_path)

    def reads() -> dict[str, list[str]]:
        if not (data_dir / "ca" / "pairing.json").exists():
            return {}
        from hub.pairing.registry import PairingError, Registry

        nonlocal told
        try:
            return Registry(data_dir).reads()
        except PairingError as error:  # without the book nobody reads another device's inputs
            if told != str(error):
                told = str(error)
                print_line(told)
            return {}

    return Plan(
        state_dir=settings.hub.data_dir / "broker",
        run_dir=settings.hub.run_dir,
        port=settings.broker.port,
        tls_listen=settings.broker.tls_listen,
        tls_port=settings.broker.tls_port,
        max_devices=settings.broker.max_devices,
        save_s=settings.broker.save_s,
        tls=tls,
        reads=reads,
        foreign=tuple((one.device, way, topic) for one in settings.broker.foreign
                      for way, topics in (("read", one.read), ("write", one.write)) for topic in topics),
        program=settings.broker.program,
        moved=Pulse(settings.hub.run_dir, "broker").beat,
    )


def main(settings: Settings) -> None:
    """Run the broker in the foreground until SIGTERM; its log goes to standard output. Exits 1 with one line."""
    if not settings.embedded_broker:
        sys.exit(f"hub.toml: [mqtt] host is {settings.mqtt.host}: that broker is used, there is none to start here")
    handler.install(settings.hub.run_dir, "broker")
    try:
        Keeper(plan(settings)).run()
    except BrokerError as error:
        sys.exit(f"broker: {error}")
    except OSError as error:
        sys.exit(f"broker: {error}: check the folders [hub] data_dir and run_dir in hub.toml and who owns them")

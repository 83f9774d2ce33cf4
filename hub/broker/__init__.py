"""The embedded broker: what ``hutkeeper-hub broker`` runs when hub.toml names no ``[mqtt] host``.

A private ``mosquitto`` child, else the pip-installed ``iotcore`` (MQTT 5 on loopback, nothing kept over a restart, no
TLS, no ACL: for demo and tests only). The rest of the hub knows neither: it connects to ``settings.broker_port``.
"""

from __future__ import annotations

import sys

from hub.broker.child import BrokerError
from hub.broker.keeper import Keeper, Plan
from hub.settings import Settings

__all__ = ["BrokerError", "Keeper", "Plan", "main", "plan"]


def plan(settings: Settings) -> Plan:
    """What hub.toml asks for."""
    return Plan(
        state_dir=settings.hub.data_dir / "broker",
        run_dir=settings.hub.run_dir,
        port=settings.broker.port,
        tls_listen=settings.broker.tls_listen,
        tls_port=settings.broker.tls_port,
    )


def main(settings: Settings) -> None:
    """Run the broker in the foreground until SIGTERM; its log goes to standard output. Exits 1 with one line."""
    if not settings.embedded_broker:
        sys.exit(f"hub.toml: [mqtt] host is {settings.mqtt.host}: that broker is used, there is none to start here")
    try:
        Keeper(plan(settings)).run()
    except BrokerError as error:
        sys.exit(f"broker: {error}")
    except OSError as error:
        sys.exit(f"broker: {error}: check the folders [hub] data_dir and run_dir in hub.toml and who owns them")

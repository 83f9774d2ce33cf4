"""``/metrics`` for Prometheus: read at each scrape from the live tree and the store, in a registry of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from hub.fleet.answers import ORDER
from hub.store import alert_rows
from hub.store.errors import StoreError
from hub.web.access import needs
from hub.web.house import Hut

STATES = ("live", "silent", "ahead", "init", "sleeping", "disconnected", "lost", "unknown")


class HubMetrics(Collector):
    """Figures of this moment; a family that cannot be read is left out and ``hutkeeper_store_readable`` is 0."""

    def __init__(self, hut: Hut) -> None:
        self._hut = hut

    def collect(self) -> Iterator[Metric]:
        hut = self._hut
        house = hut.house()
        yield GaugeMetricFamily("hutkeeper_broker_connected", "1 while the web process has the broker", house.broker_up)
        ready = house.hub is not None and house.hub.state == "ready"
        yield GaugeMetricFamily("hutkeeper_ingest_ready", "1 while ingest takes samples", ready)
        yield GaugeMetricFamily("hutkeeper_live_pages", "Open event streams", hut.streams.open)
        yield from self._devices()
        try:
            yield from self._store()
            readable = 1
        except StoreError:
            readable = 0
        try:
            yield from self._alerts()
            known = 1
        except StoreError:
            known = 0
        yield GaugeMetricFamily("hutkeeper_alerts_readable", "1 while the alerts can be read", known)
        yield GaugeMetricFamily("hutkeeper_store_readable", "1 while the history can be read", readable)

    def _devices(self) -> Iterator[Metric]:
        fleet = self._hut.fleet()
        now_us = self._hut.now_us()
        by_state = Counter(device.state for device in fleet.devices)
        states = GaugeMetricFamily("hutkeeper_devices", "Devices by state", labels=["state"])
        for state in STATES:
            states.add_metric([state], by_state[state])
        waiting = GaugeMetricFamily("hutkeeper_spool_samples", "Samples waiting on the device", labels=["device"])
        oldest = GaugeMetricFamily("hutkeeper_spool_oldest_seconds", "Age of the oldest waiting sample",
                                   labels=["device"])
        age = GaugeMetricFamily("hutkeeper_last_sample_age_seconds", "Age of the newest sample", labels=["device"])
        difference = GaugeMetricFamily("hutkeeper_ledger_difference_samples", "Ledger difference that has settled",
                                       labels=["device"])
        bad = GaugeMetricFamily("hutkeeper_plugins_unwell", "Plugins failed, degraded or silent", labels=["device"])
        for device in fleet.devices:
            if device.state != "unknown":
                waiting.add_metric([device.id], device.waiting_samples)
                oldest.add_metric([device.id], device.waiting_age_s)
                bad.add_metric([device.id], len(device.bad_plugins))
            if device.last_us is not None:
                age.add_metric([device.id], max(0.0, (now_us - device.last_us) / 1e6))
            difference.add_metric([device.id], fleet.differences.get(device.id, 0))
        yield from (states, waiting, oldest, age, difference, bad)
        severities = GaugeMetricFamily("hutkeeper_problems", "Open problems by severity", labels=["severity"])
        for severity, n in Counter(problem.severity for problem in fleet.problems).items():
            severities.add_metric([severity], n)
        yield severities

    def _alerts(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("hutkeeper_alerts", "Alerts that are not over; child: another one explains it",
                                   labels=["severity", "state"])
        counts = alert_rows.counts(self._hut.alerts)
        for severity in ORDER:
            for state in ("open", "acknowledged", "silenced", "child"):
                family.add_metric([severity, state], counts.get((severity, state), 0))
        yield family

    def _store(self) -> Iterator[Metric]:
        reader = self._hut.history.reader
        if not reader.path.exists():
            return
        names = ("stored", "quarantined", "dropped", "duplicates")
        counts: dict[str, Counter[str]] = {name: Counter() for name in names}
        lag_s = 0.0
        for row in reader.ledger():
            counts["stored"][row.device] += row.stored
            counts["quarantined"][row.device] += row.quarantined
            counts["dropped"][row.device] += sum(row.dropped.values())
            counts["duplicates"][row.device] += row.duplicates
        for device in self._hut.fleet().devices:
            lag_s = max(lag_s, device.waiting_age_s if device.state in ("live", "silent") else 0.0)
        for name, of in counts.items():
            unit = "batches" if name == "duplicates" else "samples"
            family = CounterMetricFamily(f"hutkeeper_{unit}_{name}", f"{unit.capitalize()} {name}", labels=["device"])
            for device_id, n in of.items():
                family.add_metric([device_id], n)
            yield family
        yield GaugeMetricFamily("hutkeeper_ingest_lag_seconds", "Oldest sample a connected device still waits with",
                                lag_s)


def blueprint(hut: Hut) -> Blueprint:
    bp = Blueprint("metrics", __name__)
    registry = CollectorRegistry()
    registry.register(HubMetrics(hut))

    @bp.get("/metrics")
    @needs("viewer", token=True)
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return bp

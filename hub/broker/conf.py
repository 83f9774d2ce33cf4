"""What the broker is told: mosquitto.conf, its ACL, and the TOML of the pip-installed broker. Pure text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from agent.wire import topics

MAX_PACKET_BYTES = 1 << 20
"""A batch is at most 256 KiB; a larger packet would block the queue behind it (the sender is told in CONNACK)."""
WINDOW = 20
"""Batches that one device may have in flight without a receipt (DESIGN.md section 4)."""
MAX_QUEUED_BYTES = 256 << 20
MAX_KEEPALIVE_S = 120
MEMORY_LIMIT_BYTES = 1 << 30


class TlsFiles(Struct, frozen=True):
    """The hub's side of the TLS listener, all PEM."""

    ca: Path
    cert: Path
    key: Path
    crl: Path


def mosquitto_conf(
    *, port: int, state_dir: Path, acl: Path, max_devices: int, user: str | None = None, save_s: int = 0,
    tls: TlsFiles | None = None, tls_listen: str = "0.0.0.0", tls_port: int = 8883,
) -> str:
    """mosquitto.conf(5) for Mosquitto 2.x: plain on 127.0.0.1 only, devices by certificate on ``tls_port``.

    user: set when we are root, else mosquitto would change to a user that cannot read ``state_dir``.
    save_s: seconds between two saves of the state; 0: at every change."""
    lines = [
        "# Written by hutkeeper at every start of the broker; changes are lost.",
        *([f"user {user}"] if user else []),
        "per_listener_settings true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        # default autosave (30 min) loses every acknowledged message at kill -9; this writes at each change
        "persistence true",
        f"persistence_location {state_dir}/",
        f"autosave_on_changes {'false' if save_s else 'true'}",
        f"autosave_interval {save_s or 1}",
        "persistent_client_expiration 7d",
        "set_tcp_nodelay true",
        f"max_packet_size {MAX_PACKET_BYTES}",
        # beyond the queue mosquitto drops silently: room for the whole window of every device
        f"max_queued_messages {WINDOW * max_devices}",
        f"max_queued_bytes {MAX_QUEUED_BYTES}",
        # ingest acknowledges after its commit: the default of 20 would be 20 batches a commit
        f"max_inflight_messages {WINDOW * 50}",
        f"max_keepalive {MAX_KEEPALIVE_S}",
        f"memory_limit {MEMORY_LIMIT_BYTES}",
        "",
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
    ]
    if tls is not None:
        lines += [
            "",
            f"listener {tls_port} {tls_listen}",
            f"cafile {tls.ca}",
            f"certfile {tls.cert}",
            f"keyfile {tls.key}",
            f"crlfile {tls.crl}",
            "tls_version tlsv1.2",
            "require_certificate true",
            "use_identity_as_username true",
            # the certificate names the session too, so no device can take over the session of another
            "use_username_as_clientid true",
            "allow_anonymous false",
            f"acl_file {acl}",
            f"max_connections {2 * max_devices}",
        ]
    return "\n".join(lines) + "\n"


def acl(reads: Mapping[str, Sequence[str]], foreign: Sequence[tuple[str, str, str]] = ()) -> str:
    """Who may read and write what; ``%u`` is the name in the certificate.

    reads: device -> inputs that it may read, each ``<other device>/<plugin>`` (the live lane of that plugin).
    foreign: (device or ``*``, ``read`` or ``write``, topic of others)."""
    own = f"{topics.OURS}/%u"
    config = topics.discovery("%u", "+")
    write = [topics.homie("%u", "#"), f"{own}/records", f"{own}/response/#", f"{own}/reported", f"{own}/live/#", config]
    read = [
        # the own tree and announcement, to clear what a removed plugin left there
        topics.homie("%u", "#"), config,
        topics.homie("%u", "+", "+", "set"),
        f"{own}/receipt", f"{own}/request/#", f"{own}/desired",
        f"{own}/reported",  # an epoch there that is not ours is a twin of this device (B12)
        topics.HUB_STATE, f"{topics.DISCOVERY}/status",
    ]
    lines = ["# Written by hutkeeper at every start of the broker; changes are lost."]
    lines += [f"pattern write {topic}" for topic in write]
    lines += [f"pattern read {topic}" for topic in read]
    lines += [f"pattern {way} {topic}" for device, way, topic in foreign if device == "*"]
    for device in sorted({*reads, *(device for device, _, _ in foreign if device != "*")}):
        lines += ["", f"user {device}"]
        lines += [f"topic read {topics.live(*name.split('/', 1))}" for name in sorted(reads.get(device, ()))]
        lines += [f"topic {way} {topic}" for owner, way, topic in foreign if owner == device]
    return "\n".join(lines) + "\n"


def rumqttd_toml(port: int, max_devices: int) -> str:
    """A single MQTT 5 listener on loopback for iotcore (rumqttd 0.20). It keeps nothing and knows no rights."""
    return f"""\
# Written by hutkeeper at every start of the broker; changes are lost.
id = 0

[router]
id = 0
max_connections = {max_devices + 10}
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "loopback"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 0

[v5.1.connections]
connection_timeout_ms = 5000
max_payload_size = {MAX_PACKET_BYTES}
max_inflight_count = 500
dynamic_filters = true
"""

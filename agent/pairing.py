"""``hutkeeper-agent pair HUB_URL CODE``: this device's half of agent.wire.pairing.

The key is made here and never leaves; the hub's CA is trusted because the hub proved that it knows the code. Standard
library and the ``openssl`` program only: a Pi needs no cryptography package for the one time that it is paired.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct

from agent.api import PluginError
from agent.settings import DATA_DIR, is_loopback
from agent.toml_typed import read_source
from agent.wire import pairing, topics

TIMEOUT_S = 30.0
OPENSSL_S = 120.0
BROKER_S = 15.0
"""So long the broker may take to open its TLS listener after the very first pairing of a house."""
FILES = {"ca": "ca.pem", "cert": "device.pem", "key": "device.key"}


class PairError(PluginError):
    """Why the device is not paired and what to do, in one line."""


class Paired(Struct, frozen=True):
    """What was done."""

    device: str
    hub: str
    files: dict[str, Path]
    written: list[str]
    """Keys that were added to ``[mqtt]`` of agent.toml."""
    hints: list[str]
    """What is left for a person to do, one line each."""


def pair(config: Path, url: str, code: str, device: str | None = None) -> Paired:
    """Pair this device with the hub at ``url``: certificate on the disk, ``[mqtt]`` of ``config`` completed.

    device: the id where agent.toml has none yet. Raises PairError (nothing is changed) and SettingsError (agent.toml
    is no TOML)."""
    address = hub_address(url)
    try:
        selector, secret = pairing.split(code)
    except pairing.BadCode as error:
        raise PairError(str(error)) from None
    raw = read_source(config).raw if config.exists() else {}
    name = _device_id(raw, device, config)
    files = _places(raw, config)
    owner = _owner(raw, config)
    with _workshop(files["key"].parent) as room:
        csr = _new_key(room, name)
        hello = pairing.encode(pairing.Hello(
            v=pairing.VERSION, code=selector, device=name, nonce=secrets.token_bytes(pairing.NONCE_BYTES), csr=csr,
            inputs=_inputs(raw)))
        offered = _post(address, "/pair/hello", hello, pairing.Offered)
        offer, key, said = _trust(hello, offered, secret, address)
        host = offer.mqtt_host or str(address.hostname)
        if offer.names and host.lower() not in {name.lower() for name in offer.names}:
            raise PairError(f"the hub's certificate does not name {host}: use one of {', '.join(offer.names)}, or add"
                            f" {host} to [broker] names in hub.toml")
        sign = pairing.encode(pairing.Sign(offer.nonce, pairing.proof(key, "device", said)))
        signed = _post(address, "/pair/sign", sign, pairing.Signed)
        if not pairing.same(signed.proof, pairing.proof(key, "certificate", said, signed.certificate.encode())):
            raise PairError(f"the certificate was changed on its way from {url}: somebody sits between, look for them")
        (room / FILES["ca"]).write_text(offer.ca)
        (room / FILES["cert"]).write_text(signed.certificate)
        _openssl("verify", "-CAfile", FILES["ca"], "-purpose", "sslclient", FILES["cert"], room=room)
        for kind, place in files.items():
            _install(room / FILES[kind], place, 0o600 if kind == "key" else 0o644, owner)
    written, hints = complete(config, raw, name, {"host": host, "port": offer.mqtt_port, **files}, owner)
    if problem := try_broker(host, offer.mqtt_port, files):
        hints.append(problem)
    return Paired(name, offer.hub_name, files, written, hints)


# --- what is there already --------------------------------------------------------------------------------------


def hub_address(url: str) -> SplitResult:
    """The hub's address as typed; ``https://`` may be left out. Raises PairError."""
    address = urlsplit(url if "://" in url else f"https://{url}")
    try:
        port_is_right = address.port is None or address.port > 0
    except ValueError:
        port_is_right = False
    if address.scheme not in ("https", "http") or not address.hostname or not port_is_right:
        raise PairError(f"{url!r} is not the address of a hub: it looks like https://basecamp.local:8080")
    if address.scheme == "http" and not is_loopback(address.hostname):
        raise PairError(f"{url}: plain http is for this machine only, use https://{address.netloc}")
    return address


def _device_id(raw: dict[str, Any], wanted: str | None, config: Path) -> str:
    section = raw.get("device")
    have = section.get("id") if isinstance(section, dict) else None
    if have is not None and wanted is not None and have != wanted:
        raise PairError(f"{config}: [device] id is {have!r}, not {wanted!r}: change it there, or leave --device out")
    name = have or wanted
    if name is None:
        text = re.sub("[^a-z0-9]+", "-", socket.gethostname().split(".")[0].lower()).strip("-")
        raise PairError(f"{config} has no [device] id yet: say which, e.g. --device {text or 'garden-pi'}")
    if not isinstance(name, str) or not topics.is_id(name) or name == topics.HUB:
        raise PairError(f"{name!r} cannot be a device id: a-z, 0-9 and -, at most 63 characters, not {topics.HUB!r}")
    return name


def _inputs(raw: dict[str, Any]) -> tuple[str, ...]:
    """``[device] inputs`` as the nodes to be read, ``device/node``."""
    section = raw.get("device")
    found = section.get("inputs", []) if isinstance(section, dict) else []
    return tuple(sorted({"/".join(str(name).split("/")[:2]) for name in found})) if isinstance(found, list) else ()


def _places(raw: dict[str, Any], config: Path) -> dict[str, Path]:
    """Where ``[mqtt]`` wants ca, cert and key; by default in ``tls/`` beside agent.toml."""
    mqtt = raw.get("mqtt")
    section = mqtt if isinstance(mqtt, dict) else {}
    return {kind: config.parent / str(section.get(kind) or f"tls/{file}") for kind, file in FILES.items()}


def _owner(raw: dict[str, Any], config: Path) -> tuple[int, int] | None:
    """When root pairs: who must be able to read the key, that is who owns the agent's data; None: leave it ours."""
    if os.geteuid() != 0:
        return None
    section = raw.get("device")
    data = section.get("data_dir", DATA_DIR) if isinstance(section, dict) else DATA_DIR
    try:
        status = (config.parent / str(data)).stat()
    except OSError:
        return None
    return status.st_uid, status.st_gid


# --- key and certificate ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _workshop(near: Path) -> Iterator[Path]:
    """A private folder on the same file system as the final place, gone afterwards."""
    try:
        near.mkdir(parents=True, exist_ok=True, mode=0o755)
        room = Path(tempfile.mkdtemp(prefix=".pair-", dir=near))
    except OSError as error:
        raise PairError(f"{near}: {error.strerror}: run it with sudo, or with --config of your own") from None
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _openssl(*arguments: str, room: Path) -> None:
    try:
        done = subprocess.run(["openssl", *arguments], cwd=room, capture_output=True, text=True, timeout=OPENSSL_S)
    except FileNotFoundError:
        raise PairError("the program openssl is missing: sudo apt-get install openssl") from None
    except subprocess.TimeoutExpired:
        raise PairError(f"openssl {arguments[0]} took more than {OPENSSL_S:.0f} s: try again") from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise PairError(f"openssl {arguments[0]}: {words[-1]}")


def _new_key(room: Path, device: str) -> str:
    """A new EC P-256 key in ``room`` (0600: openssl makes private keys so); returns its signing request."""
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", FILES["key"], room=room)
    (room / FILES["key"]).chmod(0o600)
    _openssl("req", "-new", "-sha256", "-key", FILES["key"], "-subj", f"/CN={device}", "-out", "request.pem", room=room)
    return (room / "request.pem").read_text()


def _install(source: Path, place: Path, mode: int, owner: tuple[int, int] | None) -> None:
    """Put a file in its place whole, readable by the agent."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.part")
        part.unlink(missing_ok=True)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            if owner is not None:
                os.fchown(fd, *owner)
            file.write(source.read_bytes())
            file.flush()
            os.fsync(fd)
        part.rename(place)
    except OSError as error:
        raise PairError(f"{place}: {error.strerror}: run it with sudo, or set [mqtt] ca, cert and key to a folder of"
                        " yours") from None


# --- the two requests -------------------------------------------------------------------------------------------


def _post(address: SplitResult, path: str, body: bytes, kind: type[Any]) -> Any:
    """One request, its answer decoded. Raises PairError with the hub's own words where it gave any."""
    where = f"{address.scheme}://{address.netloc}"
    connection: http.client.HTTPConnection
    if address.scheme == "https":
        # nothing to verify it with yet: both proofs cover all that matters, see agent.wire.pairing
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(str(address.hostname), address.port or 443, timeout=TIMEOUT_S,
                                                 context=context)
    else:
        connection = http.client.HTTPConnection(str(address.hostname), address.port or 80, timeout=TIMEOUT_S)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read(pairing.MAX_BYTES + 1)
        status = answer.status
    except ssl.SSLError as error:
        raise PairError(f"{where}: no https there ({error.reason or error}): look at the hub's address") from None
    except TimeoutError:
        raise PairError(f"{where} did not answer within {TIMEOUT_S:.0f} s: is the hub running?") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise PairError(f"cannot reach {where}: {reason}: is the hub running, and is this its address?") from None
    finally:
        connection.close()
    try:
        if status == 200:
            return pairing.decode(text, kind)
        refused = pairing.decode(text, pairing.Refused)
    except msgspec.DecodeError:
        raise PairError(f"{where} is not a hutkeeper hub (HTTP status {status}): look at the address") from None
    raise PairError(f"the hub refuses: {refused.error}")


def _trust(
    hello: bytes, offered: pairing.Offered, secret: str, address: SplitResult
) -> tuple[pairing.Offer, bytes, bytes]:
    """The offer once its sender proved that it knows the code, with the key and the transcript. Raises PairError."""
    text = offered.offer.encode()
    try:
        offer = pairing.decode(text, pairing.Offer)
    except msgspec.DecodeError as error:
        raise PairError(f"{address.netloc} gave an offer that cannot be read: {error}") from None
    key, said = pairing.stretch(secret, offer.salt), pairing.transcript(hello, text)
    if not pairing.same(offered.proof, pairing.proof(key, "hub", said)):
        raise PairError(f"{address.netloc} could not prove that it knows the code: the code was mistyped, or another"
                        " machine answers in the hub's place; compare the code and the address, and try again")
    return offer, key, said


# --- agent.toml and the broker ----------------------------------------------------------------------------------


def complete(
    config: Path, raw: dict[str, Any], device: str, mqtt: dict[str, Any], owner: tuple[int, int] | None = None
) -> tuple[list[str], list[str]]:
    """Add what ``[mqtt]`` (and ``[device] id``) lack; every line that is there stays. Returns (keys added, hints)."""
    have = raw.get("mqtt") if isinstance(raw.get("mqtt"), dict) else {}
    assert isinstance(have, dict)
    values = {key: str(value) if isinstance(value, Path) else value for key, value in mqtt.items()}
    missing = {key: value for key, value in values.items() if key not in have}
    hints = [f"{config}: [mqtt] {key} stays {have[key]!r}; this hub's broker is at {values[key]!r}"
             for key in ("host", "port") if key in have and have[key] != values[key]]
    lines = [f"{key} = {json.dumps(value)}" for key, value in missing.items()]
    old = config.read_text(encoding="utf-8") if config.exists() else ""
    new = old
    if "device" not in raw:
        new = f'[device]\nid = "{device}"\n' + ("\n" + old if old else "")
    if lines:
        header = re.compile(r"^[ \t]*\[[ \t]*mqtt[ \t]*\][ \t]*(#.*)?$", re.M)
        if found := header.search(new):
            new = f"{new[:found.end()]}\n" + "\n".join(lines) + new[found.end():]
        else:
            new = new.rstrip("\n") + "\n\n[mqtt]\n" + "\n".join(lines) + "\n"
    if new == old:
        return [], hints
    wanted = {**raw, "mqtt": {**have, **missing}, "device": raw.get("device", {"id": device})}
    try:
        right = tomllib.loads(new) == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:  # an inline table, a header within a text: not ours to guess
        return [], [*hints, f"{config} was not changed, add to its [mqtt]: {'; '.join(lines)}"]
    try:
        part = config.with_name(f".{config.name}.part")
        config.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(new, encoding="utf-8")
        if config.exists():
            shutil.copymode(config, part)
            status = config.stat()
            owner = (status.st_uid, status.st_gid)
        if owner is not None and os.geteuid() == 0:
            os.chown(part, *owner)
        part.rename(config)
    except OSError as error:
        return [], [*hints, f"{config}: {error.strerror}, add to its [mqtt]: {'; '.join(lines)}"]
    return list(missing), hints


def try_broker(host: str, port: int, files: dict[str, Path]) -> str | None:
    """A TLS handshake with the broker, both certificates checked; None when it succeeds, else one line.

    A broker that just got its first CA starts its TLS listener within seconds, so a refusal is tried again."""
    context = ssl.create_default_context(cafile=str(files["ca"]))
    context.load_cert_chain(str(files["cert"]), str(files["key"]))
    deadline = time.monotonic() + BROKER_S
    while True:
        try:
            with (socket.create_connection((host, port), TIMEOUT_S) as plain,
                  context.wrap_socket(plain, server_hostname=host)):
                return None
        except ssl.SSLCertVerificationError as error:
            return f"the broker at {host}:{port} showed another certificate ({error.verify_message}): is it this hub's?"
        except OSError as error:
            if time.monotonic() > deadline:
                reason = error.strerror or str(error)
                return f"the broker at {host}:{port} does not answer yet ({reason}): look at the hub's log"
        time.sleep(0.2)

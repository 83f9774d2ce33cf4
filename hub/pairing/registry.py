"""Codes that are open and devices that are paired: ``<data_dir>/ca/pairing.json``, changed under one lock.

The page and the console both make codes, so the file is read and written whole under flock, and replaced by rename.
A code is kept as its scrypt key only (see agent.wire.pairing): who reads the file learns no code, and who can read it
can read the authority's key beside it."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct, field

from agent.wire import pairing, topics
from hub import ca

KEEP_CLOSED_S = 24 * 3600
"""So long a code that is used or expired is answered as such, then as unknown."""
MAX_OPEN = 50


class PairingError(Exception):
    """Why a pairing is refused, and what to do, in one line; ``status`` is the HTTP answer."""

    def __init__(self, text: str, status: int = 403) -> None:
        super().__init__(text)
        self.status = status


class Code(Struct, kw_only=True):
    """One code, open or closed."""

    selector: str
    salt: bytes
    key: bytes
    expires_s: float
    """Wall clock; the file outlives a restart of the hub."""
    device: str | None = None
    """The only id that may use it; None: whatever id the device has."""
    replace: bool = False
    attempts: int = 0
    used_by: str | None = None


class Device(Struct, kw_only=True):
    """One paired device."""

    serial: str
    """Of its certificate, decimal."""
    paired_s: float
    inputs: tuple[str, ...] = ()
    """What it may read of others: ``<device>/<node>``."""


class Book(Struct, kw_only=True):
    """The whole file."""

    codes: list[Code] = field(default_factory=list)
    devices: dict[str, Device] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    """Serials of certificates that a newer one replaced."""


class Issued(Struct, frozen=True):
    """A new code, shown once."""

    code: str
    expires_s: float
    device: str | None


class Registry:
    """The book of one hub. Every method may raise OSError (the hub's disk)."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.where = ca.folder(data_dir)
        self.path = self.where / "pairing.json"

    def read(self) -> Book:
        """The book as it is now; empty before the first code. Raises PairingError when the file is damaged."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Book)
        except FileNotFoundError:
            return Book()
        except msgspec.DecodeError as error:
            raise PairingError(f"{self.path} is damaged ({error}): restore it from a backup, or remove it and pair the"
                               " devices anew with --replace", 500) from None

    @contextlib.contextmanager
    def _change(self) -> Iterator[Book]:
        """The book to change; written back unless the block raises."""
        with ca.locked(self.where):
            book = self.read()
            horizon = time.time() - KEEP_CLOSED_S
            book.codes = [code for code in book.codes if code.expires_s > horizon]
            yield book
            ca.write(self.path, msgspec.json.encode(book), 0o600)

    def new_code(self, device: str | None = None, *, replace: bool = False) -> Issued:
        """Open a code for ``device`` (None: any id that is not taken). Raises PairingError.

        replace: the id may already be paired; its old certificate becomes void when the new one is signed."""
        if device is not None and (not topics.is_id(device) or device == topics.HUB):
            raise PairingError(f"{device[:63]!r} cannot be a device id: a-z, 0-9 and -, at most 63 characters", 400)
        if replace and device is None:
            raise PairingError("--replace needs --device ID: which one is replaced?", 400)
        text = pairing.new_code()
        selector, secret = pairing.split(text)
        salt = secrets.token_bytes(pairing.NONCE_BYTES)
        key = pairing.stretch(secret, salt)
        with self._change() as book:
            if device in book.devices and not replace:
                raise PairingError(_taken(device), 409)
            now = time.time()
            open_codes = sum(code.expires_s > now and code.used_by is None for code in book.codes)
            if open_codes >= MAX_OPEN or selector in {code.selector for code in book.codes}:
                raise PairingError(f"{MAX_OPEN} codes are open: wait until they expire", 429)
            code = Code(selector=selector, salt=salt, key=key, expires_s=now + pairing.VALID_S, device=device,
                        replace=replace)
            book.codes.append(code)
        return Issued(text, code.expires_s, device)

    def attempt(self, selector: str, device: str) -> Code:
        """Count a try of ``device`` with a code and return the code. Raises PairingError: not valid (any more)."""
        with self._change() as book:
            code = next((code for code in book.codes if code.selector == selector), None)
            if code is not None:
                code.attempts += 1
        check(code, book, device)
        assert code is not None
        return code

    def finish(self, selector: str, device: str, inputs: tuple[str, ...], sign: ca.Authority, csr: str) -> str:
        """Use the code up, sign, remember the device; returns its certificate (PEM). Raises PairingError."""
        request = ca.read_request(csr, device)
        with self._change() as book:
            code = next((code for code in book.codes if code.selector == selector), None)
            check(code, book, device)
            assert code is not None
            code.used_by = device
            certificate, serial = sign.sign_device(request, device)
            if old := book.devices.get(device):
                book.revoked.append(old.serial)
                sign.revoke(int(text) for text in book.revoked)
            book.devices[device] = Device(serial=str(serial), paired_s=time.time(), inputs=inputs)
        return certificate

    def reads(self) -> dict[str, list[str]]:
        """For the broker's ACL: device -> ``<other>/<node>``."""
        return {device: list(entry.inputs) for device, entry in self.read().devices.items() if entry.inputs}


def check(code: Code | None, book: Book, device: str) -> None:
    """Raises PairingError unless ``device`` may be paired with ``code``."""
    again = "make a new one on the hub (hutkeeper-hub pair-code, or the page)"
    if code is None:
        raise PairingError(f"the hub knows no such code: type it again, or {again}")
    if code.used_by is not None:
        raise PairingError(f"this code was used already, by {code.used_by}: {again}")
    if code.expires_s <= time.time():
        raise PairingError(f"this code is older than {pairing.VALID_S // 60} minutes: {again}")
    if code.attempts > pairing.ATTEMPTS:
        raise PairingError(f"this code was tried {pairing.ATTEMPTS} times and is void: {again}")
    if code.device is not None and code.device != device:
        raise PairingError(f"this code is for the device {code.device}, and this one calls itself {device}: set"
                           f" [device] id, or {again}")
    if device in book.devices and not code.replace:
        raise PairingError(_taken(device), 409)


def _taken(device: str | None) -> str:
    return (f"a device {device} is paired already: give this one another [device] id, or, if it takes that one's place,"
            f" hutkeeper-hub pair-code --device {device} --replace")

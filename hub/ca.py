"""The house's own certificate authority: EC P-256, made at first need, its key readable by the hub alone.

``<data_dir>/ca/``: ``ca.pem`` ``ca.key`` (the authority), ``hub.pem`` ``hub.key`` (broker and web), ``crl.pem``. The
hub's certificate names every host name and address of this machine and is made anew when they change or it is old; its
key stays. Devices are signed for ten years: there is no renewal yet, a device is paired anew (``--replace``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.settings import is_loopback
from agent.wire.topics import HUB, is_id
from hub.settings import Settings

CA_DAYS = 25 * 365
HUB_DAYS = 2 * 365
DEVICE_DAYS = 10 * 365
CRL_DAYS = 10 * 365
"""An expired CRL locks every device out, so it outlives its next renewal by far."""
BACKDATED = dt.timedelta(days=1)
"""A device whose clock is a little behind must not find its certificate "not yet valid"."""


class BadRequest(ValueError):
    """A signing request that is refused, in one line."""


def folder(data_dir: Path) -> Path:
    return data_dir / "ca"


@contextlib.contextmanager
def locked(where: Path) -> Iterator[None]:
    """One process at a time changes the authority's folder (flock)."""
    where.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(where / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a file whole or not at all, on the disk before it counts."""
    part = path.with_name(f"{path.name}.part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(data)
        file.flush()
        os.fsync(fd)
    part.rename(path)


def own_names() -> set[str]:
    """Host names and addresses under which this machine may be reached."""
    host = socket.gethostname()
    short = host.split(".")[0]
    found = {"localhost", host, short, f"{short}.local"}
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family in (socket.AF_INET, socket.AF_INET6):
                text = address.address.split("%")[0]
                if not ipaddress.ip_address(text).is_link_local:
                    found.add(text)
    return found


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        encipher_only=False, decipher_only=False)


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey,
             days: int) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED).not_valid_after(now + dt.timedelta(days=days)))


class Authority:
    """The authority in ``where``; make or open it with :func:`ensure` or :func:`existing`."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.ca_path, self.key_path = where / "ca.pem", where / "ca.key"
        self.cert_path, self.hub_key_path = where / "hub.pem", where / "hub.key"
        self.crl_path = where / "crl.pem"

    @property
    def ca_pem(self) -> str:
        return self.ca_path.read_text()

    def _ca(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.ca_path.read_bytes())

    def _ca_key(self) -> ec.EllipticCurvePrivateKey:
        return _load_key(self.key_path)

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        name = _name(f"Hutkeeper CA of {socket.gethostname()}"[:64])
        ca = (_builder(name, name, public, CA_DAYS)
              .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
              .add_extension(_usage(signs_certificates=True), critical=True)
              .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
              .sign(key, hashes.SHA256()))
        write(self.key_path, _key_pem(key), 0o600)
        self.write_crl(ca, key, ())
        write(self.ca_path, ca.public_bytes(Encoding.PEM))  # last: its presence says that all is there

    def write_crl(self, ca: x509.Certificate, key: ec.EllipticCurvePrivateKey, serials: Iterable[int]) -> None:
        """The list of certificates that are void."""
        now = dt.datetime.now(dt.UTC)
        builder = (x509.CertificateRevocationListBuilder().issuer_name(ca.subject)
                   .last_update(now - BACKDATED).next_update(now + dt.timedelta(days=CRL_DAYS)))
        for serial in sorted(serials):
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build())
        write(self.crl_path, builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def revoke(self, serials: Iterable[int]) -> None:
        """Make exactly these certificates void; the broker notices within a second."""
        self.write_crl(self._ca(), self._ca_key(), serials)

    def _hub_certificate_fits(self, names: set[str]) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(self.cert_path.read_bytes())
            have = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, x509.ExtensionNotFound):
            return False
        left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
        return {_san(name) for name in names} <= set(have) and left > dt.timedelta(days=HUB_DAYS / 3)

    def certify_hub(self, names: set[str]) -> None:
        """Make ``hub.pem`` unless there is one that names all of ``names`` and is young enough."""
        if self._hub_certificate_fits(names):
            return
        if not self.hub_key_path.exists():
            write(self.hub_key_path, _key_pem(ec.generate_private_key(ec.SECP256R1())), 0o600)
        ca, public = self._ca(), _load_key(self.hub_key_path).public_key()
        certificate = (
            _builder(_name(HUB), ca.subject, public, HUB_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_san(name) for name in sorted(names)]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(self._issuer_id(ca), critical=False)
            .sign(self._ca_key(), hashes.SHA256()))
        write(self.cert_path, certificate.public_bytes(Encoding.PEM))

    def hub_names(self) -> tuple[str, ...]:
        """What the hub's certificate names."""
        certificate = x509.load_pem_x509_certificate(self.cert_path.read_bytes())
        have = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return tuple(str(name.value) for name in have)

    @staticmethod
    def _issuer_id(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
        own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)

    def sign_device(self, request: x509.CertificateSigningRequest, device: str) -> tuple[str, int]:
        """``(certificate PEM, serial)`` for a request that :func:`read_request` gave. Only the key is taken from it."""
        ca, public = self._ca(), request.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        certificate = (
            _builder(_name(device), ca.subject, public, DEVICE_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(self._issuer_id(ca), critical=False)
            .sign(self._ca_key(), hashes.SHA256()))
        return certificate.public_bytes(Encoding.PEM).decode(), certificate.serial_number


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path}: not an EC key")
    return key


def existing(data_dir: Path) -> Authority | None:
    """The authority, or None while nothing was ever paired."""
    authority = Authority(folder(data_dir))
    return authority if authority.ca_path.exists() else None


def ensure(data_dir: Path, names: Iterable[str] = ()) -> Authority:
    """The authority with a hub certificate that fits this machine, made where missing.

    names: further host names and addresses (``[broker] names``). Raises OSError."""
    authority = Authority(folder(data_dir))
    with locked(authority.where):
        if not authority.ca_path.exists():
            authority._create()
        authority.certify_hub(own_names() | set(names))
    return authority


def web_files(settings: Settings) -> tuple[Path, Path] | None:
    """``(certificate, key)`` for the pages: ``[web] cert`` and ``key``, else the hub's own; None on loopback.

    Raises OSError."""
    web = settings.web
    if web.cert is not None and web.key is not None:
        return web.cert, web.key
    if is_loopback(web.host):
        return None
    authority = ensure(settings.hub.data_dir, settings.broker.names)
    return authority.cert_path, authority.hub_key_path


def read_request(pem: str, device: str) -> x509.CertificateSigningRequest:
    """Check a device's signing request: its own signature, EC P-256, and the right name. Raises BadRequest."""
    if not is_id(device) or device == HUB:
        raise BadRequest(f"{device[:63]!r} cannot be a device id: a-z, 0-9 and -, and not {HUB!r}")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        signed = request.is_signature_valid
        names = [str(part.value) for part in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (ValueError, TypeError, InvalidSignature):
        raise BadRequest("the signing request cannot be read") from None
    if not signed:
        raise BadRequest("the signing request is not signed by its own key")
    if names != [device]:
        raise BadRequest(f"the signing request names {', '.join(names)[:80] or 'nobody'}, not {device}")
    public = request.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise BadRequest("the key of the signing request is not EC P-256")
    return request

"""A small RTSP server: what an IP camera speaks (RTSP 1.0 of RFC 2326, RTP in the same TCP connection, section 10.12;
digest authentication of RFC 2617). It passes on the RTP packets that an encoder sends to its UDP port."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import secrets
import socket
import struct
import threading

REALM = "camera"


class _Client:
    """One connection; ``playing`` from the first packet that starts a key frame after PLAY."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.lock = threading.Lock()
        self.wants = False
        self.playing = False

    def send(self, data: bytes) -> None:
        with self.lock:
            self.link.sendall(data)


class RtspServer:
    """Serves one H.264 stream on 127.0.0.1. ``silent = True``: connections stay and nothing more comes (a hung
    camera). ``close`` and a new one on the same port: it was unplugged."""

    def __init__(self, sdp: str, rtp: socket.socket, *, port: int = 0, user: str = "", password: str = "") -> None:
        self.silent = False
        self.damage = 0.0
        """Part of the packets in which some bytes are wrong (a bad radio link behind the camera)."""
        self.refused = 0
        """Requests with a wrong password or none."""
        self._sdp = _with_control(sdp)
        self._rtp = rtp
        self._login = (user, password) if user else None
        self._nonce = secrets.token_hex(8)
        self._ending = threading.Event()
        self._clients: list[_Client] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        rtp.settimeout(0.1)
        for work in (self._accept, self._forward):
            threading.Thread(target=work, daemon=True, name=f"simulated-camera-{work.__name__}").start()

    def close(self) -> None:
        self._ending.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.link.shutdown(socket.SHUT_RDWR)
            client.link.close()

    # --- packets --------------------------------------------------------------------------------------------------

    def _forward(self) -> None:
        while not self._ending.is_set():
            try:
                packet = self._rtp.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            if self.silent or len(packet) < 13:
                continue
            if random.random() < self.damage:
                wrong = bytearray(packet)
                for _ in range(4):
                    wrong[random.randrange(14, len(wrong) + 1) - 1] ^= random.randrange(1, 256)
                packet = bytes(wrong)
            starts = packet[12] & 0x1F in (7, 24)  # a parameter set, alone or with others: a key frame begins
            for client in list(self._clients):
                client.playing = client.playing or (client.wants and starts)
                if client.playing:
                    try:
                        client.send(b"$\0" + struct.pack(">H", len(packet)) + packet)
                    except OSError:
                        self._drop(client)

    def _drop(self, client: _Client) -> None:
        with contextlib.suppress(ValueError):
            self._clients.remove(client)
        client.link.close()

    # --- requests -------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            link.settimeout(10)
            client = _Client(link)
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True, name="simulated-camera-link").start()

    def _serve(self, client: _Client) -> None:
        heard = b""
        while not self._ending.is_set():
            try:
                data = client.link.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            if not data:
                self._drop(client)
                return
            heard += data
            while heard:
                if heard[:1] == b"$":  # RTCP of the client
                    if len(heard) < 4 or len(heard) < 4 + int.from_bytes(heard[2:4], "big"):
                        break
                    heard = heard[4 + int.from_bytes(heard[2:4], "big") :]
                    continue
                head, blank, rest = heard.partition(b"\r\n\r\n")
                if not blank:
                    break
                heard = rest
                with contextlib.suppress(OSError):
                    client.send(self._answer(client, head.decode("latin-1")))

    def _answer(self, client: _Client, head: str) -> bytes:
        method, url = [*head.split(None, 2), "", ""][:2]
        fields = {name.lower(): value.strip() for name, _, value in
                  (line.partition(":") for line in head.split("\r\n")[1:])}
        lines = [f"CSeq: {fields.get('cseq', '0')}"]
        status, body = "200 OK", ""
        if self._login is not None and method != "OPTIONS" and not self._allowed(method, fields):
            self.refused += 1
            status = "401 Unauthorized"
            lines.append(f'WWW-Authenticate: Digest realm="{REALM}", nonce="{self._nonce}"')
        elif method == "OPTIONS":
            lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        elif method == "DESCRIBE":
            body = self._sdp
            lines += ["Content-Type: application/sdp", f"Content-Base: {url.rstrip('/')}/"]
        elif method == "SETUP" and "TCP" not in fields.get("transport", ""):
            status = "461 Unsupported Transport"
        elif method == "SETUP":
            lines += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1;timeout=60"]
        elif method == "PLAY":
            client.wants = True
            lines.append("Session: 1")
        elif method not in ("TEARDOWN", "GET_PARAMETER", "SET_PARAMETER"):
            status = "405 Method Not Allowed"
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return (f"RTSP/1.0 {status}\r\n" + "\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def _allowed(self, method: str, fields: dict[str, str]) -> bool:
        assert self._login is not None
        given = dict(re.findall(r'(\w+)="([^"]*)"', fields.get("authorization", "")))
        own = _md5(f"{self._login[0]}:{REALM}:{self._login[1]}")
        uri = given.get("uri", "")
        wanted = _md5(f"{own}:{self._nonce}:" + _md5(f"{method}:{uri}"))
        return given.get("nonce") == self._nonce and given.get("response") == wanted


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _with_control(sdp: str) -> str:
    """ffmpeg's SDP as a server gives it: no port, and a name for the track."""
    lines = [line for line in sdp.replace("\r", "").split("\n") if line and not line.startswith(("SDP:", "a=control"))]
    lines = [re.sub(r"^m=video \d+", "m=video 0", line) for line in lines]
    return "\r\n".join([*lines, "a=control:trackID=0"]) + "\r\n"

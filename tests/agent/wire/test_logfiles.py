"""Reading a log that is written, rotated and removed meanwhile: nothing twice, nothing left out, nothing secret."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from agent.wire import logfiles
from agent.wire.logfiles import BadCursor, read


def test_a_reader_with_a_cursor_gets_every_line_once_over_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "meter.log"
    path.write_text("".join(f"line {n}\n" for n in range(10)))
    piece = read(path, 3)
    assert piece.lines == ["line 7", "line 8", "line 9"] and not piece.more
    got: list[str] = []
    cursor, n = "start", 10
    for turn in range(60):
        with path.open("a") as file:
            for _ in range(7):
                file.write(f"line {n}\n")
                n += 1
            file.write("half a ")  # what is not finished is not told
        piece = read(path, 5, cursor)
        assert not [line for line in piece.lines if line.endswith("half a ")]
        got, cursor = got + piece.lines, piece.cursor
        with path.open("a") as file:
            file.write("line\n")
        while piece.more:
            piece = read(path, 5, cursor)
            got, cursor = got + piece.lines, piece.cursor
        if turn % 20 == 19:
            path.rename(tmp_path / "meter.log.1")
            path.touch()
    while (piece := read(path, 5, cursor)).more or piece.lines:
        got, cursor = got + piece.lines, piece.cursor
    assert [line for line in got if line.startswith("line ")] == [f"line {k}" for k in range(n)]


def test_bounds_and_bad_cursors(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"\xff\xfe" + b"y" * (3 * logfiles.MAX_BYTES) + b"\nlast\n")
    assert read(path, 10).lines == ["last"]
    cursor, told = "start", []
    for _ in range(10):
        piece = read(path, 500, cursor)
        told += piece.lines
        cursor = piece.cursor
        assert sum(map(len, piece.lines)) <= logfiles.MAX_BYTES
        if not piece.more:
            break
    assert told[-1] == "last" and all(len(line) <= logfiles.MAX_LINE for line in told)
    path.write_text("new\n")
    assert read(path, 10, cursor).lines == ["new"]  # it was cut short
    for bad in ("7", "a:b", "1:2:3", "-1:5", "../../etc"):
        with pytest.raises(BadCursor):
            read(path, 10, bad)
    with pytest.raises(OSError, match="gone"):
        read(tmp_path / "gone.log", 10)


@pytest.mark.parametrize(("line", "hidden", "kept"), [
    ("2026-11-26T20:10:11Z WARNING modem: to +33 6 12 34 56 78 failed after 12.5 s", "12 34", "2026-11-26T20:10:11Z"),
    ("call 0033612345678 code 7", "612345678", "code 7"),
    ("voisin 06 12 34 56 78", "34 56", "voisin"),
    ("connect mqtt://hub:hunter2@10.0.0.5:1883", "hunter2", "10.0.0.5:1883"),
    ('config {"password": "hunter2", "port": 1883}', "hunter2", '"port": 1883'),
    ("GET /x Authorization: Bearer abcdef.123456", "abcdef", "GET /x"),
    ("api_key=abc123&x=1", "abc123", "&x=1"),
    ("POST https://hc-ping.com/2f1c3a52-9c1e-4b5e-8b1a-000000000001 429", "2f1c3a52", "429"),
    ("One-time code for the first admin (good for 24 h): ND5C-PXFM-L8DE   at http://x/login", "ND5C", "http://x/login"),
    ("sim: PIN: 1234 accepted", "1234", "accepted"),
    ("sim: PIN 1234 refused", "1234", "refused"),
    ('AT+CPIN="1234"', "1234", "AT+CPIN"),
    ('{"t": "x", "message": "{\\"password\\": \\"hunter2\\", \\"port\\": 1883}"}', "hunter2",
     '\\", \\"port\\": 1883}"}'),
    ("tgram://123456789:AAExxxxxxxx/987654321/ took 3 s", "AAEx", "took 3 s"),
    ("ntfys://ntfy.sh/our-topic: 429", "our-topic", "429"),
    ("GET https://api.example.com/send?key=abcdef123&text=x", "abcdef123", "&text=x"),
    ("a token hut_0123456789abcdef was used", "0123456789", "was used"),
    ("sip tel:+33612345678 rings", "612345678", "rings"),
    ('{"message": "from\\n+33612345678 came"}', "612345678", "came"),
])
def test_secrets_do_not_leave_the_machine(line: str, hidden: str, kept: str, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(line + "\n")
    (told,) = read(tmp_path / "a.log", 1).lines
    assert hidden not in told and kept in told


def test_figures_and_addresses_stay() -> None:
    from agent.wire.private import redacted

    for line in ("2026-11-26 20:10:11,123 INFO spawned: 'plugin-host' with pid 1234567",
                 "10.0.12.255:8883 refused 12345678901 bytes at 1795724625929000", "12841.337 kWh, 0.000123456789 s",
                 "exit code: 137; serial /dev/serial/by-id/usb-FTDI_0123456789-if00", "mapping: ok, code=200",
                 "at 2026-11-26T20:10:11+0200: mqtt://10.0.0.5:1883 and rtsp://cam/stream1 and pin 12 of gpiochip0"):
        assert redacted(line) == line


def test_uplinks_own_lines_leave_without_secrets_and_fit_into_one_message() -> None:
    from agent.uplink.logs import JsonLines
    from agent.uplink.orders import leaving

    handler = JsonLines()
    for n in range(100):
        handler.emit(logging.LogRecord("x", logging.WARNING, "x.py", 1, f"{n}: password={'x' * 3000}{n}", None, None))
    try:
        raise ValueError("to +33612345678")
    except ValueError:
        handler.emit(logging.LogRecord("x", logging.ERROR, "x.py", 1, "broken " + "long " * 700, None, sys.exc_info()))
    told = leaving(list(handler.tail))
    assert len(told) == 101 and "xxx" not in str(told) and "612345678" not in str(told)
    assert "ValueError: to" in told[-1]["traceback"] and told[-2]["message"] == "99: password=…"
    many = leaving([{"t": "x", "message": "long " * 800, "n": n} for n in range(500)])
    assert 5 < len(many) < 20 and many[-1]["n"] == 499 and many[0]["n"] == 500 - len(many)

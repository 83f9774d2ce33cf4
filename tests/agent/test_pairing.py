"""What pairing does to the owner's agent.toml (the rest of it: tests/hub/pairing, with a hub)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent import pairing
from agent.settings import load
from agent.wire import pairing as wire

FOUND = {"host": "bc-hq.local", "port": 8883, "ca": Path("/t/ca.pem"), "cert": Path("/t/device.pem"),
         "key": Path("/t/device.key")}


def complete(path: Path, device: str = "garden") -> tuple[list[str], list[str]]:
    raw: dict[str, Any] = tomllib.loads(path.read_text()) if path.exists() else {}
    return pairing.complete(path, raw, device, dict(FOUND))


@pytest.mark.parametrize("text", [
    '[device]\nid = "garden"   # the lid\n\n[plugins.host]\ninterval_s = 5.0\n',
    '[device]\nid = "garden"\n[mqtt]   # ours\nkeepalive_s = 20  # slow link\n\n[spool]\nmax_age_days = 7\n',
    '[device]\nid = "garden"\n  [ mqtt ]\n',
    '[device]\nid = "garden"\nname = """\n[mqtt]\n"""\n',
    '[device]\nid = "garden"\n[mqtt]\n# no newline at the end\ntls = true',
])
def test_every_line_of_the_owner_stays_and_what_lacks_is_added(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    path.chmod(0o640)
    before = tomllib.loads(text)
    added, hints = complete(path)
    new = path.read_text()
    after = tomllib.loads(new)
    kept = iter(new.splitlines())
    assert all(line in kept for line in text.splitlines())  # all of them, in their order
    if added:
        assert hints == [] and added == list(FOUND)
        assert after.pop("mqtt") == {**before.pop("mqtt", {}), **{k: str(v) if k != "port" else v
                                                                  for k, v in FOUND.items()}}
        assert after == before
        assert path.stat().st_mode & 0o777 == 0o640
        assert load(path).mqtt.host == "bc-hq.local"
    else:  # a header inside a text: we do not guess
        assert new == text and "add to its [mqtt]: host" in hints[0]


@pytest.mark.parametrize("text", [
    '[device]\nid = "garden"\n', '[mqtt]\nkeepalive_s = 9\n[device]\nid = "garden"\n',
])
def test_a_second_time_changes_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    assert complete(path)[0]
    once = path.read_text()
    assert complete(path) == ([], []) and path.read_text() == once


def test_an_inline_table_is_left_alone_and_the_lines_are_told(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    text = 'mqtt = { keepalive_s = 9 }\n[device]\nid = "garden"\n'
    path.write_text(text)
    added, hints = complete(path)
    assert added == [] and path.read_text() == text
    assert hints == [f'{path} was not changed, add to its [mqtt]: host = "bc-hq.local"; port = 8883; ca = "/t/ca.pem"; '
                     'cert = "/t/device.pem"; key = "/t/device.key"']


def test_another_host_of_the_owner_stays_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('[device]\nid = "garden"\n[mqtt]\nhost = "10.0.0.9"\n')
    added, hints = complete(path)
    assert added == ["port", "ca", "cert", "key"] and load(path).mqtt.host == "10.0.0.9"
    assert hints == [f"{path}: [mqtt] host stays '10.0.0.9'; this hub's broker is at 'bc-hq.local'"]


def test_without_agent_toml_one_is_made(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "agent.toml"
    assert complete(path) == (list(FOUND), [])
    loaded = load(path)
    assert (loaded.device.id, loaded.mqtt.host, loaded.mqtt.key) == ("garden", "bc-hq.local", Path("/t/device.key"))


@pytest.mark.parametrize(("raw", "wanted", "words"), [
    ({}, None, "has no [device] id yet: say which, e.g. --device"),
    ({"device": {"id": "garden"}}, "attic", "[device] id is 'garden', not 'attic'"),
    ({"device": {"id": "Garden 1"}}, None, "'Garden 1' cannot be a device id"),
    ({}, "hub", "'hub' cannot be a device id"),
])
def test_the_device_id_is_asked_for_once(tmp_path: Path, raw: dict[str, Any], wanted: str | None, words: str) -> None:
    with pytest.raises(pairing.PairError) as caught:
        pairing._device_id(raw, wanted, tmp_path / "agent.toml")
    assert words in str(caught.value)


def test_codes_are_read_as_people_type_them() -> None:
    for _ in range(50):
        code = wire.new_code()
        assert wire.split(code.lower().replace("-", " ")) == wire.split(code) == (code[:4], code[5:9] + code[10:])
    assert wire.split("oil0-0000-0000") == wire.split("0110-0000-0000")
    for bad in ("", "K7QF", "K7QF-2M9X-4TB", "K7QF-2M9X-4TBDX", "K7QF-2M9X-4TB!", "K7QF-2M9X-4TBU"):
        with pytest.raises(wire.BadCode):
            wire.split(bad)


def test_a_proof_says_who_and_over_what() -> None:
    key = wire.stretch("2M9X4TBD", b"s" * 16)
    assert key == wire.stretch("2M9X4TBD", b"s" * 16) and key != wire.stretch("2M9X4TBD", b"t" * 16)
    said = {wire.transcript(a, b) for a, b in ((b"ab", b"c"), (b"a", b"bc"), (b"", b"abc"), (b"abc", b""))}
    assert len(said) == 4
    one = said.pop()
    proofs = {wire.proof(key, word, one) for word in ("hub", "device", "certificate")}
    assert len(proofs) == 3 and wire.proof(key, "hub", said.pop()) not in proofs

"""The commands of ``hutkeeper-hub`` as a person types them: output, exit codes, one clear line for each mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hub import settings
from hub.cli import COMMANDS, group
from hub.settings import SettingsError
from hub.store.writer import Writer
from tests.hub.store.lab import batch

ROOT = Path(__file__).resolve().parents[3]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "hub.cli", *words], cwd=ROOT, capture_output=True, text=True,
                          timeout=60)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A hub with two series of one device."""
    path = tmp_path / "hub.toml"
    path.write_text('[hub]\ndata_dir = "data"\nrun_dir = "run"\n')
    with Writer(tmp_path / "data/samples.db") as writer:
        writer.commit([batch(1, {"cpu/load": [(n, n / 2) for n in range(1, 11)], "door/open": [(5, True)]}),
                       batch(3, {"cpu/load": [(1 << 62, 1.0)]})])
    return path


def said(config: Path, *words: str) -> Any:
    done = run(*words, "--config", str(config), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_command_imports_and_has_help() -> None:
    for name in COMMANDS:
        command = group.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None and command.help, name


def test_ledger_quarantine_and_events(config: Path) -> None:
    (row,) = said(config, "ledger")
    assert (row["stored"], row["quarantined"], row["upto"], row["above"]) == (11, 1, 1, [[3, 3]])
    (held,) = said(config, "ledger", "--quarantine")
    assert held["n"] == 1 and "time stamp" in held["reason"] and held["prefix"].startswith('{"epoch"')
    (event,) = said(config, "ledger", "--events")
    assert event["code"] == "E_BAD_PAYLOAD"
    table = run("ledger", "--config", str(config)).stdout.splitlines()
    assert table[0].split()[:2] == ["device", "epoch"] and table[1].split()[0] == "dev"
    assert said(config, "ledger", "--replay-future") == {"stored": 0, "waiting": 0}


def test_export_list_and_file(config: Path, tmp_path: Path) -> None:
    rows = said(config, "export", "--list")
    assert {(row["node"], row["samples"]) for row in rows} == {("cpu", 10), ("door", 1)}
    done = run("export", "--config", str(config), "--series", "cpu/*", "--output", str(tmp_path / "out.csv"))
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 11
    assert len(said(config, "export", "--device", "dev")) == 2


def test_backup_verify_restore_migrate(config: Path, tmp_path: Path) -> None:
    made = said(config, "backup", str(tmp_path / "copy"))
    assert made["stored"] == 11
    assert said(config, "verify")["findings"] == []
    assert said(config, "restore", str(tmp_path / "copy"))["stored"] == 11
    assert said(config, "migrate") == {"migrations": [], "schema": 5}
    with Writer(tmp_path / "data/samples.db") as writer:
        writer.db.execute("UPDATE rollup_hour SET n = n + 1")
        locked = run("restore", str(tmp_path / "copy"), "--config", str(config))
    assert locked.returncode == 1 and "stop it first" in locked.stderr
    broken = run("verify", "--config", str(config))
    assert broken.returncode == 1 and "rollup_hour" in broken.stderr


def test_users_and_tokens(config: Path, tmp_path: Path) -> None:
    code = said(config, "user", "first-code")["code"]
    assert len(code) == 14
    secret = tmp_path / "password"
    secret.write_text("correct horse battery staple 42\n")
    done = run("user", "add", "ann", "--role", "admin", "--password-file", str(secret), "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert [user["name"] for user in said(config, "user", "list")] == ["ann"]
    assert said(config, "user", "first-code") == {"code": None}
    token = said(config, "token", "make", "grafana", "--user", "ann")["token"]
    assert token not in run("token", "list", "--config", str(config)).stdout
    (row,) = said(config, "token", "list")
    assert row["name"] == "grafana"
    assert run("token", "end", str(row["id"]), "--config", str(config)).returncode == 0
    refused = run("user", "remove", "ann", "--config", str(config))
    assert refused.returncode == 1 and "only admin" in refused.stderr


@pytest.mark.parametrize(("words", "code", "text"), [
    (("ledgr",), 2, "did you mean ledger?"),
    (("export", "--start", "tomorrow"), 2, "is not a time"),
    (("ledger", "--nonsense"), 2, "--nonsense"),
    (("restore", "/nowhere"), 2, "/nowhere"),
    (("export", "--device", "nobody"), 1, "export --list"),
    (("token", "end", "77"), 1, "no token 77"),
])
def test_mistakes_are_one_line(config: Path, words: tuple[str, ...], code: int, text: str) -> None:
    # a wrong name has no options
    done = run(*words, *(["--config", str(config)] if words[0] in COMMANDS else []))
    assert done.returncode == code
    assert text in done.stderr and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("toml", "line"), [
    ("[hub]\nnam = 'x'", "hub.toml: hub.nam: unknown key, did you mean name? (hub.toml:2)"),
    ("[web]\nport = 70000", "hub.toml: web.port = 70000: expected 1..65535 (hub.toml:2)"),
    ("[retention]\nraw_days = -1", "retention.raw_days = -1: expected 0..36500"),
    ("[[retention.series]]\nmatsch = 'x'", "retention.series.0.matsch: unknown key, did you mean match?"),
    ("[mqtt]\ncert = 'a.pem'", "mqtt.key: missing, cert and key go together"),
    ("[hub\n", "hub.toml:1"),
])
def test_B80_a_wrong_hub_toml_is_refused_by_path_and_line(tmp_path: Path, toml: str, line: str) -> None:
    path = tmp_path / "hub.toml"
    path.write_text(toml)
    with pytest.raises(SettingsError) as caught:
        settings.load(path)
    assert line in str(caught.value)
    done = run("ledger", "--config", str(path))
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1


def test_the_defaults_and_where_paths_count_from(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text("[hub]\ndata_dir = 'd'\n[mqtt]\nhost = 'broker.local'\nca = 'ca.pem'\n")
    got = settings.load(path)
    assert got.samples_db == tmp_path / "d/samples.db" and got.mqtt.ca == tmp_path / "ca.pem"
    assert got.broker_port == 8883 and got.mqtt.tls and not got.embedded_broker
    assert (got.web.host, got.web.port, got.retention.raw_days) == ("127.0.0.1", 8080, 90)
    path.write_text("")
    got = settings.load(path)
    assert got.embedded_broker and (got.broker_host, got.broker_port) == ("127.0.0.1", 1883) and not got.mqtt.tls

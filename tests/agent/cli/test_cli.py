"""The commands as a person types them: exit codes, one clear line, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.bus import Batch, Part
from agent.cli import group, one_line, services
from agent.clock import boot_id
from agent.spool.spool import Spool
from agent.wire.records import Columns

AGENT = Path(sys.executable).with_name("hutkeeper-agent")
CONFIG = '[device]\nid = "bench"\ndata_dir = "data"\nrun_dir = "run"\nclock = "trust"\n[plugins.host]\n'


def agent(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(AGENT), *words], capture_output=True, text=True, timeout=60, cwd=folder, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "agent.toml").write_text(CONFIG)
    return tmp_path


def test_every_command_has_help() -> None:
    listed = agent("--help")
    assert listed.returncode == 0
    for name in group.COMMANDS:
        assert name in listed.stdout
        done = agent(name, "--help")
        assert done.returncode == 0 and done.stdout.startswith("Usage: hutkeeper-agent"), done.stderr


@pytest.mark.parametrize(("words", "line"), [
    (("chek",), "no such command 'chek', did you mean check? (see hutkeeper-agent --help)"),
    (("check", "--jsn"), "No such option"),
    (("replay",), "Missing argument 'USE'."),
    (("plugin",), "which plugin?; usage: hutkeeper-agent plugin ID [ID...] [--config PATH]"),
    (("plugin", "x", "--fast"), "no such option --fast; usage: hutkeeper-agent plugin ID [ID...] [--config PATH]"),
    (("uplink", "x"), "uplink takes no 'x'; usage: hutkeeper-agent uplink [--config PATH]"),
    (("uplink", "--config"), "--config needs a path; usage: hutkeeper-agent uplink [--config PATH]"),
    (("plugin", "x"), "agent.toml has no [plugins.x], known are: host; "
                      "usage: hutkeeper-agent plugin ID [ID...] [--config PATH]"),
    (("status", "--config", "/nonexistent/agent.toml"),
     "/nonexistent/agent.toml: No such file or directory: cannot read the configuration"),
    (("uplink", "--config", "/nonexistent/agent.toml"),
     "/nonexistent/agent.toml: No such file or directory: cannot read the configuration"),
    (("watchdog",), "watchdog is started by supervisord (hutkeeper-agent run), not by hand"),
])
def test_bad_usage_is_one_line_and_exit_2(folder: Path, words: tuple[str, ...], line: str) -> None:
    done = agent(*words, folder=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(line) and done.stderr.count("\n") == 1


def test_a_refused_agent_toml_is_one_line_and_exit_2(folder: Path) -> None:
    (folder / "agent.toml").write_text(CONFIG.replace("clock", "clok"))
    for words in (("run",), ("uplink",), ("plugin", "host"), ("supervisor-conf",), ("status",)):
        done = agent(*words, folder=folder)
        assert done.returncode == 2, words
        assert done.stderr == "agent.toml: device.clok: unknown key, did you mean clock? (agent.toml:5)\n"


def test_check_prints_findings_and_their_number(folder: Path) -> None:
    done = agent("check", "--config-only", folder=folder)
    assert done.returncode == 0 and done.stdout.endswith("Everything is right.\n")
    (folder / "agent.toml").write_text(CONFIG + 'use = "hots"\n')
    done = agent("check", "--config-only", folder=folder)
    assert done.returncode == 1 and done.stdout.endswith("1 to do\n")
    found = json.loads(agent("check", "--json", "--config-only", folder=folder).stdout)
    assert [item["level"] for item in found] == ["ok", "problem"]


def test_plugins_lists_and_describes() -> None:
    listed = json.loads(agent("plugins", "--json").stdout)
    host = next(item for item in listed if item["name"] == "host")
    assert {"key": "interval_s", "expected": "0.1..3600", "required": False, "default": 10.0} in host["settings"]
    reading = next(item for item in host["readings"] if item["name"] == "soc_temperature_c")
    assert (reading["unit"], reading["device_class"]) == ("°C", "temperature")
    shown = agent("plugins", "host").stdout
    assert "interval_s" in shown and "soc_temperature_c                  °C" in shown
    done = agent("plugins", "hots")
    assert done.returncode == 1 and done.stderr.startswith('use = "hots": no such plugin, did you mean host?')


def test_status_of_a_device_that_does_not_run_reads_the_spools_file(folder: Path) -> None:
    done = agent("status", folder=folder)
    assert done.returncode == 1 and "no supervisord runs here" in done.stdout
    (folder / "data").mkdir()
    spool = Spool(folder / "data/spool.db")
    columns = Columns(list(range(1, 1001)), list(range(1000)))
    spool.commit([Batch("host", "r", 1, boot_id(), [Part(1, {"host/uptime_s": columns})])])
    spool.settle(spool.current, [(1, 1)])
    spool.commit([Batch("host", "r", 2, boot_id(), [Part(1, {"host/uptime_s": Columns([2000, 2001], [1, 2])})])])
    spool.close()
    found = json.loads(agent("status", "--json", folder=folder).stdout)
    assert found["source"] == "spool"
    ledger = found["ledger"]
    assert (ledger["produced"], ledger["receipted"], ledger["spooled"], ledger["dropped"]) == (1002, 1000, 2, {})
    shown = agent("status", folder=folder).stdout
    assert "produced 1002 = receipted 1000 + dropped 0 + spooled 2 + in flight 0" in shown


def test_supervisor_conf_is_what_supervisord_reads(folder: Path) -> None:
    from supervisor.options import ServerOptions

    done = agent("supervisor-conf", folder=folder)
    assert done.returncode == 0
    (folder / "conf").write_text(done.stdout)
    (folder / "data/log").mkdir(parents=True)
    (folder / "run").mkdir()
    options = ServerOptions()
    options.realize(["-c", str(folder / "conf")])
    groups = {item.name: item for item in options.process_group_configs}
    assert set(groups) == {"uplink", "plugin-host", "watchdog"}
    assert groups["watchdog"].buffer_size == 100
    (program,) = groups["plugin-host"].process_configs
    assert program.stdout_logfile_maxbytes == 1 << 20 and program.stdout_logfile_backups == 1
    assert groups["uplink"].priority < groups["plugin-host"].priority, "plugins stop before uplink"


def test_a_path_that_is_too_long_for_a_socket_is_told(folder: Path) -> None:
    (folder / "agent.toml").write_text(CONFIG.replace('"run"', f'"{"r" * 100}"'))
    done = agent("supervisor-conf", folder=folder)
    assert done.returncode == 2 and "device.run_dir: " in done.stderr and "set a shorter one" in done.stderr


def test_a_service_is_started_without_click() -> None:
    """A plugin process must stay small: what it does not need is not imported on its way."""
    script = ("import sys; from agent.cli import services; services.parse('plugin', ['host', '--config=x'])\n"
              "from agent.supervision import child, logs, heartbeat\n"
              "print([name for name in ('click', 'asyncio', 'paho', 'flask', 'supervisor', 'xmlrpc') "
              "if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "[]\n"


def test_the_words_of_a_service() -> None:
    assert services.parse("plugin", ["a", "--config", "x.toml", "b"]) == (["a", "b"], Path("x.toml"))
    assert services.parse("uplink", ["--config=x.toml"]) == ([], Path("x.toml"))


def test_an_error_line_does_not_obey_a_terminal() -> None:
    assert one_line("a\nb\x1b[2Jc") == "a b\\x1b[2Jc"

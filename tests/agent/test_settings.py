"""agent.toml: what it gives, what it refuses and with which words, and that nothing in it can stop a start (B80)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from agent import settings
from agent.api import Plugin
from agent.settings import SettingsError
from agent.toml_typed import load_toml, locate

GOOD = """\
[device]
id = "bc-power"
name = "Boiler room"
data_dir = "data"
run_dir = "run"
inputs = ["bc-salon/thermo/room_temperature_c"]

[mqtt]
host = "bc-hq.local"

[spool]
max_bytes = 8_388_608

[plugins.main-meter]
use = "power_meter"
protocol = "auto"
port = "/dev/ttyAMA0"

[plugins.host]
interval_s = 30
"""


class MeterConfig(Struct, frozen=True, forbid_unknown_fields=True):
    port: str
    protocol: Literal["auto", "teleinfo", "dsmr", "sml", "pzem"] = "auto"
    pin_bcm: Annotated[int, Meta(ge=0, le=27)] = 17
    gain: Annotated[float, Meta(gt=0)] = 1.0
    interval_s: float = 5.0
    names: list[str] = []


class Meter(Plugin, name="power_meter"):
    Config = MeterConfig


class Rule(Struct):
    limit: Annotated[float, Meta(ge=0, description="in watts")]


class Rules(Struct):
    rules: list[Rule]
    by_name: dict[str, Rule] = {}


def write(folder: Path, text: str, **overlays: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    for name, content in overlays.items():
        (folder / "agent.d").mkdir(exist_ok=True)
        (folder / "agent.d" / f"{name.replace('_', '-')}.toml").write_text(content)
    return path


def refused(folder: Path, text: str, **overlays: str) -> str:
    with pytest.raises(SettingsError) as caught:
        settings.load(write(folder, text, **overlays))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def meter_refused(folder: Path, line: str) -> str:
    loaded = settings.load(write(folder, f'[device]\nid = "a"\n[plugins.main-meter]\nuse = "power_meter"\n{line}\n'))
    with pytest.raises(SettingsError) as caught:
        settings.plugin_config(loaded.plugins["main-meter"], Meter)
    return str(caught.value)


def test_a_good_file_gives_typed_settings_with_defaults(tmp_path: Path) -> None:
    loaded = settings.load(write(tmp_path, GOOD))
    assert (loaded.device.id, loaded.device.name) == ("bc-power", "Boiler room")
    assert loaded.device.data_dir == tmp_path / "data"
    assert (loaded.mqtt.port, loaded.mqtt.tls) == (8883, True)
    assert loaded.mqtt.ca == tmp_path / "data/tls/ca.pem"
    assert loaded.mqtt.key == tmp_path / "data/tls/device.key"
    assert loaded.spool.max_bytes == 8 << 20
    meter = loaded.plugins["main-meter"]
    assert (meter.use, meter.simulate, meter.interval_s) == ("power_meter", False, None)
    config = settings.plugin_config(meter, Meter)
    assert config == MeterConfig(port="/dev/ttyAMA0")
    assert loaded.plugins["host"].use == "host"


def test_plain_mqtt_is_the_default_on_this_machine_and_refused_elsewhere(tmp_path: Path) -> None:
    loaded = settings.load(write(tmp_path, '[device]\nid = "a"\n'))
    assert (loaded.mqtt.host, loaded.mqtt.port, loaded.mqtt.tls, loaded.mqtt.ca) == ("localhost", 1883, False, None)
    loaded = settings.load(write(tmp_path, '[device]\nid = "a"\n[mqtt]\nhost = "127.0.0.1"\nca = "own.pem"\n'))
    assert (loaded.mqtt.port, loaded.mqtt.tls, loaded.mqtt.ca) == (8883, True, tmp_path / "own.pem")
    assert refused(tmp_path, '[device]\nid = "a"\n[mqtt]\nhost = "10.0.0.2"\ntls = false\n') == (
        "agent.toml: mqtt.tls: plain MQTT is allowed on this machine only, and 10.0.0.2 is another (agent.toml:5)")


@pytest.mark.parametrize(("line", "message"), [
    ('port = "x"\nprot = "dsmr"', "agent.toml: plugins.main-meter.prot: unknown key, did you mean protocol?"
                                  " (agent.toml:6)"),
    ('port = "x"\npin_bcm = 40', "agent.toml: plugins.main-meter.pin_bcm = 40: expected 0..27 (agent.toml:6)"),
    ('port = "x"\npin_bcm = "x"', 'agent.toml: plugins.main-meter.pin_bcm = "x": expected 0..27 (agent.toml:6)'),
    ('port = "x"\nprotocol = "dmsr"', 'agent.toml: plugins.main-meter.protocol = "dmsr": expected one of auto, dsmr, '
                                      "pzem, sml, teleinfo, did you mean dsmr? (agent.toml:6)"),
    ('port = "x"\ngain = 0', "agent.toml: plugins.main-meter.gain = 0: expected a number more than 0 (agent.toml:6)"),
    ('port = "x"\ngain = nan',
     "agent.toml: plugins.main-meter.gain = nan: expected a number more than 0 (agent.toml:6)"),
    ("port = 5", "agent.toml: plugins.main-meter.port = 5: expected text in quotes (agent.toml:5)"),
    ("pin_bcm = 4", "agent.toml: plugins.main-meter.port: missing, expected text in quotes (agent.toml:3)"),
    ('port = "x"\nnames = ["a", 5]', "agent.toml: plugins.main-meter.names = a list of 2: "
                                     "expected a list of text in quotes (agent.toml:6)"),
    ('port = "x"\nintervals = 5', "agent.toml: plugins.main-meter.intervals: unknown key, did you mean interval_s?"
                                  " (agent.toml:6)"),
])
def test_a_wrong_key_or_value_of_a_plugin_is_named_by_its_path(tmp_path: Path, line: str, message: str) -> None:
    assert meter_refused(tmp_path, line) == message


@pytest.mark.parametrize(("text", "message"), [
    ('[device]\nid = "A b"\n', 'agent.toml: device.id: "A b": expected a-z, 0-9 and -, at most 63 characters'
                               " (agent.toml:2)"),
    ('[device]\nid = "hub"\n', 'agent.toml: device.id: "hub" is the hub\'s own id, choose another (agent.toml:2)'),
    ('[devise]\nid = "a"\n', "agent.toml: devise: unknown key, did you mean device? (agent.toml:1)"),
    ("", "agent.toml: device: missing, expected a table"),
    ('[device]\nid = "a"\n[mqtt]\nport = 70000\n', "agent.toml: mqtt.port = 70000: expected 1..65535 (agent.toml:4)"),
    ('[device]\nid = "a"\n[mqtt]\ncert = "x"\n', "agent.toml: mqtt.key: missing, cert and key go together"
                                                 " (agent.toml:3)"),
    ('[device]\nid = "a"\nclock = "trusted"\n',
     'agent.toml: device.clock = "trusted": expected one of auto, trust, did you mean trust? (agent.toml:3)'),
    ('[device]\nid = "a"\n[plugins.sys]\n', 'agent.toml: plugins.sys: "sys" is the device\'s own node, '
                                            "choose another id (agent.toml:3)"),
    ('[device]\nid = "a"\n[plugins]\nx = 5\n', "agent.toml: plugins = a table: expected a table (agent.toml:3)"),
    ('[device]\nid = "a"\n[plugins."Big Meter"]\n', 'agent.toml: plugins."Big Meter": expected an id of a-z, 0-9 and '
                                                    "-, at most 63 characters (agent.toml:3)"),
    ('[device]\nid = \n', "agent.toml:2: invalid value"),
    ('[device]\nid = "a', "agent.toml:2: unterminated string"),
    ('[plugins.host]\n[plugins.host]\n', "agent.toml:2: [plugins.host] is there twice, make one of them"),
])
def test_a_wrong_file_is_refused_with_the_line_and_the_way_out(tmp_path: Path, text: str, message: str) -> None:
    assert refused(tmp_path, text) == message


def test_a_missing_file_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: No such file or directory: cannot read the configuration"):
        settings.load(tmp_path / "none.toml")
    (tmp_path / "agent.toml").write_bytes(b'[device]\nid = "\xff"\n')
    with pytest.raises(SettingsError, match=r"agent\.toml:2: not UTF-8 text"):
        settings.load(tmp_path / "agent.toml")


def test_secrets_are_not_repeated(tmp_path: Path) -> None:
    class Secretive(Struct):
        api_token: str

    (tmp_path / "x.toml").write_text("api_token = 424242\n")
    with pytest.raises(SettingsError) as caught:
        load_toml(tmp_path / "x.toml", Secretive)
    assert str(caught.value) == "x.toml: api_token = (hidden): expected text in quotes (x.toml:1)"


def test_overlays_are_laid_over_in_order_and_errors_name_their_file(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, **{"50_hub": "[plugins.host]\ninterval_s = 60\n", "90_own": "[spool]\ncommit_s = 5\n"})
    loaded = settings.load(path)
    assert loaded.plugins["host"].interval_s == 60.0
    assert (loaded.spool.commit_s, loaded.spool.max_bytes) == (5.0, 8 << 20)
    message = refused(tmp_path, GOOD, **{"90_own": "[spool]\n\ncommit_s = 0\n"})
    assert message.startswith("agent.d/90-own.toml: spool.commit_s = 0: expected a number more than 0 and at most 60")
    assert message.endswith("(agent.d/90-own.toml:3)")


@pytest.mark.parametrize("overlay", [
    "[mqtt]\nkeepalive_s = 20\n",
    '[device]\nid = "other"\n',
    '[device]\ndata_dir = "/tmp"\n',
    "[plugins.main-meter]\npin_bcm = 4\n",
    "[plugins.main-meter]\nmax_on_s = 9000\n",
    "[plugins.main-meter.relay]\nactive_low = true\n",
    '[plugins.main-meter]\nuse = "host"\n',
    '[plugins.new]\nuse = "relay_heater"\n',
])
def test_a_hub_overlay_may_not_touch_identity_broker_pins_and_safety(tmp_path: Path, overlay: str) -> None:
    message = refused(tmp_path, GOOD, **{"50_hub": overlay})
    assert message.startswith("agent.d/50-hub.toml: ")
    assert "an overlay of the hub may not set this" in message
    settings.load(write(tmp_path, GOOD, **{"50_hub": '[device]\nname = "Cellar"\n'}))


def test_B80_last_good_copy_goes_on_with_overlays_and_relative_paths(tmp_path: Path) -> None:
    own = '[plugins.main-meter]\nnames = ["a\\"b", "c\\u007f"]\ndepth = {x = [1.5]}\n'
    path = write(tmp_path, GOOD, **{"10_own": own})
    before = settings.load(path)
    settings.save_good(before)
    path.write_text(GOOD.replace('id = "bc-power"', 'id = "bc-power'))
    loaded, error = settings.load_good(path)
    assert error is not None and str(error).startswith("agent.toml:2: ")
    assert (loaded.device, loaded.mqtt, loaded.spool) == (before.device, before.mqtt, before.spool)
    assert loaded.plugins["main-meter"].config == before.plugins["main-meter"].config
    assert loaded.raw == before.raw
    stamp = (tmp_path / "data/agent.toml.good").stat().st_mtime_ns
    settings.save_good(loaded)
    assert (tmp_path / "data/agent.toml.good").stat().st_mtime_ns == stamp, "an unchanged copy is not written again"


def test_B80_without_a_good_copy_the_error_of_the_file_itself_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, '[device\ndata_dir = "data"\n')
    with pytest.raises(SettingsError, match=r"agent\.toml:1: "):
        settings.load_good(path)


EDITS = st.lists(
    st.tuples(
        st.integers(0, len(GOOD) - 1), st.integers(0, 30),
        st.one_of(
            st.text(max_size=12), st.binary(max_size=6).map(lambda raw: raw.decode("latin-1")),
            st.sampled_from(["[", "]]", '"', '"""', "'''", "=", "\n", "#", "9" * 5000, "nan", "-inf", "[[[[" * 300,
                             "{a=", "1979-05-27", "plugins", "device", "true", "\\u0000", "[plugins.x]\n", ". "]))),
    min_size=1, max_size=6)


@hypothesis_settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_B80_any_edit_of_a_good_file_loads_or_is_refused_and_the_agent_starts(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edits: list[tuple[int, int, str]]) -> None:
    monkeypatch.setenv("HUTKEEPER_DATA_DIR", str(tmp_path / "data"))  # as supervision sets it for every process
    text = GOOD
    for at, removed, added in edits:
        text = text[:at] + added + text[at + removed:]
    path = tmp_path / "agent.toml"
    path.write_text(GOOD)
    settings.save_good(settings.load(path))
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    try:
        loaded = settings.load(path)
    except SettingsError as error:
        assert str(error).startswith("agent.toml") and "\n" not in str(error)
        started, why = settings.load_good(path)
        assert started.device.id == "bc-power" and str(why) == str(error)
        return
    for entry in loaded.plugins.values():
        try:
            settings.plugin_config(entry, Meter)
        except SettingsError as error:
            assert "\n" not in str(error)
    raw = tomllib.loads(settings._toml(loaded.raw))
    assert repr(raw) == repr(loaded.raw), "the good copy reads back as what was loaded"


@pytest.mark.parametrize(("at", "line"), [
    (("device", "id"), 2), (("mqtt", "host"), 9), (("plugins", "main-meter", "port"), 17),
    (("plugins", "main-meter", "nope"), 14), (("nope",), None)])
def test_the_line_of_a_path_is_found(at: tuple[str, ...], line: int | None) -> None:
    assert locate(GOOD, at) == line


def test_the_line_of_dotted_quoted_and_repeated_tables() -> None:
    text = 'note = """\n[device]\nid = 1\n"""\na.b."c d" = 1\n[[jobs]]\nat = 1\n[[jobs]]\nat = 2\n'
    for at, line in ((("a", "b", "c d"), 5), (("jobs", "1", "at"), 9), (("jobs", "0"), 6), (("device",), None)):
        assert locate(text, at) == line


def test_lists_and_tables_of_structs_name_the_inner_path(tmp_path: Path) -> None:
    def error(text: str) -> str:
        (tmp_path / "r.toml").write_text(text)
        with pytest.raises(SettingsError) as caught:
            load_toml(tmp_path / "r.toml", Rules)
        return str(caught.value)

    assert error("[[rules]]\nlimit = 1\n[[rules]]\nlimit = -1\n") == (
        "r.toml: rules.1.limit = -1: expected a number at least 0 (in watts) (r.toml:4)")
    assert error("rules = []\n[by_name.x]\nlimi = 1\n") == (
        "r.toml: by_name.x.limi: unknown key, did you mean limit? (r.toml:3)")


class MayBeLeftOut(Struct, frozen=True):
    inner: _Inner | None = None


class _Inner(Struct, frozen=True):
    base: str = "x"


def test_a_table_that_may_be_left_out_names_its_inner_path_too(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text("[inner]\nbas = 1\n")
    with pytest.raises(SettingsError, match=r"f.toml: inner.bas: unknown key, did you mean base\?"):
        load_toml(path, MayBeLeftOut)
    path.write_text("inner = 5\n")
    with pytest.raises(SettingsError, match="inner = 5: expected a table"):
        load_toml(path, MayBeLeftOut)
    path.write_text("[inner]\nbase = 'y'\n")
    assert load_toml(path, MayBeLeftOut) == MayBeLeftOut(_Inner("y"))
class Lamp(Struct, forbid_unknown_fields=True, tag_field="by", tag="lamp"):
    watts: Annotated[float, Meta(ge=0)]


class Bell(Struct, forbid_unknown_fields=True, tag_field="by", tag="bell"):
    tone: str = "ding"


class Signals(Struct, forbid_unknown_fields=True):
    signals: Annotated[tuple[Lamp | Bell, ...], Meta(min_length=1)] = (Bell(),)
    main: Lamp | Bell | None = None


@pytest.mark.parametrize("text, message", [
    ('signals = [{ by = "lamp", watts = -1 }]', "signals.0.watts = -1: expected a number at least 0 (:1)"),
    ('signals = [{ by = "bel" }]', 'signals.0.by = "bel": expected one of lamp, bell, did you mean bell? (:1)'),
    ("signals = [{ by = 5 }]", "signals.0.by = 5: expected one of lamp, bell (:1)"),
    ('[main]\ntone = "x"', "main.by: missing, expected one of lamp, bell (:1)"),
    ('[main]\nby = "bell"\nton = "x"', "main.ton: unknown key, did you mean tone? (:3)"),
    ("signals = []", "signals = a list of 0: expected a list of at least 1: a table (:1)"),
    ("signals = [5]", "signals.0 = 5: expected a table [signals.0] (:1)"),
])
def test_tables_of_several_kinds_are_told_apart_by_their_tag(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.toml").write_text(text + "\n")
    with pytest.raises(SettingsError) as caught:
        load_toml(tmp_path / "s.toml", Signals)
    assert str(caught.value).replace("s.toml", "") == f": {message}"


def test_tables_of_several_kinds_become_their_struct(tmp_path: Path) -> None:
    text = 'signals = [{ by = "lamp", watts = 5 }, { by = "bell" }]\nmain = { by = "bell" }\n'
    (tmp_path / "s.toml").write_text(text)
    assert load_toml(tmp_path / "s.toml", Signals) == Signals((Lamp(5), Bell()), Bell())


def test_the_interval_of_an_entry_reaches_the_plugins_config(tmp_path: Path) -> None:
    entry = settings.load(write(tmp_path, GOOD + '[plugins.second]\nuse = "power_meter"\nport = "x"\ninterval_s = 7\n')
                          ).plugins["second"]
    config: Any = settings.plugin_config(entry, Meter)
    assert config.interval_s == 7.0
    assert settings.default_interval_s(Meter, entry) == 7.0

"""The plugin on real ptys with a modem behind them: every way a stick, its SIM and its network go wrong."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.runner import worker
from agent.testing import AtWork, at_work
from plugins.modem import at_transport, dialogue, heal, mail, network, outbox, session
from plugins.modem import plugin as plugin_module
from plugins.modem.config import ModemConfig
from plugins.modem.fake_modem import FakeModem
from plugins.modem.pdu import split
from plugins.modem.pdu_in import deliver
from plugins.modem.plugin import Modem

ME, SPARE, STRANGER = "+33612345678", "+33612345679", "+33999000111"


@pytest.fixture
def modem(tmp_path: Path) -> Iterator[FakeModem]:
    with FakeModem(tmp_path) as fake:
        yield fake


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and retries that wait for nothing but time come sooner."""
    monkeypatch.setattr(worker, "FIRST_DELAY_S", 0.1)
    monkeypatch.setattr(session, "LISTEN_S", 0.05)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code with its patience in tenths of a second."""
    for module, name, seconds in (
            (dialogue, "ANSWER_S", 0.4), (at_transport, "WAKE_S", 0.12), (at_transport, "PROMPT_S", 0.4),
            (at_transport, "SEND_S", 0.6), (at_transport, "RESTART_S", 0.2), (at_transport, "LIST_S", 0.5),
            (plugin_module, "AFTER_RESTART_S", 0.05), (heal, "OFF_S", 0.05), (heal, "BACK_S", 0.1),
            (heal, "WELL_S", 0.5), (outbox, "RETRY_FIRST_S", 0.5)):
        monkeypatch.setattr(module, name, seconds)


@contextlib.contextmanager
def root(folder: Path, pin: str = "", boot: str = "boot-a") -> Iterator[Path]:
    """A machine: its boot id and its PIN file."""
    place = folder / "machine"
    (place / "proc/sys/kernel/random").mkdir(parents=True, exist_ok=True)
    (place / "proc/sys/kernel/random/boot_id").write_text(boot + "\n")
    if pin:
        file = place / "pin"
        if not file.exists() or file.read_text() != pin:
            file.write_text(pin)
            file.chmod(0o600)
    yield place


def config(modem: FakeModem, **more: Any) -> ModemConfig:
    return ModemConfig(port=modem.port, **{"allow": (ME,), "interval_s": 1, "baudrate": 921_600, **more})


def sent_ok(plugin: AtWork) -> list[Any]:
    return [value for value in plugin.values("sent") if value["ok"]]


# --- what it does ----------------------------------------------------------------------------------------------------


def test_send_receive_report_and_what_the_network_says(modem: FakeModem) -> None:
    modem.after_submit = lambda message: modem.later(0.02, lambda: modem.report(message.reference, message.to))
    modem.ussd = lambda code: f'+CUSD: 0,"Votre solde\r\nest de 12,34 EUR ({code})",15'
    text = "Fuite d'eau dans la cuisine, vanne fermée 🏠 " * 4
    with at_work(Modem, config(modem, balance_ussd="#123#", country_code="+33", network_codes=("20801",))) as plugin:
        answer = plugin.order("send", {"to": "06 12 34 56 78", "text": text, "id": "leak-1"})
        assert answer.ok and answer.value == {"id": "leak-1", "to": ME, "state": "queued"}
        plugin.wait(lambda: len(plugin.values("report")) == 3)
        again = plugin.order("send", {"to": ME, "text": text, "id": "leak-1"})
        assert again.ok and again.value == {"id": "leak-1", "state": "sent", "again": True}
        modem.incoming(ME, "Merci, j'arrive dans 10 min. " * 8)
        plugin.wait(lambda: plugin.values("incoming"))
        plugin.wait(lambda: plugin.value("balance_value") == 12.34)
        assert plugin.order("ussd", "*100#").ok
        plugin.wait(lambda: plugin.values("ussd_reply"))
        plugin.wait(lambda: not modem.units)
        modem.say("+CREG: 3")
        plugin.wait(lambda: plugin.value("state") == "denied")
    assert "".join(message.text for message in modem.sent) == text and [m.to for m in modem.sent] == [ME] * 3
    assert {m.concatenation[:2] for m in modem.sent} == {(modem.sent[0].concatenation[0], 3)}
    assert {(one["id"], one["outcome"]) for one in plugin.values("report")} == {("leak-1", "delivered")}
    (came,) = plugin.values("incoming")
    assert came["from"] == ME and came["text"] == "Merci, j'arrive dans 10 min. " * 8 and came["parts"] == 2
    assert plugin.values("ussd_reply") == ["Votre solde\nest de 12,34 EUR (*100#)"]
    assert [plugin.value(name) for name in ("rssi_dbm", "operator", "network_code", "model")] == [
        -79, "F SFR", "20810", "huawei E3131"]
    assert plugin.value("sms_sent_total") == 3 and plugin.value("sms_received_total") == 1
    assert "expected 20801" in str(plugin.alerts["wrong-network-x"]) and "contract" in str(plugin.alerts["network-x"])
    assert ME not in str(plugin.lines.lines) and "612345678" not in str(plugin.lines.lines)


def test_stopped_again_and_again_while_the_network_takes_it_it_goes_out_three_times_at_most(modem: FakeModem) -> None:
    modem.slow.add(ME)
    kept: dict[str, Any] = {}
    for life in range(4):
        before = modem.swallowed
        with at_work(Modem, config(modem), kept=kept) as plugin:
            if not life:
                plugin.order("send", {"to": ME, "text": "x", "id": "one"})
            plugin.wait(lambda before=before: plugin.values("sent") or modem.swallowed > before)
        plugin.collect()
        kept = plugin.committed
    assert modem.swallowed == 3
    (given_up,) = plugin.values("sent")
    assert given_up["ok"] is False and "3 times without a word" in given_up["error"]


def test_reports_that_are_stored_are_read_and_deleted(modem: FakeModem) -> None:
    modem.reports = "stored"
    modem.after_submit = lambda message: modem.later(0.02, lambda: modem.report(message.reference, message.to, 0x46))
    with at_work(Modem, config(modem)) as plugin:
        plugin.order("send", {"to": ME, "text": "x", "id": "one"})
        plugin.wait(lambda: plugin.values("report"))
        plugin.wait(lambda: not modem.units)
    assert plugin.values("report")[0]["outcome"] == "failed" and plugin.values("report")[0]["id"] == "one"


@pytest.mark.parametrize(("value", "why"), [
    ("hello", "send takes"), ({"to": ME}, "to and text are needed"), ({"to": "call me", "text": "x"}, "no telephone"),
    ({"to": ME, "text": " "}, "empty"), ({"to": ME, "text": "x" * 700}, "makes 5 SMS, at most 4"),
    ({"to": ME, "text": "x", "when": 1}, "unknown key 'when'"), ({"to": ME, "text": "x", "id": ""}, "id is a text"),
    ({"to": ME, "text": "x", "report": 1}, "true or false"), ({"to": "+33700000000", "text": "x"}, "not in send_to"),
])
def test_bad_orders_are_refused_in_one_line(modem: FakeModem, value: Any, why: str) -> None:
    with at_work(Modem, config(modem, send_to=(ME,))) as plugin:
        answer = plugin.order("send", value)
    assert not answer.ok and why in answer.message and "\n" not in answer.message and modem.sent == []


def test_caps_hold_over_a_restart_and_say_how_many_were_held_back(modem: FakeModem) -> None:
    kept: dict[str, Any] = {}
    answers = []
    for _ in range(2):
        with at_work(Modem, config(modem, notify_to=(ME,)), kept=kept) as plugin:
            answers += [plugin.order("text_message", f"alert {number}") for number in range(4)]
            plugin.wait(lambda: plugin.value("queue") == 0 and plugin.value("held_back_total") is not None)
            plugin.wait(lambda: len(modem.sent) >= 4)
        kept = plugin.committed
    assert [answer.ok for answer in answers] == [True] * 5 + [False] * 3
    assert "5 in 10 min to one number" in answers[-1].message and "3 held back for …678" in answers[-1].message
    plugin.collect()
    assert len(modem.sent) == 5 and plugin.committed["totals"]["held_back_total"] == 3


def test_nobody_to_notify_is_said(modem: FakeModem) -> None:
    with at_work(Modem, config(modem)) as plugin:
        assert "notify_to" in plugin.order("text_message", "x").message
        assert "expected a code" in plugin.order("ussd", "call").message
        assert "1..1440" in plugin.order("new_code", {"minutes": 0}).message


def test_what_the_disk_did_not_take_is_not_accepted_and_not_sent(
        modem: FakeModem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.modem.desk.DISK_S", 0.2)
    with at_work(Modem, config(modem)) as plugin:
        plugin.wait(lambda: plugin.value("state") == "ready")
        plugin.commits = False
        answer = plugin.order("send", {"to": ME, "text": "x", "id": "one"})
        plugin.commits = True
        assert not answer.ok and "disk" in answer.message
        assert plugin.order("send", {"to": ME, "text": "x", "id": "one"}).ok
        plugin.wait(lambda: sent_ok(plugin))
    assert len(modem.sent) == 1


# --- who writes ------------------------------------------------------------------------------------------------------


def test_a_stranger_is_a_warning_and_an_event_without_the_text_until_somebody_asks(modem: FakeModem) -> None:
    with at_work(Modem, config(modem)) as plugin:
        modem.incoming(STRANGER, "You won a prize")
        modem.incoming("Bank", "Your code is 123456")
        plugin.wait(lambda: plugin.value("strangers_unread") == 2)
        plugin.wait(lambda: not modem.units)
        assert all(value["stranger"] and "text" not in value for value in plugin.values("incoming"))
        assert "…111, 15 characters" in str(plugin.lines.of("warning")) and "prize" not in str(plugin.lines.lines)
    with at_work(Modem, config(modem), kept=plugin.committed) as after:  # nothing unread is lost by a restart
        assert after.order("read_strangers", True).ok
        after.wait(lambda: after.value("strangers_unread") == 0)
    assert [value["text"] for value in after.values("incoming")] == ["You won a prize", "Your code is 123456"]


def test_commands_by_sms_only_with_a_code_only_once_and_from_friends(modem: FakeModem) -> None:
    with at_work(Modem, config(modem)) as plugin:
        code = plugin.order("new_code", {"minutes": 5}).value["code"]
        modem.incoming(STRANGER, f"{code} heater off")
        modem.incoming(ME, "heater off")
        modem.incoming(ME, f"{code} heater off")
        modem.incoming(ME, f"{code} heater  off")
        other = plugin.order("new_code", {}).value["code"]
        modem.incoming(ME, f"{other} heater on")
        plugin.wait(lambda: len(plugin.values("incoming")) == 5)
        plugin.wait(lambda: len(sent_ok(plugin)) == 2)
    assert [(one["command"], one["from"]) for one in plugin.values("command")] == [("heater off", ME)]
    warned = " | ".join(plugin.lines.of("warning"))
    assert "wrong, used or too old" in warned and "no such command" in warned and code not in warned
    assert [message.text for message in modem.sent] == [
        "hutkeeper: heater off passed on",
        "hutkeeper: no such command; there is ack, status, silence, heater off, help"]


# --- nothing unread is purged ----------------------------------------------------------------------------------------


def test_a_code_that_is_still_good_is_shown_to_nobody(modem: FakeModem) -> None:
    with at_work(Modem, config(modem, strangers_text=True)) as plugin:
        code = plugin.order("new_code", {}).value["code"]
        for number in range(5):
            modem.incoming(ME, f"{(int(code) + 1 + number) % 10**6:06d} status")
        plugin.wait(lambda: len(plugin.values("incoming")) == 5)
        modem.incoming(ME, f"{code} status")
        modem.incoming(STRANGER, f"{code} status")
        plugin.wait(lambda: len(plugin.values("incoming")) == 7)
    assert not plugin.values("command") and code not in str(plugin.readings) + str(plugin.lines.lines)
    assert [value["text"] for value in plugin.values("incoming")[5:]] == ["•••••• status"] * 2


def test_a_command_is_told_and_its_code_used_up_before_anything_else_of_its_sms(modem: FakeModem) -> None:
    """The plugin may be stopped at any reading: the SMS is known then, and never looked at again."""
    with at_work(Modem, config(modem)) as plugin:
        code = plugin.order("new_code", {}).value["code"]
        modem.incoming(ME, f"{code} heater off")
        plugin.wait(lambda: plugin.values("incoming") and plugin.values("command"))
    of_it = [item for item in plugin.items if getattr(getattr(item, "what", None), "property", "") in
             ("incoming", "command")]
    assert [item.what.property for item in of_it] == ["command", "incoming"]
    assert code not in of_it[0].kept.decode(), "told, and good for another time"


def test_a_message_leaves_the_sim_only_after_its_reading_is_on_disk(
        modem: FakeModem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.modem.mail.DISK_S", 0.1)
    with at_work(Modem, config(modem)) as plugin:
        plugin.wait(lambda: plugin.value("state") == "ready")
        plugin.commits = False
        modem.incoming(ME, "Bonjour")
        plugin.wait(lambda: plugin.values("incoming"))
        for _ in range(2):
            looks = modem.commands.count("AT+CMGL=4")
            modem.say('+CMTI: "SM",0')
            plugin.wait(lambda looks=looks: modem.commands.count("AT+CMGL=4") > looks)
        plugin.collect()
        assert len(modem.units) == 1 and not any(line.startswith("AT+CMGD") for line in modem.commands)
    # kill -9: the disk has nothing of it, the SIM has it all
    with at_work(Modem, config(modem)) as after:
        after.wait(lambda: not modem.units)
    assert len(plugin.values("incoming")) == 1 and [value["text"] for value in after.values("incoming")] == ["Bonjour"]


def test_a_memory_that_cannot_be_chosen_loses_nothing_of_another(modem: FakeModem) -> None:
    """The slots of two memories have the same numbers."""
    with at_work(Modem, config(modem)) as plugin:
        plugin.wait(lambda: plugin.value("state") == "ready")
        plugin.commits = False
        modem.incoming(ME, "one")
        plugin.wait(lambda: plugin.values("incoming"))
        modem.busy.add("SM")
        modem.incoming_unit(deliver(ME, split("two", 0)[0], datetime.now(UTC)), "ME")
        plugin.commits = True
        plugin.wait(lambda: len(plugin.values("incoming")) == 2)
        plugin.wait(lambda: not modem.memories["ME"])
        assert len(modem.memories["SM"]) == 1  # it waits until its memory can be chosen again
        modem.busy.clear()
        plugin.wait(lambda: not modem.units)
    assert [value["text"] for value in plugin.values("incoming")] == ["one", "two"]


def test_killed_between_disk_and_delete_nothing_is_told_twice(modem: FakeModem) -> None:
    unit = deliver(ME, split("Bonjour", 0)[0], datetime.now(UTC))
    with at_work(Modem, config(modem)) as plugin:
        modem.incoming_unit(unit)
        plugin.wait(lambda: not modem.units)
    modem.incoming_unit(unit)  # it still lies there, or the network sends it once more
    with at_work(Modem, config(modem), kept=plugin.committed) as after:
        after.wait(lambda: after.value("state") == "ready" and not modem.units)
    assert len(plugin.values("incoming")) == 1 and after.values("incoming") == []


def test_what_cannot_be_read_stays_on_the_sim_and_is_counted(modem: FakeModem) -> None:
    modem.incoming_unit(bytes.fromhex("00440B911346610089F6000020806291"))
    modem.incoming(ME, "readable")
    with at_work(Modem, config(modem)) as plugin:
        plugin.wait(lambda: plugin.value("bad_units_total") == 1 and len(modem.units) == 1)
        looks = modem.commands.count("ATE0")
        modem.unplug()
        plugin.wait(lambda: plugin.value("state") == "absent")
        modem.plug()
        plugin.wait(lambda: modem.commands.count("ATE0") > looks and plugin.value("state") == "ready")
        lists = modem.commands.count("AT+CMGL=4")
        plugin.wait(lambda: modem.commands.count("AT+CMGL=4") > lists)
    (line,) = [line for line in plugin.lines.of("warning") if "SMS" in line]
    assert "stays on the SIM" in line and "in a phone" in line and plugin.value("bad_units_total") == 1
    assert "1346610089" not in line.upper() and "3164160098" not in line, "its number, in whatever dress"
    assert [value["text"] for value in plugin.values("incoming")] == ["readable"]


def test_a_full_memory_is_an_alert(modem: FakeModem) -> None:
    for number in range(46):
        modem.incoming_unit(bytes([0, 0x44, number]))
    with at_work(Modem, config(modem)) as plugin:
        plugin.wait(lambda: plugin.alerts.get("storage-x"))
    assert plugin.value("sms_storage_pct") == 92.0 and "full to 92 %" in str(plugin.alerts["storage-x"])


# --- B69: the PIN ----------------------------------------------------------------------------------------------------


def test_B69_a_right_pin_is_entered_once_and_again_only_after_the_stick_started_anew(tmp_path: Path) -> None:
    with FakeModem(tmp_path, pin="1234") as modem, root(tmp_path, "1234") as place, at_work(
            Modem, config(modem, pin_file="/pin"), root=place) as plugin:
        plugin.wait(lambda: plugin.value("state") == "ready")
        modem.unplug()
        plugin.wait(lambda: plugin.value("state") == "absent")
        modem.plug()
        plugin.wait(lambda: plugin.value("state") == "ready")
    assert modem.pin_entries == ["1234", "1234"] and modem.tries == 3
    assert "1234" not in str(plugin.lines.lines) and "1234" not in str(plugin.committed["pin"])


def test_B69_a_wrong_pin_is_tried_once_over_restarts_reboots_and_replugs(tmp_path: Path) -> None:
    kept: dict[str, Any] = {}
    with FakeModem(tmp_path, pin="1234") as modem:
        for boot in ("a", "a", "b"):
            with root(tmp_path, "9999", boot) as place, at_work(
                    Modem, config(modem, pin_file="/pin"), root=place, kept=kept) as plugin:
                plugin.wait(lambda: plugin.value("state") == "sim_locked")
                assert plugin.order("send", {"to": ME, "text": "waits"}).ok
                if boot == "b":
                    modem.unplug()
                    plugin.wait(lambda: plugin.value("state") == "absent")
                    modem.plug()
                    plugin.wait(lambda: plugin.value("state") == "sim_locked")
            assert "E_SIM_LOCKED" in str(plugin.alerts["sim-x"]) and plugin.value("queue") is None
            kept = plugin.committed
        assert modem.pin_entries == ["9999"] and modem.tries == 2 and modem.sent == []
        with root(tmp_path, "1234", "c") as place, at_work(
                Modem, config(modem, pin_file="/pin"), root=place, kept=kept) as plugin:
            # the operator wrote the right one; once this boot had its try the next one takes it
            plugin.wait(lambda: plugin.value("state") == "ready" and len(modem.sent) == 3)
    assert modem.pin_entries == ["9999", "1234"] and plugin.alerts["sim-x"] is None


def test_B69_killed_while_trying_is_a_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The booking is on disk before the PIN is on the line; without the disk nothing is tried."""
    monkeypatch.setattr("plugins.modem.session.DISK_S", 0.2)
    with FakeModem(tmp_path, pin="1234") as modem, root(tmp_path, "9999") as place:
        with at_work(Modem, config(modem, pin_file="/pin"), root=place) as plugin:
            plugin.wait(lambda: "AT" in modem.commands)
            plugin.commits = False
            plugin.wait(lambda: "not tried before" in str(plugin.state) or modem.pin_entries)
        if not modem.pin_entries:
            booked = {**plugin.committed, "pin": {"boot": "boot-a", "version": "other", "result": "tried", "wrong": 1}}
            with at_work(Modem, config(modem, pin_file="/pin"), root=place, kept=booked) as after:
                after.wait(lambda: after.value("state") == "sim_locked")
            assert "since this machine started" in str(after.alerts["sim-x"])
            assert modem.pin_entries == []
        else:
            pytest.fail("tried before it was on disk")


@pytest.mark.parametrize(("tries", "pin", "mode", "why"), [
    (1, "1234", 0o600, "1 try left"), (0, "1234", 0o600, "PUK"), (3, "", 0o600, "set pin_file"),
    (3, "1234", 0o644, "chmod 600"), (3, "12", 0o600, "4 to 8 digits"),
])
def test_B69_when_the_pin_is_not_tried_at_all(tmp_path: Path, tries: int, pin: str, mode: int, why: str) -> None:
    with FakeModem(tmp_path, pin="1234", tells_tries=True) as modem, root(tmp_path, pin) as place:
        modem.tries = tries
        if pin:
            (place / "pin").chmod(mode)
        with at_work(Modem, config(modem, pin_file="/pin" if pin else ""), root=place) as plugin:
            plugin.wait(lambda: plugin.value("state") == "sim_locked")
            plugin.wait(lambda: plugin.alerts.get("sim-x"))
        assert why in str(plugin.alerts["sim-x"]) and modem.pin_entries == []
        if mode != 0o600:
            assert "may be read by others" in next(iter(Modem.look(config(modem, pin_file="/pin"), place)))


# --- B54, B70: sticks ------------------------------------------------------------------------------------------------


def test_B54_unplugged_and_back_as_another_tty_with_no_leak(modem: FakeModem) -> None:
    counts = []
    with at_work(Modem, config(modem)) as plugin:
        plugin.wait(lambda: plugin.value("state") == "ready")
        spare = []
        for number in range(2):
            modem.unplug()
            plugin.wait(lambda: plugin.value("state") == "absent")
            spare.append(os.openpty())  # the old name is taken
            assert plugin.order("send", {"to": f"+3361234000{number}", "text": "while it was away"}).ok
            modem.plug()
            plugin.wait(lambda number=number: len(sent_ok(plugin)) == number + 1)
            counts.append(len(os.listdir("/proc/self/fd")) - 2 * len(spare))
        for pair in spare:
            os.close(pair[0])
            os.close(pair[1])
    assert counts[0] == counts[-1] and "E_SERIAL" in str(plugin.lines.of("warning"))


def test_B54_unplugged_in_the_middle_of_a_long_message_goes_on_with_the_missing_part(modem: FakeModem) -> None:
    def pull(message: Any) -> None:
        if len(modem.sent) == 1:
            modem.unplug()

    modem.after_submit = pull
    with at_work(Modem, config(modem)) as plugin:
        plugin.order("send", {"to": ME, "text": "x" * 400})
        plugin.wait(lambda: plugin.value("state") == "absent")
        modem.plug()
        plugin.wait(lambda: sent_ok(plugin))
    numbers = [message.concatenation[2] for message in modem.sent]
    assert sorted(set(numbers)) == [1, 2, 3] and len(numbers) <= 4, "at least once, and only what is not sure again"
    assert len({message.concatenation[0] for message in modem.sent}) == 1


def test_B70_one_bad_recipient_and_one_that_never_answers_hold_nobody_up(
        modem: FakeModem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_transport, "SEND_S", 0.6)
    monkeypatch.setattr(outbox, "RETRY_FIRST_S", 0.5)
    monkeypatch.setattr(mail, "UNSURE_MOST", 99)  # however slow this machine is, it is not given up here
    modem.cms["+33600000001"] = 38
    modem.slow.add("+33600000002")
    modem.cms["+33600000003"] = 28
    with at_work(Modem, config(modem)) as plugin:
        for number in (1, 2, 3):
            plugin.order("send", {"to": f"+3360000000{number}", "text": "bad"})
        for number in range(4):
            plugin.order("send", {"to": f"+3361234500{number}", "text": "good"})
        plugin.wait(lambda: len(sent_ok(plugin)) == 4)
        given_up = [value for value in plugin.values("sent") if not value["ok"]]
        modem.cms.clear()
        modem.slow.clear()
        plugin.wait(lambda: len(sent_ok(plugin)) == 6)
    assert {message.to[-3:] for message in modem.sent[:4]} == {"000", "003", "001", "002"}
    assert [(value["to"], value["error"]) for value in given_up] == [
        ("+33600000003", "CMS 28, the network does not know this SIM")]
    assert plugin.value("resets_total") == 0 and "…001: CMS 38, network out of order" in str(plugin.lines.lines)


def test_B70_a_hung_modem_is_opened_anew_then_restarted(modem: FakeModem, quick: None) -> None:
    with at_work(Modem, config(modem)) as plugin:
        plugin.wait(lambda: plugin.value("state") == "ready")
        modem.heals_by_restart = True
        modem.mute = True
        plugin.order("send", {"to": ME, "text": "while it hung"})
        plugin.wait(lambda: plugin.value("state") == "hung")
        plugin.wait(lambda: plugin.value("state") == "ready" and sent_ok(plugin))
        plugin.wait(lambda: plugin.alerts.get("modem-x", "") is None)
    assert modem.resets >= 1 and plugin.value("resets_total") >= 1
    assert any("E_MODEM_HUNG" in str(raised.text) for raised in plugin.raised)


def stick(place: Path, port: str) -> Path:
    """What /sys says of a USB stick with this port."""
    name = Path(os.path.realpath(port)).name
    device = place / "sys/devices/usb1/1-1"
    (device / "1-1:1.0/ttyUSB0").mkdir(parents=True)
    (device / "idVendor").write_text("12d1\n")
    (device / "authorized").write_text("1\n")
    (place / "sys/class/tty" / name).mkdir(parents=True)
    (place / "sys/class/tty" / name / "device").symlink_to(device / "1-1:1.0/ttyUSB0")
    return device / "authorized"


def test_B70_then_its_power_is_reset_by_usb(modem: FakeModem, tmp_path: Path, quick: None) -> None:
    with root(tmp_path) as place:
        (place / modem.port.lstrip("/")).parent.mkdir(parents=True)
        (place / modem.port.lstrip("/")).symlink_to(os.path.realpath(modem.port))
        authorized = stick(place, modem.port)
        seen: list[str] = []
        end = threading.Event()

        def hub() -> None:
            while not end.is_set():
                said = authorized.read_text().strip()
                if said and (not seen or seen[-1] != said):
                    seen.append(said)
                if "0" in seen and said == "1":
                    modem.mute = False
                time.sleep(0.005)

        watcher = threading.Thread(target=hub)
        watcher.start()
        try:
            with at_work(Modem, config(modem), root=place) as plugin:
                plugin.wait(lambda: plugin.value("state") == "ready")
                modem.mute = True
                plugin.wait(lambda: "hung" in plugin.values("state") and plugin.value("state") == "ready")
        finally:
            end.set()
            watcher.join()
    assert seen == ["1", "0", "1"] and "1-1 was taken off and put on again" in str(plugin.lines.of("warning"))
    assert plugin.value("resets_total") >= 2


def test_B70_a_dead_modem_ends_in_one_clear_line_and_a_command_can_cut_its_power(
        modem: FakeModem, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = tmp_path / "cut"
    modem.mute = True
    for module, name, seconds in ((at_transport, "WAKE_S", 0.05), (at_transport, "RESTART_S", 0.05),
                                  (heal, "BACK_S", 0.01), (plugin_module, "AFTER_RESTART_S", 0.01)):
        monkeypatch.setattr(module, name, seconds)
    with at_work(Modem, config(modem, reset_command=("/bin/sh", "-c", f"echo x >> {cut}"))) as plugin:
        plugin.wait(lambda: plugin.state.state == "failed")
    assert "did not help: pull the stick" in plugin.state.reason and cut.read_text() == "x\n"
    with at_work(Modem, config(modem, reset_command=("/bin/false",))) as plugin:
        plugin.wait(lambda: "/bin/false ended with 1" in str(plugin.lines.of("warning")))


def test_B53_noise_between_answers_does_no_harm(modem: FakeModem) -> None:
    end = threading.Event()

    def noise() -> None:
        while not end.wait(0.01):
            modem._write(b"\r\n\x00\x13\xff\xfe^BOOT:1,0,0\r\n\r\n+CRING?\r\n")

    talker = threading.Thread(target=noise)
    talker.start()
    try:
        with at_work(Modem, config(modem)) as plugin:
            for number in range(4):
                modem.incoming(ME, f"message {number}")
                plugin.order("send", {"to": f"+336123400{number:02d}", "text": f"answer {number}"})
            plugin.wait(lambda: len(plugin.values("incoming")) == 4 and len(sent_ok(plugin)) == 4)
    finally:
        end.set()
        talker.join()
    assert sorted(message.text for message in modem.sent) == [f"answer {number}" for number in range(4)]
    assert not plugin.lines.of("error")


def test_no_answer_to_a_ussd_code_does_not_block_the_next(modem: FakeModem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "USSD_S", 0.3)
    modem.ussd = lambda code: "" if code == "*1#" else '+CUSD: 0,"yes",15'
    with at_work(Modem, config(modem)) as plugin:
        plugin.order("ussd", "*1#")
        plugin.order("ussd", "*2#")
        plugin.wait(lambda: plugin.values("ussd_reply") == ["yes"])
    assert "did not answer a USSD code" in str(plugin.lines.of("warning"))

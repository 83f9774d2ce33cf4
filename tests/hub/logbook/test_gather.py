"""What comes into the logbook by itself."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hub.alerts.model import Alert, Event
from hub.logbook.alarms import HOLD_US
from hub.logbook.book import DAY_US
from hub.logbook.crashes import QUIET_US
from hub.logbook.handler import Lines
from hub.notify.service import Service
from hub.store import logbook_rows as rows
from hub.store.logbook_rows import Line, Query
from hub.store.writer import Writer
from tests.hub.logbook.hall import HOUR_US, NOON_US, SECOND_US, Clock, device, log_line, notify, synced
from tests.hub.store import lab as store_lab
from tests.waiting import until


def lines(service: Service, /, **of: Any) -> list[Line]:
    """Oldest first."""
    return rows.find(service.db, Query(**of), 10_000)[::-1]


def texts(service: Service, /, **of: Any) -> list[str]:
    return [line.text for line in lines(service, **of)]


# --- devices ---------------------------------------------------------------------------------------------------


def test_a_device_goes_and_comes_back_and_no_state_between_two_looks_is_missed(tmp_path: Path) -> None:
    clock = Clock()
    with notify(tmp_path, clock) as service:
        tree = service.hall.tree
        synced(tree, "bc-power", now_us=clock.now_us)
        service.step()
        for state in (b"lost", b"init", b"ready", b"disconnected"):
            clock.now_us += 200_000_000
            device(tree, "bc-power", clock.now_us, state)
        service.step()
        assert texts(service, machine="bc-power") == [
            "seen for the first time", "lost: it does not answer any more", "connected again after 6 min",
            "stopped in good order"]
    clock.now_us += HOUR_US
    with notify(tmp_path, clock) as service:  # what changed while notify was away
        synced(service.hall.tree, "bc-power", now_us=clock.now_us)
        service.step()
        service.step()
        assert texts(service, machine="bc-power")[-1] == "connected again after 60 min (noticed late)"
        assert len(lines(service, machine="bc-power")) == 5
        start = texts(service, machine="hub", service="notify")[-1]
        assert "log lines of devices from the last 60 min may be missing" in start


def test_a_new_version_is_a_line_once(tmp_path: Path) -> None:
    clock = Clock()
    for version in ("1.0", "1.0", "1.1", "1.1"):
        with notify(tmp_path, clock) as service:
            synced(service.hall.tree, "bc-power", now_us=clock.now_us)
            service.hall.tree.apply("homie/5/bc-power/sys/version", version.encode(), retained=True, now_us=1)
            clock.now_us += HOUR_US
            service.step()
            found = texts(service, kind="change")
    assert found == ["the agent's version is 1.1, it was 1.0"]


def test_every_line_from_warn_up_is_kept_however_many_come_between_two_looks(tmp_path: Path) -> None:
    clock = Clock()
    with notify(tmp_path, clock) as service:
        tree = service.hall.tree
        names = [f"d{n}" for n in range(10)]
        synced(tree, *names, now_us=clock.now_us)
        tree.apply("homie/5/d0/$description", b'{"name":"d0","version":1,"nodes":{"heater":{"name":"h"}}}',
                   retained=True, now_us=1)
        for name in names:
            for n in range(250):  # the live tree itself keeps 200 of each device
                log_line(tree, name, "warn", f"heater: strange {n}", clock.now_us + n)
            log_line(tree, name, "info", "heater: nothing to tell", clock.now_us)
        log_line(tree, "d0", "error", "heater: stuck", clock.now_us)
        service.step()
        assert [(line.service, line.severity) for line in lines(service, words="stuck")] == [("heater", "error")]
        assert not lines(service, words="nothing")
        for name in names:
            found = lines(service, machine=name, kind="log")
            assert sum(line.count for line in found) == 250 + (name == "d0")


# --- samples ---------------------------------------------------------------------------------------------------


def store(service: Service, seq: int, samples: list[tuple[int, Any]], series: str = "sys/command",
          name: str = "bc-power") -> None:
    with Writer(service.hall.settings.samples_db) as writer:
        boot_us = NOON_US - 10 * DAY_US
        writer.commit([store_lab.batch(seq, {series: [(t - boot_us, value) for t, value in samples]}, device=name,
                                       received_us=NOON_US, offset_us=boot_us)])


def order(prop: str, **more: Any) -> dict[str, Any]:
    return {"node": "heater", "property": prop, "who": "anna (web)", "result": "done", **more}


def test_each_command_is_one_line_also_over_a_restart_and_when_it_comes_late(tmp_path: Path) -> None:
    clock = Clock(NOON_US + HOUR_US)

    def look(service: Service) -> list[str]:
        clock.now_us += 5 * SECOND_US
        service.step()
        return texts(service, kind="command")

    with notify(tmp_path, clock) as service:
        store(service, 1, [(NOON_US, order("mode", value="off"))])
        store(service, 1, [(NOON_US - 9, "clean")], "host/reboot_reason", "bc-water")
        store(service, 2, [(NOON_US - 8, "2026-11-26T11:59:00Z")], "host/boot", "bc-water")
        assert look(service) == look(service) == ["heater/mode = off: done"]
        assert texts(service, machine="bc-water") == [
            "rebooted in good order", "the machine started at 2026-11-26T11:59:00Z"]
    with notify(tmp_path, clock) as service:
        store(service, 2, [(NOON_US + 7, order("say", result="refused: locked"))])
        # a day offline: what it did then comes now
        store(service, 3, [(NOON_US - 3 * DAY_US, order("levels", value={"forced": None}))])
        assert look(service) == look(service) == [
            'heater/levels = {"forced": null}: done', "heater/mode = off: done", "heater/say: refused: refused: locked"]
        assert [line.who for line in lines(service, kind="command")] == ["anna (web)"] * 3


def test_B66_a_kill_between_reading_and_commit_neither_loses_nor_doubles_a_command(tmp_path: Path) -> None:
    """Real processes, killed in the middle of their work again and again, over one database."""
    (tmp_path / "data").mkdir()
    clock = Clock(NOON_US + HOUR_US)
    with notify(tmp_path, clock) as service:
        for seq in range(1, 41):
            store(service, seq, [(NOON_US + seq * 1000 + n, order(f"p{seq}-{n}")) for n in range(5)])
    program = textwrap.dedent("""
        import os, sys, threading, random
        from pathlib import Path
        from tests.hub.logbook.hall import Clock, NOON_US, HOUR_US, notify
        clock = Clock(NOON_US + HOUR_US)
        with notify(Path(sys.argv[1]), clock) as service:
            import hub.logbook.book as book
            add, left = service.hall.logbook.add, [int(sys.argv[2])]
            def counted(entry, **more):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), 9)
                return add(entry, **more)
            service.hall.logbook.add = counted
            for _ in range(5):
                service.step()
                clock.now_us += 5_000_000
    """)
    codes = []
    for after in (3, 120, 10_000):
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path), str(after)], cwd=Path(__file__).parents[3],
                              capture_output=True, text=True, timeout=60)
        codes.append(done.returncode)
    assert codes[0] == codes[1] == -9 and codes[-1] == 0, codes
    with notify(tmp_path, clock) as service:
        found = [line.text for line in lines(service, kind="command")]
    assert len(found) == len(set(found)) == 200


# --- the hub's own parts ---------------------------------------------------------------------------------------


SenderOf = Callable[[Path, str], Lines]


@pytest.fixture
def sender_of() -> Iterator[SenderOf]:
    made: list[Lines] = []

    def make(run_dir: Path, part: str) -> Lines:
        made.append(Lines(run_dir, part))
        return made[-1]

    yield make
    for one in made:
        one.close()


def tell(lines_: Lines, *records: Any) -> None:
    logger = logging.Logger("hub.web.app")
    logger.addHandler(lines_)
    for record in records:
        record(logger)


def failing(number: str) -> None:
    raise KeyError(f"{number} is no number")


def raised(logger: logging.Logger) -> None:
    try:
        failing("+33" + "612345678")
    except KeyError:
        logger.exception("GET /x failed")


def test_lines_of_the_hubs_parts_come_over_their_socket_and_never_loop(
        tmp_path: Path, sender_of: SenderOf) -> None:
    clock = Clock()
    with notify(tmp_path, clock) as service:
        sender = sender_of(service.hall.settings.hub.run_dir, "web")
        own = logging.Logger("hub.logbook.book")
        own.addHandler(sender)
        own.error("about the logbook itself")
        tell(sender, lambda log: log.warning("slow %s", "disk"), lambda log: log.info("nothing"),
             lambda log: log.error("bad %d", "no number"))
        sender.tell("start", "info", "web started")

        def come() -> bool:
            clock.now_us += SECOND_US
            service.step()
            return len(lines(service, machine="hub", service="web")) == 3

        until("three lines", come, timeout_s=10)
        assert {(line.severity, line.text) for line in lines(service, service="web")} == {
            ("warning", "slow disk"), ("error", "bad %d"), ("info", "web started")}
        assert not lines(service, words="itself")


def test_while_notify_is_away_lines_wait_and_what_does_not_fit_is_counted(
        tmp_path: Path, sender_of: SenderOf) -> None:
    clock = Clock()
    with notify(tmp_path, clock) as service:
        run = service.hall.settings.hub.run_dir
        away = run / "away"
        away.mkdir()
        sender = sender_of(away, "ingest")
        for n in range(1500):
            sender.tell("log", "warning", f"line {n}")  # nobody listens: it must not wait
        assert sender._lost == 1500 - 1000


def test_a_crash_is_one_line_and_one_condition_however_often_and_ends_by_itself(
        tmp_path: Path, sender_of: SenderOf) -> None:
    clock = Clock()
    with notify(tmp_path, clock) as service:
        gather = service.parts[-1]
        sender = sender_of(service.hall.settings.hub.run_dir, "web")
        tell(sender, *[raised] * 50)

        def come() -> bool:
            clock.now_us += SECOND_US
            service.step()
            return sum(line.count for line in lines(service, kind="crash")) == 50

        until("fifty of one fault", come, timeout_s=10)
        [line] = lines(service, kind="crash")
        assert line.text.startswith("program fault: KeyError") and "failing" in line.text
        assert "612345678 is" not in line.text + line.detail and "Traceback" in line.detail
        [crash] = rows.crashes(service.db)
        assert line.link == f"/crashes/{crash.fingerprint}" and crash.count == 50
        [one] = list(gather.conditions(clock.now_us))
        assert (one.key, one.severity) == (f"crash:{crash.fingerprint}", "error")
        assert "web of hub" in one.title and "/crashes/" in one.do and one.subject == "plugin:hub/web"
        assert not list(gather.conditions(clock.now_us + QUIET_US + SECOND_US))
        clock.now_us += QUIET_US + SECOND_US
        gather.crashes.add("hub", "web", "1", line.detail, clock.now_us)  # it comes back: a new line, the same fault
        assert len(lines(service, kind="crash")) == 2 and len(rows.crashes(service.db)) == 1


TRACE = """Traceback (most recent call last):
  File "/opt/hutkeeper/lib/python3.11/site-packages/agent/runner/worker.py", line {line}, in run
    self._poll_for_ever()
  File "/opt/hutkeeper/lib/python3.11/site-packages/plugins/heater/plugin.py", line {line}, in poll
    raise ValueError({value})
ValueError: {value}"""


def test_the_same_fault_on_many_devices_is_one_with_its_counts_by_device_and_version(tmp_path: Path) -> None:
    clock = Clock()
    with notify(tmp_path, clock) as service:
        tree = service.hall.tree
        synced(tree, "d1", "d2", now_us=clock.now_us)
        for name, version in (("d1", "1.0"), ("d2", "1.1")):
            tree.apply(f"homie/5/{name}/sys/version", version.encode(), retained=True, now_us=1)
        for n, name in enumerate(("d1", "d2", "d2")):
            trace = TRACE.format(line=n + 10, value=n)
            log_line(tree, name, "error", f"heater: unhandled ValueError: {n}\n{trace}", clock.now_us)
        log_line(tree, "d2", "error", f"heater: unhandled ValueError: 9 (17 more like this in the last 60 s)\n{trace}",
                 clock.now_us)
        log_line(tree, "d1", "error", "meter: bug in poll: IndexError: list index out of range", clock.now_us)
        log_line(tree, "d2", "error", "meter: bug in poll: IndexError: tuple index out of range", clock.now_us)
        service.step()
        crashes = {crash.type: crash for crash in rows.crashes(service.db)}
        assert {kind: crash.count for kind, crash in crashes.items()} == {"ValueError": 3 + 18, "IndexError": 2}
        assert len(lines(service, kind="crash")) == 2
        of = crashes["ValueError"]
        assert of.place == "plugins/heater/plugin.py poll"
        assert {(c.machine, c.service, c.version, c.count) for c in rows.crash_counts(service.db, of.fingerprint)} == {
            ("d1", "heater", "1.0", 1), ("d2", "heater", "1.1", 2 + 18)}
        found = {one.key: one for one in service.parts[-1].conditions(clock.now_us)}
        assert found[f"crash:{of.fingerprint}"].title == "program fault in heater on several machines: ValueError"


def test_the_last_words_of_notify_are_read_by_the_next_one(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys, threading
        from pathlib import Path
        from hub.logbook import handler
        handler.install(Path(sys.argv[1]), "notify")
        thread = threading.Thread(target=lambda: [][1], name="worker")
        thread.start(); thread.join()
        raise RuntimeError("the end")
    """)
    clock = Clock()
    with notify(tmp_path, clock) as service:
        run = service.hall.settings.hub.run_dir
        done = subprocess.run([sys.executable, "-c", program, str(run)], capture_output=True, text=True, timeout=30,
                              cwd=Path(__file__).parents[3], env={**os.environ})
        assert done.returncode == 1 and "RuntimeError: the end" in done.stderr  # Python still says it
        gather = service.parts[-1]
        gather._last_words = gather._ears.last_words()  # type: ignore[attr-defined]
        assert gather._last_words is not None  # type: ignore[attr-defined]

        def come() -> bool:
            clock.now_us += SECOND_US
            service.step()
            return {crash.type for crash in rows.crashes(service.db)} == {"IndexError", "RuntimeError"}

        until("both faults", come, timeout_s=10)
        assert gather._ears.last_words() is None  # type: ignore[attr-defined]


# --- alerts and alarms -----------------------------------------------------------------------------------------


def test_what_happens_to_alerts_is_written_once_with_how_many_follow(tmp_path: Path) -> None:
    clock = Clock()
    alert = Alert(7, "lost:bc-power", "device:bc-power", "critical", "bc-power is lost", "", "its data waits on it",
                  "look at its power", NOON_US, NOON_US, NOON_US, "open")
    other = replace(alert, id=8, key="rule:x:bc-power/a/b", title="too warm", severity="warning")
    with notify(tmp_path, clock) as service:
        # of a device that came and went its own lines tell, once
        events = [Event("opened", alert, NOON_US - 5), Event("resolved", alert, NOON_US - 3),
                  Event("opened", alert, NOON_US, children=3), Event("acknowledged", alert, NOON_US + 5, who="anna"),
                  Event("opened", other, NOON_US + 7), Event("resolved", other, NOON_US + 9)]
        for _ in range(2):
            service.parts[-1].take(events, clock.now_us)
        assert [(line.text, line.severity, line.who) for line in lines(service, machine="bc-power")] == [
            ("alert: bc-power is lost (3 more because of it)", "alarm", ""),
            ("acknowledged: bc-power is lost", "info", "anna"), ("alert: too warm", "warning", ""),
            ("over: too warm", "info", "")]
        assert {line.link for line in lines(service, machine="bc-power")} == {"/alerts/7", "/alerts/8"}


def test_an_alarm_line_is_a_condition_for_an_hour_and_others_are_none(tmp_path: Path) -> None:
    clock = Clock()
    with notify(tmp_path, clock) as service:
        asked = service.desk.handlers
        for severity in ("debug", "info", "warning", "error"):
            asked["log.add"]({"machine": "m", "service": "s", "severity": severity, "text": severity}, "token:x")
        gather = service.parts[-1]
        assert not list(gather.conditions(clock.now_us))
        asked["log.add"]({"machine": "m", "service": "s", "severity": "alarm", "text": "water!"}, "token:x")
    with notify(tmp_path, clock) as service:  # also after a restart
        gather = service.parts[-1]
        [one] = list(gather.conditions(clock.now_us))
        assert (one.key, one.severity, one.title) == ("log:m/s", "critical", "s of m: water!")
        assert not list(gather.conditions(clock.now_us + HOLD_US + 1))
        for later_us in (HOUR_US - 60_000_000, 0):
            service.desk.handlers["log.add"]({"machine": "m", "service": "t", "severity": "alarm", "text": "fire"}, "x")
            clock.now_us += later_us
        assert [line.count for line in lines(service, service="t")] == [2]
    clock.now_us += 600_000_000
    with notify(tmp_path, clock) as service:  # and its hour counts from when it was last said, also after a restart
        assert [one.key for one in service.parts[-1].conditions(clock.now_us)] == ["log:m/t"]

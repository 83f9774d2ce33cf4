"""Requests, the live lane, reload and a silent plugin: the logic by itself, then with the real process."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.bus import Ack, Again, Alert, Answer, Batch, Health, Hello, LogLine, Now, Remote, Welcome
from agent.clock import boot_id, boottime_us
from agent.testing.broker import Broker, mosquitto_path
from agent.uplink.faultbook import Faultbook
from agent.uplink.live import LiveLane
from agent.uplink.plugins import Plugins
from agent.uplink.requests import Refused, Requests
from agent.wire import messages, topics
from agent.wire.messages import NodeDeclaration, PluginDeclaration, Request, Response
from tests.agent.uplink.hub import SmallHub
from tests.agent.uplink.rig import Rig
from tests.waiting import until

needs_mosquitto = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed")
NOW_US = 1_790_000_000_000_000


class Desk:
    """A Requests with one handler that counts."""

    def __init__(self, wall_us: int | None = NOW_US, term: int = 3) -> None:
        self.done: list[dict[str, Any]] = []
        self.answers: list[tuple[str, Response]] = []
        self.wall_us = wall_us
        self.requests = Requests("rig", {"restart": self.act, "ledger": self.act, "broken": self.broken},
                                 publish=lambda topic, data: self.answers.append(
                                     (topic, messages.decode(data, Response))),
                                 wall_us=lambda: self.wall_us, term=lambda: term)

    def act(self, args: dict[str, Any]) -> Any:
        if args.get("no"):
            raise Refused("no, because")
        self.done.append(args)
        return {"done": len(self.done)}

    def broken(self, args: dict[str, Any]) -> Any:
        raise RuntimeError("of ours")

    def ask(self, name: str = "restart", retained: bool = False, **fields: Any) -> Response | None:
        request = Request(**{"id": "a", "issued_us": NOW_US, "ttl_s": 10.0, **fields})
        before = len(self.answers)
        assert self.requests.on_message(topics.request("rig", name), messages.encode(request), retained)
        return self.answers[-1][1] if len(self.answers) > before else None


def test_a_request_is_carried_out_once_and_answered() -> None:
    desk = Desk()
    assert desk.ask(args={"x": 1}) == Response("a", "ok", {"done": 1})
    assert desk.answers[0][0] == "hutkeeper/1/rig/response/restart"
    assert desk.ask(args={"x": 1}) is None and desk.done == [{"x": 1}], "the same id again does nothing"


@pytest.mark.parametrize(("fields", "words"), [
    ({"issued_us": NOW_US - 11_000_000}, "E_CMD_EXPIRED issued 11 s ago"),
    ({"issued_us": NOW_US + 60_000_000}, "in the future"),
    ({"ttl_s": 61.0}, "at most 60"),
    ({"ttl_s": 0.0}, "more than 0"),
    ({"term": 2}, "term 2 is over"),
    ({"retained": True}, "E_CMD_RETAINED"),
    ({"name": "dance"}, "known are broken, ledger, restart"),
    ({"args": {"no": 1}}, "no, because"),
    ({"name": "broken"}, "RuntimeError: of ours"),
])
def test_G10_late_retained_unknown_and_foreign_requests_are_refused_with_the_reason(
        fields: dict[str, Any], words: str) -> None:
    desk = Desk()
    answer = desk.ask(**fields)
    assert answer is not None and answer.status == "error" and words in str(answer.error)
    assert desk.done == []


def test_without_the_time_nothing_is_done_but_looking() -> None:
    desk = Desk(wall_us=None)
    answer = desk.ask()
    assert answer is not None and "does not know the time" in str(answer.error)
    assert desk.ask("ledger", id="b") == Response("b", "ok", {"done": 1})


@pytest.mark.parametrize("payload", [b"{", b"[]", b"\xff\xfe", b'{"id": 1}', b"x" * 100_000, b""])
def test_unreadable_requests_are_passed_over(payload: bytes) -> None:
    desk = Desk()
    assert desk.requests.on_message(topics.request("rig", "restart"), payload, False) is True
    assert not desk.answers and not desk.requests.on_message("homie/5/rig/x", payload, False)


def lane(wanted: list[str], inputs: list[str]) -> tuple[LiveLane, list[tuple[str, Any]], list[tuple[str, Remote]]]:
    sent: list[tuple[str, Any]] = []
    heard: list[tuple[str, Remote]] = []
    made = LiveLane("rig", wanted, inputs, publish=lambda topic, data: sent.append((topic, json.loads(data))),
                    fan_out=lambda topic, remote: heard.append((topic, remote)), wall_us=lambda t: NOW_US + t)
    return made, sent, heard


def test_live_values_go_out_once_a_second_and_only_when_wanted() -> None:
    made, sent, _ = lane(["meter/power_w"], [])
    for ms in range(0, 2500, 100):
        made.on_now(Now("meter", [("meter", "power_w", ms, ms * 1000, None), ("meter", "other", 1, 0, None)]),
                    ms * 1000 + 50_000)
    assert [body["v"] for _, body in sent] == [0, 1000, 2000]
    assert sent[0] == ("hutkeeper/1/rig/live/meter",
                       {"t": NOW_US, "age": 0.05, "property": "power_w", "v": 0, "q": None})


def test_live_values_of_others_reach_the_local_bus_never_a_retained_one() -> None:
    made, _, heard = lane([], ["attic/thermo/room_temperature_c"])
    assert made.subscriptions() == ["hutkeeper/1/attic/live/thermo"]
    topic = topics.live("attic", "thermo")
    good = b'{"t":null,"age":0.5,"property":"room_temperature_c","v":19.5}'
    assert made.on_message(topic, good, True) and heard == []
    assert made.on_message(topic, good, False)
    assert heard == [("live/attic/thermo", Remote("attic", "thermo", "room_temperature_c", 19.5, 0.5, None))]
    assert made.on_message(topic, b'{"t":null,"age":0.5,"property":"humidity","v":1}', False) and len(heard) == 1
    assert made.on_message(topic, b"\xff", False) and len(heard) == 1
    assert not made.on_message("hutkeeper/1/attic/records", good, False)


class Everything:
    """Stands for the sockets' other ends and records: what is tested is what the bus end decides."""

    def __init__(self) -> None:
        self.down: list[Any] = []
        self.health: list[Health] = []
        self.committed: list[list[Batch]] = []
        self.fails = False

    def send_multipart(self, frames: list[bytes], flags: int = 0) -> None:
        from agent import bus

        self.down.append(bus.decode_to_plugin(frames[1]))

    def welcome(self, instance: str, run: str) -> tuple[int, bytes | None]:
        return 0, None

    def commit(self, batches: Any) -> dict[tuple[str, str], int]:
        if self.fails:
            raise OSError("disk")
        group = list(batches)
        self.committed.append(group)
        return {(batch.instance, batch.run): max(other.n for other in group) for batch in group}

    def on_hello(self, declaration: PluginDeclaration, run: str = "") -> None: ...
    def on_now(self, now: Now) -> None: ...
    def on_alert(self, alert: Alert) -> None: ...
    def on_log(self, line: LogLine) -> None: ...
    def on_answer(self, answer: Answer) -> None: ...

    def on_health(self, health: Health) -> None:
        self.health.append(health)


def bus_end(all_: Everything) -> Plugins:
    return Plugins(all_, all_, all_, all_, commit_s=1.0, commit_rows=200, on_answer=all_.on_answer)  # type: ignore[arg-type]


def hello(run: str = "r1", interval_s: float = 1.0) -> Hello:
    return Hello("meter", run, 1, PluginDeclaration("meter", "power_meter", "Meter", interval_s,
                                                    (NodeDeclaration("meter", "Meter", ()),)))


def test_an_unknown_run_is_asked_again_and_a_group_is_acknowledged_only_when_committed() -> None:
    all_ = Everything()
    plugins = bus_end(all_)
    one = Batch("meter", "r1", 1, boot_id(), [])
    plugins._take("meter", one, 0.0)
    assert all_.down == [Again()]
    plugins._take("meter", hello(), 0.0)
    assert all_.down[1:] == [Welcome("r1", 0, None)]
    plugins._take("meter", one, 0.0)
    plugins._take("meter", one, 0.1)
    assert plugins.due_s == 1.0 and len(all_.down) == 2
    all_.fails = True
    with pytest.raises(OSError):
        plugins.commit()
    all_.fails = False
    plugins.commit()
    assert [len(group) for group in all_.committed] == [1] and all_.down[2:] == [Ack("r1", 1)]
    assert plugins.due_s is None


def test_the_last_word_of_a_removed_plugin_does_not_bring_it_back() -> None:
    """Its process has ended and agent.toml no longer names it, but the bus still delivers what it said."""
    all_ = Everything()
    plugins = bus_end(all_)
    plugins._take("meter", hello(), 0.0)
    assert plugins.keep_only(["host"]) == ["meter"]
    for late in (hello(), Health("meter", "failed", "the port is gone", 1, 0), Batch("meter", "r1", 1, boot_id(), [])):
        plugins._take("meter", late, 0.1)
    assert not plugins.known and not all_.health and len(all_.down) == 1
    plugins._take("meter", hello("r2"), 0.2)
    assert "meter" in plugins.known, "agent.toml names it again: another process, another run"


def test_a_batch_behind_a_lost_one_is_not_taken_before_it() -> None:
    """Else the lost one would look like a repeat when it comes, and be acknowledged without being stored."""
    all_ = Everything()
    plugins = bus_end(all_)

    def batch(n: int, oldest: int) -> Batch:
        return Batch("meter", "r1", n, boot_id(), [], None, oldest)

    plugins._take("meter", hello(), 0.0)
    plugins._take("meter", batch(8, 5), 0.0)
    assert all_.down[-1] == Again(), "5 to 7 were lost when uplink was killed"
    for n in (5, 6, 7, 8):
        plugins._take("meter", batch(n, 5), 0.1)
    plugins._take("meter", hello(), 0.1)  # it found a node: the group is not forgotten
    plugins._take("meter", batch(9, 5), 0.1)
    plugins._take("meter", batch(12, 12), 0.1)  # 10 and 11 were given up by the plugin, which counts them
    plugins.commit()
    assert [batch.n for batch in all_.committed[0]] == [5, 6, 7, 8, 9, 12]
    assert all_.down.count(Again()) == 1


def test_a_silent_plugin_is_shown_as_failed_once_and_well_again_when_heard() -> None:
    all_ = Everything()
    plugins = bus_end(all_)
    plugins._take("meter", hello(interval_s=60.0), 0.0)
    plugins.watch(179.0)
    assert all_.health == []
    plugins.watch(181.0)
    plugins.watch(300.0)
    assert [health.state for health in all_.health] == ["failed"] and "180 s" in all_.health[0].reason
    plugins._take("meter", Health("meter", "ok", "", 0, boottime_us()), 301.0)
    plugins.watch(302.0)
    assert [health.state for health in all_.health] == ["failed", "ok"]


def test_a_fault_is_logged_once_and_kept_with_its_newest_figures(caplog: pytest.LogCaptureFixture) -> None:
    alerts: list[Alert] = []
    book = Faultbook(lambda: NOW_US, alerts.append)
    with caplog.at_level("INFO"):
        for age in (31.0, 61.0, 91.0):
            book.fault("E_NO_RECEIPT", "no-receipt", age_s=age)
        assert "91 s" in book.standing["no-receipt"] and len(caplog.records) == 1
        book.clear("no-receipt")
        book.clear("no-receipt")
    assert [alert.text is None for alert in alerts] == [False, False, False, True] and book.standing == {}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@needs_mosquitto
def test_the_real_process_answers_reloads_and_ends(broker: Broker, tmp_path: Path) -> None:
    hub = SmallHub(broker.port, "desk")
    seen: dict[str, Any] = {}
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = lambda c, u, message: seen.__setitem__(message.topic, message.payload)
    client.connect("127.0.0.1", broker.port)
    client.subscribe([("hutkeeper/1/desk/response/+", SubscribeOptions(1)), ("homie/5/desk/#", SubscribeOptions(1)),
                      ("hutkeeper/1/desk/reported", SubscribeOptions(1))])
    client.loop_start()
    with Rig(tmp_path, broker.port, device="desk") as rig:
        plugin = rig.start().plugin()
        plugin.make(10)
        plugin.now(42.0)
        plugin.wait_acked()
        until("stored", lambda: hub.samples >= 10, 20)

        def ask(name: str, **args: Any) -> Response:
            id_ = os.urandom(4).hex()
            seen.pop(f"hutkeeper/1/desk/response/{name}", None)
            request = Request(id_, time.time_ns() // 1000, 10.0, 0, args)
            client.publish(topics.request("desk", name), messages.encode(request), 1)
            payload = until(f"an answer to {name}", lambda: seen.get(f"hutkeeper/1/desk/response/{name}"), 10)
            answer: Response = messages.decode(payload, Response)
            assert answer.id == id_
            return answer

        assert ask("ledger").data[0]["produced"] == 10
        lines = ask("log_tail", lines=5).data["lines"]
        assert lines and {"t", "level", "message"} <= set(lines[0])
        tested = ask("self_test").data
        assert tested["spool_commit_s"] > 0 and tested["link"]["hub"] == "ready"
        refused = ask("log_tail", lines=0)
        assert refused.status == "error" and "1..500" in str(refused.error)

        until("ready", lambda: seen.get("homie/5/desk/$state") == b"ready", 20)
        until("a value", lambda: seen.get("homie/5/desk/meter/power-w") == b"42.0", 20)
        ledger = until("the ledger", lambda: json.loads(seen.get("homie/5/desk/sys/ledger", b"null")), 20)
        assert ledger["produced"] == ledger["receipted"] + ledger["spooled"] + ledger["in_flight"]
        assert "meter" in json.loads(seen["hutkeeper/1/desk/reported"])["plugins"]

        rig.toml.write_text(rig.toml.read_text().split("[plugins.meter]")[0])
        os.kill(rig.pid, signal.SIGHUP)
        until("its topics are cleared", lambda: seen.get("homie/5/desk/meter/power-w") == b"", 20)
        until("reported without it", lambda: json.loads(seen["hutkeeper/1/desk/reported"])["plugins"] == {}, 10)
        rig.toml.write_text("[device]\nid = 7\n")
        os.kill(rig.pid, signal.SIGHUP)
        until("E_CONFIG", lambda: any("E_CONFIG" in line["message"] for line in rig.log()), 10)
        assert rig.stop() == 0
        until("disconnected", lambda: seen.get("homie/5/desk/$state") == b"disconnected", 10)
    client.disconnect()
    client.loop_stop()
    hub.close()

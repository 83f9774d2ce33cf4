"""From a command to the samples on a sound device: real espeak-ng, sox, aplay and ALSA, on files in place of a card."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from agent import bus
from agent.runner.worker import boottime_us
from agent.testing import AtWork, at_work
from plugins.announcer import wav
from plugins.announcer.cache import Cache, Journal
from plugins.announcer.plugin import Announcer
from plugins.announcer.programs import BEEP_IN_HZ, BEEP_OUT_HZ, BEEP_S, last_words, sound_trouble
from tests.plugins.announcer.lab import (
    RATE_HZ,
    Card,
    Listener,
    at_volume,
    dominant_hz,
    processes,
    rms,
    script,
    share_below,
    wait_for,
)

TEXT = "It is a quarter past seven."


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return Card(tmp_path)


@pytest.fixture
def listener(card: Card) -> Iterator[Listener]:
    one = Listener(card)
    yield one
    one.close()


def say(plugin: AtWork, text: str = TEXT, **more: Any) -> Any:
    answer = plugin.order("say", {"text": text, **more})
    assert answer.ok, answer
    return answer.value


def ends(plugin: AtWork, number: int) -> list[dict[str, Any]]:
    """The first ``spoken`` events."""
    events: list[dict[str, Any]] = plugin.until(f"{number} ends", lambda: len(plugin.values("spoken")) >= number
                                                and plugin.values("spoken"))
    return events


def results(plugin: AtWork, number: int) -> list[str]:
    return [event["result"] for event in ends(plugin, number)]


# --- what comes out -----------------------------------------------------------------------------------------------


def test_speech_comes_out_once_at_30_percent(card: Card) -> None:
    with at_work(Announcer, card.config(player=card.player())) as plugin:
        assert say(plugin, service="clock", id="t-1")["state"] == "waiting"
        [event] = ends(plugin, 1)
        assert event | {"waited_s": 0} == {"id": "t-1", "text": TEXT, "service": "clock", "priority": "normal",
                                           "result": "spoken", "duration_s": event["duration_s"], "waited_s": 0}
        plugin.wait(lambda: plugin.value("busy") is False and plugin.value("sound") == "ok")
        assert True in plugin.values("busy")
    [take], [speech] = card.takes(), card.cached()
    assert take == at_volume(speech, 30), "sample for sample what espeak-ng made, and nothing else"
    seconds = len(speech) / 2 / RATE_HZ
    assert 1.2 < seconds < 4 and event["duration_s"] == pytest.approx(seconds, abs=0.001)
    assert 0.02 < rms(speech) < 0.5 and rms(take) == pytest.approx(0.3 * rms(speech[: len(take)]), rel=0.01)


def test_the_volume_of_one_announcement_and_of_all(card: Card) -> None:
    with at_work(Announcer, card.config(player=card.player())) as plugin:
        say(plugin, volume=90)
        ends(plugin, 1)
        assert plugin.order("volume_pct", 60).value == 60
        say(plugin)
        ends(plugin, 2)
        say(plugin, volume=0)
        ends(plugin, 3)
        plugin.wait(lambda: plugin.committed.get("volume_pct") == 60)
    [speech] = card.cached()
    assert card.takes() == [at_volume(speech, 90), at_volume(speech, 60), b""]


def test_the_radio_effect_beeps_narrows_and_hisses(card: Card) -> None:
    with at_work(Announcer, card.config(player=card.player(), cache_dir=card.folder / "plain")) as plugin:
        say(plugin, volume=100)
        ends(plugin, 1)
    with at_work(Announcer, card.config(player=card.player(), effect="radio")) as plugin:
        say(plugin, volume=100)
        ends(plugin, 1)
        assert plugin.lines.of("warning", "error") == []
    plain, radio = card.takes()
    [file] = (card.folder / "plain").glob("*.wav")
    whole = wav.parse(file.read_bytes()).pcm
    beep = 2 * round(BEEP_S * RATE_HZ)
    assert dominant_hz(radio[:beep]) == pytest.approx(BEEP_IN_HZ, abs=10)
    assert dominant_hz(radio[-beep:]) == pytest.approx(BEEP_OUT_HZ, abs=10)
    assert len(radio) == pytest.approx(len(whole) + 2 * beep, abs=100), "as long as before"
    voice = radio[beep:-beep]
    assert share_below(plain, 800) > 0.5 and share_below(voice, 800) < 0.1, "two high-passes of 1 kHz"
    assert rms(voice) > rms(plain) * 0.7, "and as loud as before"
    pause = voice[-2000:]
    assert 0.001 < rms(pause) < 0.03 and rms(whole[-2000:]) < 0.001, "static where the plain voice is silent"


def test_without_sox_it_is_spoken_plainly_and_said(card: Card) -> None:
    config = card.config(player=card.player(), effect="radio", sox="sox-that-is-not-there")
    with at_work(Announcer, config) as plugin:
        say(plugin, volume=100)
        assert results(plugin, 1) == ["spoken"]
        [line] = plugin.lines.of("warning")
        assert line.startswith("spoken without the effect: no program sox-that-is-not-there")
    assert card.cached() == [] and 1.2 < len(card.takes()[0]) / 2 / RATE_HZ < 4


def test_no_shell_and_no_option_is_made_of_a_text(card: Card) -> None:
    trap = card.folder / "trap"
    with at_work(Announcer, card.config(player=card.player())) as plugin:
        for text in (f"--version; touch {trap}", f"$(touch {trap}) `touch {trap}`", "-w /dev/null", "«Ελλάδα» 😀"):
            say(plugin, text)
        assert results(plugin, 4) == ["spoken"] * 4
    assert not trap.exists() and len(card.takes()) == 4 and all(len(take) > 20_000 for take in card.takes())


def test_another_program_by_the_template(card: Card) -> None:
    """As piper is called: the voice by its path, the text on standard input, the file by an option."""
    piper = script(card.folder, "piper", 'echo "$@" > "$0.arguments"\nexec espeak-ng -w "$4" --stdin')
    config = card.config(player=card.player(), voice="/voices/fr.onnx", command=(piper, "-m", "{voice}", "-f", "{wav}"))
    with at_work(Announcer, config) as plugin:
        say(plugin)
        assert results(plugin, 1) == ["spoken"]
    arguments = Path(f"{piper}.arguments").read_text().split()
    assert arguments[:3] == ["-m", "/voices/fr.onnx", "-f"] and arguments[3].endswith("/speech.wav")
    assert card.takes() == [at_volume(card.cached()[0], 30)]


# --- who may, and in what order -----------------------------------------------------------------------------------


def test_an_alarm_interrupts_what_is_played_and_that_is_played_again_whole(card: Card, listener: Listener) -> None:
    """The device takes sound only as it is read: the first player stands in the middle of a long text."""
    long = "The washing machine in the cellar has finished its long programme."
    with at_work(Announcer, card.config(device="fifo", volume_pct=100)) as plugin:
        say(plugin, long, id="long")
        listener.may_read = 30_000
        plugin.wait(lambda: listener.may_read == 0)
        say(plugin, "Water!", priority="alarm", id="water")
        plugin.wait(lambda: plugin.value("queue") == 1)
        listener.may_read = 10_000_000
        assert [(e["id"], e["result"], e.get("cut", 0)) for e in ends(plugin, 2)] == [
            ("water", "spoken", 0), ("long", "spoken", 1)]
    alarm, speech = sorted(card.cached(), key=len)
    alarm, speech = alarm.strip(b"\0"), speech.strip(b"\0")
    wait_for(lambda: listener.heard.count(speech) == 1)
    cut, after = listener.heard.split(alarm)
    assert 20_000 < len(cut.strip(b"\0")) < len(speech), "the first was cut in its middle"
    assert speech.startswith(cut.strip(b"\0")) and after.strip(b"\0") == speech, "then the alarm, then all of it again"


def test_the_key_goes_to_the_asker_alone(card: Card) -> None:
    with at_work(Announcer, card.config(player=card.player())) as plugin:
        key = plugin.order("lock", {"service": "door"}).value["key"]
        plugin.wait(lambda: plugin.value("lock_state")["service"] == "door")
        assert "already locked by service door" in plugin.order("lock", {"service": "kitchen"}).message
        assert "locked by service door and no key" in plugin.order("announce", "May I?").message
        assert "wrong or has expired" in plugin.order("say", {"text": "May I?", "key": "f" * 32}).message
        say(plugin, "I may.", key=key)
        assert results(plugin, 1) == ["spoken"]
        assert plugin.order("enabled", False).value is False
        say(plugin, "I still may.", key=key)
        ends(plugin, 2)
        assert plugin.order("release", {"service": "door"}).value == {"released": True}
        assert "disabled" in plugin.order("announce", "And I?").message
        plugin.wait(lambda: plugin.value("lock_state") == {"service": None, "until": None})
        plugin.wait(lambda: plugin.value("refused") == 3)
        public = repr([plugin.readings, plugin.committed, plugin.lines.lines])
    files = b"".join(path.read_bytes() for path in card.folder.rglob("*") if path.is_file())
    assert key not in public and key.encode() not in files
    assert len(card.takes()) == 2


def test_what_the_schedule_says_on_the_real_bus_is_spoken_once(card: Card) -> None:
    context: zmq.Context[Any] = zmq.Context.instance()
    lane, fan = bus.bind(context, card.folder)
    said = {"id": "time-2026-11-20T12:00", "text": "It is noon.", "kind": "time", "priority": "low", "good_s": 45.0}

    def publish(node: str, name: str, value: Any, age_s: float = 0.0) -> None:
        now = bus.Now(node, [(node, name, value, boottime_us() - round(age_s * 1e6), None)])
        fan.send_multipart([f"now/{node}".encode(), bus.encode(now)])

    try:
        with at_work(Announcer, card.config(player=card.player(), listen=("schedule",)),
                     run_dir=card.folder) as plugin:

            def spoken() -> bool:
                publish("schedule", "announcement", said)
                publish("schedule-2", "announcement", {"text": "Another instance."})
                publish("schedule", "next_announcement", "2026-11-20T12:15:00Z")
                time.sleep(0.02)
                return bool(plugin.values("spoken"))

            plugin.until("it is spoken", spoken)
            publish("schedule", "announcement", {"text": 5})
            plugin.wait(lambda: plugin.value("bad_events") == 1)
            [event] = plugin.values("spoken")
            assert (event["service"], event["result"]) == ("schedule", "spoken")
            # uplink was away for a minute, and gives now what it was given then
            publish("schedule", "announcement", {**said, "id": "late"}, age_s=60.0)
            plugin.wait(lambda: len(plugin.values("spoken")) == 2)
            assert plugin.values("spoken")[1]["result"] == "expired"
    finally:
        lane.close(0)
        fan.close(0)
    assert len(card.takes()) == 1


# --- what goes wrong ----------------------------------------------------------------------------------------------


def test_B57_speech_that_hangs_is_killed_with_what_it_started(card: Card) -> None:
    hung = script(card.folder, "hung", "sleep 1000 &\nsleep 1000")
    config = card.config(command=(hung, "{wav}"), tts_timeout_s=0.2)
    with at_work(Announcer, config) as plugin:
        say(plugin)
        [event] = ends(plugin, 1)
        assert (event["result"], event["why"]) == ("failed", "no speech within 0.2 s, the program was killed")
        plugin.until("no process is left", lambda: processes(card.folder) == [])
        assert plugin.state.state == "degraded" and plugin.alerts["sound-x"].startswith("E_SOUND no speech")
        assert plugin.order("volume_pct", 10).ok, "the plugin itself never hangs"


def test_B57_a_device_that_takes_nothing_is_left_and_tried_again_and_heard_once(card: Card, listener: Listener) -> None:
    text = "It works."
    with at_work(Announcer, card.config(device="fifo", player_grace_s=0.05, volume_pct=100, max_s=1000)) as plugin:
        say(plugin, text)
        plugin.until("the player hangs", lambda: plugin.alerts.get("sound-x") and "hangs" in plugin.alerts["sound-x"])
        plugin.until("it was killed", lambda: plugin.value("sound") == "failed")
        listener.may_read = 10_000_000  # the card works again
        [event] = ends(plugin, 1)
        assert event["result"] == "spoken"
        plugin.wait(lambda: plugin.alerts["sound-x"] is None)
    assert plugin.state.state == "ok"
    [speech] = [one.strip(b"\0") for one in card.cached()]
    wait_for(lambda: listener.heard.count(speech) == 1)
    before, after = listener.heard.split(speech)
    assert len(before) <= 4096 and after.strip(b"\0") == b"", "before it only what fitted into the pipe"


def test_B54_an_unplugged_card_is_one_line_and_the_announcement_is_heard_when_it_is_back(card: Card) -> None:
    card.unplug()
    with at_work(Announcer, card.config(player=card.player())) as plugin:
        say(plugin)
        plugin.wait(lambda: plugin.value("sound") == "absent")
        assert plugin.alerts["sound-x"] == (
            "E_SOUND sound device out is not there (aplay: audio open error: No such file or directory): plug it in, "
            "or set device (aplay -L lists them)")
        plugin.wait(lambda: plugin.values("busy").count(True) >= 2)
        assert len(plugin.lines.of("warning")) == 1
        for conf in card.folder.glob("conf-*"):
            conf.unlink()
        card.plug()
        assert results(plugin, 1) == ["spoken"]
        plugin.wait(lambda: plugin.value("sound") == "ok")
    assert card.takes() == [at_volume(card.cached()[0], 30)]


@pytest.mark.parametrize(("said", "state"), [
    ("aplay: main:831: audio open error: Device or resource busy", "busy"),
    ("ALSA lib confmisc.c:165:(snd_config_get_card) Cannot get card index for 3\n"
     "aplay: main:831: audio open error: No such file or directory", "absent"),
    ("aplay: main:831: audio open error: Permission denied", "denied"),
    ("aplay: pcm_write:2061: write error: Input/output error", "failed"), ("", "failed")])
def test_the_players_words_become_one_line_with_a_way_out(said: str, state: str) -> None:
    words = last_words(said.encode())
    found, line = sound_trouble("hw:3", words)
    assert found == state and "hw:3" in line and ": " in line and "\n" not in line and ":831" not in line


@pytest.mark.parametrize(("program", "why"), [
    ("echo no >&2; exit 3", "no"), ("exit 0", "made no file"), ("printf garbage > $1", "made no WAV file"),
    ("head -c 100 /dev/zero > $1", "made no WAV file"), ("kill -9 $$", "ended by signal 9"),
    ("sox -n -b 8 -r 8000 -t wav $1 synth 1 sine 400", "8 bits a sample, expected 16"),
    ("sox -n -b 16 -r 8000 -t wav $1 synth 20 sine 400", "it would take 20 s, max_s is 10"),
    ("sox -n -b 16 -r 8000 -t wav $1 trim 0 0", "it has no sound in it"),
])
def test_B53_whatever_the_program_makes_it_is_said_in_one_line(card: Card, program: str, why: str) -> None:
    config = card.config(command=(script(card.folder, "bad", program), "{wav}"), max_s=10, player=card.player())
    with at_work(Announcer, config) as plugin:
        say(plugin)
        [event] = ends(plugin, 1)
        assert event["result"] == "failed" and why in event["why"] and "\n" not in event["why"]
    assert card.takes() == [] and card.cached() == []


def test_a_program_that_is_not_installed_is_named_with_its_package(card: Card) -> None:
    with at_work(Announcer, card.config(player="aplay-none")) as plugin:
        say(plugin)
        plugin.wait(lambda: "no program aplay-none" in (plugin.alerts.get("sound-x") or ""))
    with at_work(Announcer, card.config(command=("no-such-tts", "{wav}"))) as plugin:
        say(plugin, "Another text.")
        assert "no program no-such-tts: apt install no-such-tts, or set command" in ends(plugin, 1)[0]["why"]
    with at_work(Announcer, card.config(voice="xq-nowhere")) as plugin:
        say(plugin, "A third one.")
        why = ends(plugin, 1)[0]["why"]
        assert why.startswith("espeak-ng made no speech with the voice xq-nowhere (") and "--voices" in why
    assert list(Announcer.look(card.config(player="aplay-none"), Path("/"))) == [
        "no program aplay-none: sudo apt install aplay-none"]


# --- over a restart, and for long ---------------------------------------------------------------------------------


def test_what_waits_is_spoken_after_a_restart_and_what_was_begun_is_not(card: Card, listener: Listener) -> None:
    """The player stands still in the first one. Then the process is gone with what was committed long before."""
    with at_work(Announcer, card.config(device="fifo")) as plugin:
        say(plugin, "This one is begun.", id="begun")
        plugin.wait(lambda: plugin.value("busy") and processes(card.folder))
        say(plugin, "This one waits.", id="waits")
        plugin.wait(lambda: [one["id"] for one in plugin.committed.get("waiting", [])] == ["waits"])
        late = plugin.committed
    assert processes(card.folder) == [], "the player does not outlive the plugin"
    early = {"waiting": [late["now"], *late["waiting"]], "seen": ["begun", "waits"]}
    for kept in (late, early):  # committed before it was begun: the journal knows all the same
        with at_work(Announcer, card.config(player=card.player()), kept=kept) as plugin:
            assert {(e["id"], e["result"]) for e in ends(plugin, 2)} == {("begun", "cut_off"), ("waits", "spoken")}
            assert say(plugin, "This one waits.", id="waits")["state"] == "known"
            assert plugin.value("queue") in (0, 1)
        (card.folder / "cache/begun").write_text("+begun\n")  # the second life, as if the first had not been
    assert len(card.takes()) == 2


def test_B58_a_player_does_not_outlive_a_killed_process(card: Card, listener: Listener) -> None:
    code = f"""
import time
from pathlib import Path
from agent.testing import at_work
from plugins.announcer.plugin import Announcer, AnnouncerConfig
folder = Path({str(card.folder)!r})
config = AnnouncerConfig(device="fifo", alsa_config=str(folder / "asound.conf"), cache_dir=folder / "c")
with at_work(Announcer, config) as plugin:
    plugin.order("announce", {TEXT!r})
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for(lambda: processes(card.folder, "aplay"))
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: not processes(card.folder))


def test_speech_is_made_once_and_a_torn_file_is_made_anew(card: Card) -> None:
    counted = script(card.folder, "counted", f'echo x >> {card.folder}/made\nexec espeak-ng -w "$1" --stdin')
    with at_work(Announcer, card.config(command=(counted, "{wav}"), player=card.player())) as plugin:
        for n in range(3):
            say(plugin)
            ends(plugin, n + 1)
        assert (card.folder / "made").read_text() == "x\n"
        [file] = (card.folder / "cache").glob("*.wav")
        assert plugin.value("cache_bytes") == file.stat().st_size
        file.write_bytes(file.read_bytes()[:30])  # a power cut
        say(plugin)
        ends(plugin, 4)
    assert (card.folder / "made").read_text() == "x\nx\n"
    takes = card.takes()
    assert len(takes) == 4 and len(set(takes)) == 1


def test_the_cache_is_bounded_and_the_longest_unused_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    for n in range(3):
        cache.put(f"k{n}", b"x" * 300)
        os.utime(tmp_path / f"k{n}.wav", (n, n))
    assert cache.get("k0") is not None
    cache.put("k3", b"x" * 300)
    assert cache.bytes == 900 and cache.get("k1") is None and cache.get("k0") is not None
    cache.put("huge", b"x" * 1001)
    assert cache.get("huge") is None
    (tmp_path / "torn.new").write_bytes(b"x")
    Cache(tmp_path, 600)
    assert len(list(tmp_path.iterdir())) == 2
    Cache(tmp_path / "nowhere", 100).put("k", b"x")  # a disk that fails costs the cache and nothing else


def test_the_journal_is_short_and_takes_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "begun")
    for n in range(100):
        journal.begin(f"i{n}")
    journal.take_back(["i99", "unknown"])
    again = Journal(tmp_path / "begun")
    assert again.begun("i98") and not again.begun("i99") and not again.begun("i2")
    assert len((tmp_path / "begun").read_text().splitlines()) == Journal.KEEP
    for n in range(300):
        again.begin(f"j{n}")
    assert len((tmp_path / "begun").read_text().splitlines()) < 10 * Journal.KEEP and again.begun("j299")
    Journal(tmp_path / "no/folder").begin("x")


def test_a_folder_that_cannot_be_made_is_said_and_speech_goes_on(card: Card) -> None:
    (card.folder / "file").write_text("")
    with at_work(Announcer, card.config(cache_dir=card.folder / "file/cache", player=card.player())) as plugin:
        say(plugin)
        assert results(plugin, 1) == ["spoken"]
        assert "cache_dir" in plugin.lines.of("warning")[0]
    assert len(card.takes()) == 1


def test_B54_fifty_announcements_leave_no_descriptor_and_no_process(card: Card) -> None:
    def open_now() -> int:
        return len(os.listdir("/proc/self/fd"))

    with at_work(Announcer, card.config(queue_max=100)) as plugin:
        say(plugin)
        ends(plugin, 1)
        before = open_now()
        for n in range(50):
            say(plugin, f"Number {n % 5}.")
        assert results(plugin, 51) == ["spoken"] * 51
        assert open_now() <= before + 1
        assert processes(card.folder) == []


# --- WAV ----------------------------------------------------------------------------------------------------------


def test_a_header_that_promises_more_than_there_is() -> None:
    data = bytearray(wav.pack(wav.Sound(22_050, 1, b"\1\2" * 1000)))
    data[40:44] = (0x7FFFF000).to_bytes(4, "little")  # as a program writes it to a pipe
    assert wav.parse(bytes(data)).seconds == pytest.approx(1000 / 22_050)
    for n in range(44):
        with pytest.raises(wav.BadWav):
            wav.parse(bytes(data[:n]))


def test_loudness_is_exact_and_never_overflows() -> None:
    sound = wav.Sound(8000, 1, b"\xff\x7f\x00\x80\x01\x00\xff\xff")
    assert wav.louder(sound, 100).pcm == sound.pcm
    assert wav.louder(sound, 50).pcm == at_volume(sound.pcm, 50) + b""
    assert set(wav.louder(sound, 0).pcm) <= {0, 255}

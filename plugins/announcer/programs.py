"""The command lines of the programs that speak, and their complaints in one line. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from .settings import AnnouncerConfig

ESPEAK = ("espeak-ng", "-v", "{voice}", "-s", "{words_per_min}", "-w", "{wav}", "--stdin")
PIPER = ("piper", "-m", "{voice}", "-f", "{wav}")
"""The text comes on standard input: a text that begins with ``-`` is no option."""
BEEP_IN_HZ, BEEP_OUT_HZ, BEEP_S = 1200, 800, 0.12
STATIC = 0.012
"""Amplitude of the noise, of 1."""


class Step(NamedTuple):
    """One program to run to its end."""

    command: list[str]
    stdin: bytes = b""


def template(config: AnnouncerConfig) -> tuple[str, ...]:
    """The program that makes speech."""
    if config.command:
        return config.command
    chosen = PIPER if config.voice.endswith(".onnx") else ESPEAK
    return tuple(word.replace("{words_per_min}", str(config.words_per_min)) for word in chosen)


def speech(config: AnnouncerConfig, text: str, wav: Path) -> Step:
    """Makes ``wav`` of the text. No shell has a hand in it."""
    words = template(config)
    values = {"wav": str(wav), "voice": config.voice, "text": text}
    command = [re.sub(r"\{(wav|voice|text)\}", lambda found: values[found[1]], word) for word in words]
    return Step(command, b"" if any("{text}" in word for word in words) else text.encode() + b"\n")


def radio(sox: str, scratch: Path, rate_hz: int, seconds: float) -> list[Step]:
    """``speech.wav`` of the folder to ``radio.wav``: narrow, loud and dirty, between two beeps.

    contrast, two high-passes of 1 kHz and a gain of 15 dB (limited) make the voice; noise lies under it."""
    def at(name: str) -> str:
        return str(scratch / name)

    form = ["-r", str(rate_hz), "-c", "1", "-b", "16"]
    beep = ["vol", "0.5", "fade", "t", "0.005", f"{BEEP_S}", "0.005"]
    return [Step([sox, "-V1", *arguments]) for arguments in (
        [at("speech.wav"), *form, at("voice.wav"), "contrast", "75", "highpass", "1000", "highpass", "1000",
         "gain", "-l", "15"],
        ["-n", *form, at("static.wav"), "synth", f"{seconds:.3f}", "whitenoise", "vol", str(STATIC)],
        ["-m", "-v", "1", at("voice.wav"), "-v", "1", at("static.wav"), at("mixed.wav")],
        ["-n", *form, at("in.wav"), "synth", str(BEEP_S), "sine", str(BEEP_IN_HZ), *beep],
        ["-n", *form, at("out.wav"), "synth", str(BEEP_S), "sine", str(BEEP_OUT_HZ), *beep],
        [at("in.wav"), at("mixed.wav"), at("out.wav"), at("radio.wav")],
    )]


def playing(config: AnnouncerConfig) -> list[str]:
    """Plays a WAV from its standard input."""
    return [config.player, "-q", "-D", config.device, "-t", "wav", "-"]


BUSY = re.compile("device or resource busy|device busy", re.I)
ABSENT = re.compile("no such file or directory|no such device|unknown pcm|cannot find card|connection refused|"
                    "host is down|connection terminated", re.I)
DENIED = re.compile("permission denied|operation not permitted", re.I)


def sound_trouble(device: str, complaint: str) -> tuple[str, str]:
    """The state of the sound device and the operator's line, from what the player said."""
    said = f" ({complaint[:160]})" if complaint else ""
    if BUSY.search(complaint):
        return "busy", f"sound device {device} is busy{said}: stop what holds it, or share it (dmix, pipewire)"
    if ABSENT.search(complaint):
        return "absent", f"sound device {device} is not there{said}: plug it in, or set device (aplay -L lists them)"
    if DENIED.search(complaint):
        return "denied", f"sound device {device}: no permission{said}: add the agent's user to the group audio"
    return "failed", f"sound device {device} does not play{said}: try  speaker-test -D {device} -l 1"


def speech_trouble(program: str, voice: str, complaint: str) -> str:
    """The operator's line, from what the program that makes speech said."""
    name = Path(program).name
    do = {"espeak-ng": f"try  espeak-ng -v {voice} hello  (espeak-ng --voices lists the voices)",
          "piper": f"is {voice} there, with its .json beside it?"}.get(name, "try command by hand")
    return f"{name} made no speech with the voice {voice} ({complaint[:160]}): {do}"


def last_words(stderr: bytes) -> str:
    """The line in which a program says why it ended: ALSA's own libraries tell theirs before it."""
    lines = [" ".join(line.split()) for line in stderr.decode("utf-8", "replace").splitlines()]
    lines = ["".join(c for c in line if c.isprintable()) for line in lines if line]
    own = [line for line in lines if not line.startswith("ALSA lib")]
    line = (own or lines or [""])[-1]
    return re.sub(r"^(aplay): [a-z_]+:\d+: ", r"\1: ", line)[:300]

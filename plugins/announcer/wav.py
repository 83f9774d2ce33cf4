"""WAV files of 16-bit samples: length and loudness. Pure."""

from __future__ import annotations

import array
import io
import sys
import wave
from typing import NamedTuple


class BadWav(ValueError):
    """What is wrong with it, in one line."""


class Sound(NamedTuple):
    """``pcm``: little-endian 16-bit samples, channels interleaved."""

    rate_hz: int
    channels: int
    pcm: bytes

    @property
    def seconds(self) -> float:
        return len(self.pcm) / (2 * self.channels * self.rate_hz)


def parse(data: bytes) -> Sound:
    """Raises BadWav. A header that promises more than there is (a program that wrote to a pipe) is believed no more
    than the samples that came."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            pcm = file.readframes(file.getnframes())
    except (wave.Error, EOFError, ValueError, OverflowError, MemoryError) as error:
        raise BadWav(f"no WAV file of plain samples: {error or 'it ends too early'}") from None
    if width != 2:
        raise BadWav(f"{8 * width} bits a sample, expected 16")
    if not 4000 <= rate <= 192_000 or not 1 <= channels <= 8:
        raise BadWav(f"{rate} Hz and {channels} channels, expected 4000 to 192000 Hz and at most 8")
    pcm = pcm[: len(pcm) - len(pcm) % (2 * channels)]
    if not pcm:
        raise BadWav("it has no sound in it")
    return Sound(rate, channels, pcm)


def louder(sound: Sound, volume_pct: float) -> Sound:
    """At ``volume_pct`` of its amplitude (30 is 10.5 dB less)."""
    if volume_pct >= 100:
        return sound
    samples = array.array("h", sound.pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    factor = round(max(0.0, volume_pct) * 655.36)
    scaled = array.array("h", [sample * factor >> 16 for sample in samples])
    if sys.byteorder == "big":
        scaled.byteswap()
    return sound._replace(pcm=scaled.tobytes())


def pack(sound: Sound) -> bytes:
    """As a file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(sound.channels)
        file.setsampwidth(2)
        file.setframerate(sound.rate_hz)
        file.writeframes(sound.pcm)
    return out.getvalue()

"""The programs that speak, behind :class:`agent.api.Source`: jobs go in, what became of them comes out.

In:  ``{"say":{"job":1,"text":"...","volume_pct":30}}``, ``{"stop":1}``
Out: ``{"job":1,"did":"playing","seconds":1.8,"cached":false}``, ``{"job":1,"did":"played"}``,
     ``{"job":1,"did":"failed","at":"speech"|"text"|"sound","why":"..."}``, ``{"did":"plain","why":"..."}`` (no effect)

Nothing here waits: a program that hangs is found by who gave the job, and killed by ``stop``. A killed one that will
not even die (a driver that hangs) is left behind and looked at now and then.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from agent.api import Message

from . import wav
from .cache import Cache, key
from .child import Child
from .programs import Step, playing, radio, speech, speech_trouble, template
from .settings import AnnouncerConfig

SHM = Path("/dev/shm")
MAX_WAV_BYTES = 64 << 20
CLOSE_S = 0.3
RADIO = 1
"""Counts changes of the effect, so that the cache knows an old one."""


class Speaker:
    """:class:`agent.api.Source`. One job at a time; a new one takes the place of the one before."""

    def __init__(self, config: AnnouncerConfig, cache: Cache) -> None:
        self._config = config
        self._cache = cache
        shm = SHM if os.access(SHM, os.W_OK) else None
        self._scratch = Path(tempfile.mkdtemp(prefix="hutkeeper-voice-", dir=shm))
        self._env = {**os.environ, "LC_ALL": "C.UTF-8"}  # the complaints of aplay in the words that we know
        if config.alsa_config:
            self._env["ALSA_CONFIG_PATH"] = config.alsa_config
        self._poll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._bell, select.EPOLLIN)
        self._out: list[Message | bytes] = []
        self._child: Child | None = None
        self._next: Callable[[Child], None] = self._nothing
        self._dying: list[Child] = []
        self._job: dict[str, Any] = {}
        self._mixing: wav.Sound | None = None
        self._mixed = bytearray()
        self._waiting_wav: bytes | None = None
        """What is to be played as soon as the player that was killed has let go of the device."""

    # --- the source -----------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._poll.fileno()

    def wake(self) -> None:
        """Make the reader look at the world: something was asked for."""
        os.eventfd_write(self._bell, 1)

    def receive(self) -> list[Message | bytes]:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        child = self._child
        if child is not None:
            if not child.mute and not child.listen():
                self._deafen(child)  # its closed end would be readable for ever
            if child.process.poll() is not None:
                if not child.mute:
                    child.listen()
                self._child = None
                self._bury(child)
                self._next(child)
        self._reap()
        if self._mixing is not None:
            self._mix()
        if self._waiting_wav is not None and not self._dying:
            sound, self._waiting_wav = self._waiting_wav, None
            self._start(Step(playing(self._config), sound), self._played, "sound")
        out, self._out = self._out, []
        return out

    def send(self, data: bytes) -> None:
        order = msgspec.json.decode(data)
        if "stop" in order:
            if order["stop"] == self._job.get("job"):
                self._abort()
            return
        self._abort()
        self._job = order["say"]
        self._speak()

    def close(self) -> None:
        self._abort()
        for child in self._dying:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(CLOSE_S)
        self._reap()
        self._poll.close()
        os.close(self._bell)
        shutil.rmtree(self._scratch, ignore_errors=True)

    # --- one job --------------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        text, config = self._job["text"], self._config
        self._name = key(template(config), config.voice, RADIO if config.effect == "radio" else 0, text)
        kept = self._cache.get(self._name)
        if kept is not None:
            try:
                self._play(wav.parse(kept), cached=True)
                return
            except wav.BadWav:
                self._cache.forget(self._name)  # torn by a power cut: it is made anew
        self._clear()
        self._start(speech(config, text, self._scratch / "speech.wav"), self._spoken, "speech")

    def _clear(self) -> None:
        for path in self._scratch.glob("*.wav"):
            path.unlink(missing_ok=True)

    def _spoken(self, child: Child) -> None:
        if child.process.returncode != 0:
            self._failed("speech", speech_trouble(child.name, self._config.voice, child.complaint))
            return
        try:
            sound = self._made("speech.wav", child)
        except wav.BadWav as error:
            self._failed("speech", f"{child.name} made {error}")
            return
        if sound.seconds > self._config.max_s:
            self._failed("text", f"it would take {sound.seconds:.0f} s, max_s is {self._config.max_s:g}")
            return
        if self._config.effect == "radio":
            self._plain = sound
            self._steps = radio(self._config.sox, self._scratch, sound.rate_hz, sound.seconds)
            self._effect(None)
        else:
            self._finish(sound)

    def _effect(self, child: Child | None) -> None:
        """The steps of the effect, one after the other; without them it is spoken plainly."""
        if child is not None and child.process.returncode != 0:
            self._without_effect(child.complaint)
        elif self._steps:
            try:
                self._run(self._steps.pop(0), self._effect)
            except OSError as error:
                self._without_effect(f"no program {self._config.sox} ({error.strerror}): apt install sox")
        else:
            try:
                self._finish(self._made("radio.wav", child))
            except wav.BadWav as error:
                self._without_effect(f"{self._config.sox} made {error}")

    def _without_effect(self, why: str) -> None:
        self._tell(did="plain", why=why)
        self._play(self._plain, cached=False)  # not into the cache: the next one shall have the effect again

    def _made(self, name: str, child: Child | None) -> wav.Sound:
        path = self._scratch / name
        try:
            if path.stat().st_size > MAX_WAV_BYTES:
                raise wav.BadWav(f"{path.stat().st_size >> 20} MB of sound")
            return wav.parse(path.read_bytes())
        except OSError:
            raise wav.BadWav("no file") from None

    def _finish(self, sound: wav.Sound) -> None:
        self._cache.put(self._name, wav.pack(sound))
        self._play(sound, cached=False)

    def _play(self, sound: wav.Sound, *, cached: bool) -> None:
        self._mixing, self._mixed, self._cached = sound, bytearray(), cached
        self.wake()

    def _mix(self) -> None:
        """A second of speech at its volume. A minute of it at once would hold up a small board for too long."""
        sound = self._mixing
        assert sound is not None
        begin = len(self._mixed)
        part = sound._replace(pcm=sound.pcm[begin : begin + 2 * sound.channels * sound.rate_hz])
        self._mixed += wav.louder(part, self._job["volume_pct"]).pcm
        self.wake()
        if len(self._mixed) == len(sound.pcm):
            self._mixing = None
            self._waiting_wav = wav.pack(sound._replace(pcm=bytes(self._mixed)))
            self._tell(job=self._job["job"], did="playing", seconds=round(sound.seconds, 3), cached=self._cached)

    def _played(self, child: Child) -> None:
        if child.process.returncode == 0:
            self._tell(job=self._job["job"], did="played")
            self._job = {}
        else:
            self._failed("sound", child.complaint)

    def _failed(self, at: str, why: str) -> None:
        self._tell(job=self._job["job"], did="failed", at=at, why=why)
        self._job = {}

    def _nothing(self, child: Child) -> None:
        return

    # --- programs -------------------------------------------------------------------------------------------------

    def _start(self, step: Step, then: Callable[[Child], None], at: str) -> None:
        try:
            self._run(step, then)
        except OSError as error:
            name = step.command[0]
            package = {"aplay": "alsa-utils", "piper": "piper-tts (pip)"}.get(name, name)
            missing = isinstance(error, FileNotFoundError)
            self._failed(at, f"no program {name}: apt install {package}" if missing and at == "sound" else
                         f"no program {name}: apt install {package}, or set command" if missing else
                         f"{name} cannot be started: {error.strerror}")

    def _run(self, step: Step, then: Callable[[Child], None]) -> None:
        if shutil.which(step.command[0], path=self._env.get("PATH")) is None:  # setpriv would only give a code
            raise FileNotFoundError(2, "not found")
        self._child = Child(step, self._env)
        self._next = then
        self._poll.register(self._child.pidfd, select.EPOLLIN)
        self._poll.register(self._child.stderr_fd, select.EPOLLIN)

    def _deafen(self, child: Child) -> None:
        if not child.mute:
            child.mute = True
            self._poll.unregister(child.stderr_fd)

    def _abort(self) -> None:
        child, self._child = self._child, None
        self._job, self._waiting_wav, self._mixing = {}, None, None
        if child is not None:
            child.kill()
            self._deafen(child)
            self._dying.append(child)

    def _reap(self) -> None:
        for child in [one for one in self._dying if one.process.poll() is not None]:
            self._dying.remove(child)
            self._poll.unregister(child.pidfd)
            child.close()

    def _bury(self, child: Child) -> None:
        self._deafen(child)
        self._poll.unregister(child.pidfd)
        child.close()

    def _tell(self, **event: Any) -> None:
        self._out.append(msgspec.json.encode(event))
        os.eventfd_write(self._bell, 1)

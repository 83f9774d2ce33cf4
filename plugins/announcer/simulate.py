"""A sound device that swallows everything: real text-to-speech, real aplay and ALSA, and no sound."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

NULL = 'pcm.null { type null }\npcm.!default { type plug slave.pcm "null" }\n'


@contextlib.contextmanager
def simulated(config: Any) -> Iterator[Any]:
    """The config on ALSA's null device, with a cache of its own."""
    with tempfile.TemporaryDirectory(prefix="hutkeeper-voice-sim-") as folder:
        alsa = Path(folder) / "asound.conf"
        alsa.write_text(NULL)
        changes: dict[str, Any] = {"alsa_config": str(alsa), "device": "default"}
        if config.cache_dir is None:
            changes["cache_dir"] = Path(folder) / "cache"
        yield msgspec.structs.replace(config, **changes)

"""When a device may be in ``init``: the only state in which its ``$description`` changes.

A round is ``init``, description and values, ``ready``. Controllers read everything anew after each, so there is at most
one a minute. To need no second one, a round stays in ``init`` while news is to be expected: plugins that agent.toml
names have not come yet, or one that has just come still finds what its device has. Values go out meanwhile.
Only time here; the publishing is :class:`agent.uplink.state.State`.
"""

from __future__ import annotations

from collections.abc import Iterable

COLLECT_US = 1_000_000
"""A plugin that finds three meters names them one after another: one description for all."""
ROUND_EVERY_US = 60_000_000
SETTLE_US = 4_000_000
"""A plugin that has just come finds within seconds what its meter has."""
SETTLE_MOST_US = 12_000_000
"""But a plugin that finds things all the time does not keep the device in ``init``."""
FIRST_ROUND_US = 5_000_000
"""Wait at most this long for the plugins that agent.toml names."""


class Rounds:
    """Times in CLOCK_BOOTTIME (us). ``expected``: the plugins of agent.toml."""

    def __init__(self, expected: Iterable[str]) -> None:
        self._expected = set(expected)
        """Named in agent.toml, waited for in the next ``init``, and not heard of yet."""
        self._fresh: set[str] = set()
        """Came since the last ``ready``."""
        self._began_us: int | None = None
        self._described_us: int | None = None
        """When this ``init`` had its newest description."""
        self._news_us = 0
        self._last_us: int | None = None
        self.describe_due_us: int | None = None

    @property
    def in_init(self) -> bool:
        return self._began_us is not None

    @property
    def ready_due_us(self) -> int | None:
        """The end of this ``init``; None while there is none or something waits to be described in it."""
        if self._began_us is None or self._described_us is None or self.describe_due_us is not None:
            return None
        until = self._news_us + SETTLE_US if self._fresh else self._described_us
        if self._expected:
            until = max(until, self._began_us + FIRST_ROUND_US)
        return max(self._described_us, min(until, self._began_us + SETTLE_MOST_US))

    def connected(self, now_us: int) -> None:
        """Every connection begins with ``init``; a known device is described at once."""
        self._began_us, self._described_us = now_us, None
        wait_us = 0
        if self._last_us is None and self._expected:
            wait_us = COLLECT_US if self._fresh else FIRST_ROUND_US
        self.describe_due_us = now_us + wait_us

    def disconnected(self) -> None:
        self._began_us = self._described_us = self.describe_due_us = None

    def came(self, instance: str) -> None:
        """A plugin's first Hello."""
        self._expected.discard(instance)
        self._fresh.add(instance)

    def listed(self, added: Iterable[str]) -> None:
        """Plugins that agent.toml names since now; they start within seconds."""
        self._expected |= set(added)

    def gone(self, instance: str) -> None:
        """A plugin was taken out of agent.toml."""
        self._expected.discard(instance)
        self._fresh.discard(instance)

    def news(self, now_us: int, connected: bool, soon: bool = False) -> None:
        """The description has to change. ``soon`` for what a person has just taken away, else it waits for its
        minute; without a connection it is described with the next one."""
        self._news_us = now_us
        if not connected:
            return
        if self._began_us is not None:
            complete = self._described_us is None and not self._expected
            due = now_us + (0 if complete else COLLECT_US)
        else:
            last_us = now_us if self._last_us is None else self._last_us
            due = max(now_us + COLLECT_US, last_us + (0 if soon else ROUND_EVERY_US))
        self.describe_due_us = due if self.describe_due_us is None else min(self.describe_due_us, due)

    def describe(self, now_us: int) -> bool:
        """The description goes out now. True when ``init`` must be published before it."""
        begins = self._began_us is None
        if begins:
            self._began_us = now_us
        self._described_us = now_us
        self.describe_due_us = None
        return begins

    def ready(self, now_us: int) -> None:
        self.disconnected()
        self._last_us = now_us
        self._fresh.clear()
        self._expected.clear()

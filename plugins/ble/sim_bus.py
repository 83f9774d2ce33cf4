"""A private D-Bus: a real dbus-daemon on a socket of its own, which ends with us however we end."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent.api import ConfigError

CONFIG = """<busconfig>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
</busconfig>
"""
#: The daemon lives as long as our end of the pipe: a process that is killed leaves none behind.
WITH_US = ('dbus-daemon --nofork --nopidfile --nosyslog --print-address=1 --config-file="$1" & '
           'cat >/dev/null; kill $!; wait')


class PrivateBus:
    """A running one. ``address`` is for ``DBUS_SYSTEM_BUS_ADDRESS``."""

    def __init__(self, folder: Path) -> None:
        self._config = folder / "bus.conf"
        self._config.write_text(CONFIG.format(socket=folder / "bus"))
        self.address = ""
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(["sh", "-c", WITH_US, "sh", str(self._config)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                         start_new_session=True)
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip().partition(",")[0]

    def stop(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(5)
        self._process.stdout.close()


@contextlib.contextmanager
def private_bus() -> Iterator[PrivateBus]:
    """Raises ConfigError where there is no dbus-daemon."""
    if shutil.which("dbus-daemon") is None:
        raise ConfigError("the simulated radio needs dbus-daemon: apt install dbus-daemon")
    with tempfile.TemporaryDirectory(prefix="hutkeeper-ble-") as folder:
        bus = PrivateBus(Path(folder))
        try:
            yield bus
        finally:
            bus.stop()

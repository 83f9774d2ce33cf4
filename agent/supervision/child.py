"""A supervised process makes itself a good child: it ends with its supervisor, is bounded, and never blocks on a log.

A killed supervisord leaves its children alive, and its successor starts them again; the kernel's parent-death signal
ends the orphans first (B58, prctl(2)). The lock files of ``agent.bus`` are the second fence.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.settings import Settings

PR_SET_PDEATHSIG = 1
SUPERVISOR_PID = "HUTKEEPER_SUPERVISOR_PID"
"""Set by :mod:`agent.supervision.supervisord` for its children."""
OOM_CONTROL, OOM_UPLINK, OOM_PLUGIN = -500, 100, 300
"""B60: a guard and its control loop are never the victim while there is another one: they stay where the service put
them (-500), plugins go first."""
ORPHAN = 75
"""Exit code (EX_TEMPFAIL) of a child whose supervisor died before it could say that it wants to die with it."""


def end_with_parent(signum: int = signal.SIGKILL) -> None:
    """This process gets ``signum`` when its parent ends, however that ends. Linux only (prctl(2)).

    SIGKILL by default: an orphan that hangs in a C library must not outlive its supervisor either."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def end_with_supervisor(signum: int = signal.SIGKILL) -> None:
    """Under supervisord: end with it. Started by hand: nothing."""
    parent = os.environ.get(SUPERVISOR_PID)
    if parent is None:
        return
    end_with_parent(signum)
    if os.getppid() != int(parent):  # it died before the prctl: nobody would tell us
        sys.exit(ORPHAN)


def adopt(settings: Settings, instances: Sequence[str] = (), signum: int = signal.SIGKILL, *,
          oom: int | None = None) -> None:
    """What ``plugin``, ``guard`` and ``uplink`` do first. ``oom``: one of the ``OOM_`` numbers."""
    end_with_supervisor(signum)
    if oom is not None:
        last_to_go(oom)
    if instances:
        limit_memory(sum(settings.plugins[name].memory_mb for name in instances if name in settings.plugins))
    if os.environ.get(SUPERVISOR_PID) is not None:
        from agent.supervision.logs import never_block

        never_block()


def last_to_go(score: int) -> None:
    """Where the kernel's OOM killer finds this process (proc(5), oom_score_adj): a higher one goes first. Only upwards:
    to be safer than its parent a process needs a right that ours has not."""
    if os.environ.get(SUPERVISOR_PID) is None:
        return  # by hand: as whoever started it wants it
    path = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):
        if score > int(path.read_text()):
            path.write_text(str(score))


def limit_memory(megabytes: int) -> None:
    """A leak ends this process by MemoryError instead of the whole device by its OOM killer (B57, RLIMIT_DATA)."""
    if megabytes <= 0:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = megabytes << 20
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY or wanted < soft:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not fill the card

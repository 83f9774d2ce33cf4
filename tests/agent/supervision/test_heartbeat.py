"""B64: a process whose thread is dead ends itself with a non-zero code, whatever holds the interpreter."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

HEAD = "import time\nfrom agent.supervision.heartbeat import Heartbeat\n"


def run(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HEAD + textwrap.dedent(body)], capture_output=True, text=True,
                          timeout=30, check=False)


def test_B64_no_beat_ends_the_process_and_shows_where_it_stood() -> None:
    done = run("""
        heart = Heartbeat(limit_s=0.4)
        heart.start()
        def stuck_here():
            time.sleep(20)
        stuck_here()
    """)
    assert done.returncode == -signal.SIGALRM
    assert "stuck_here" in done.stderr


def test_B64_one_dead_thread_of_two_is_enough() -> None:
    done = run("""
        heart = Heartbeat(("loop", "writer"), limit_s=0.4)
        heart.start()
        for _ in range(400):
            heart.beat("loop")
            time.sleep(0.05)
    """)
    assert done.returncode == -signal.SIGALRM


def test_B64_a_c_library_that_holds_the_interpreter_ends_too() -> None:
    done = run("""
        import ctypes
        heart = Heartbeat(limit_s=0.4)
        heart.start()
        ctypes.PyDLL(None).sleep(20)      # PyDLL keeps the interpreter's lock, as a hung extension module does
    """)
    assert done.returncode == -signal.SIGALRM


def test_a_beating_process_lives_and_ends_as_it_likes() -> None:
    done = run("""
        heart = Heartbeat(("loop", "writer"), limit_s=0.4)
        heart.start()
        for _ in range(30):
            heart.beat("loop"); heart.beat("writer")
            time.sleep(0.05)
        heart.stop()
        time.sleep(0.6)
        print("well")
    """)
    assert (done.returncode, done.stdout) == (0, "well\n")

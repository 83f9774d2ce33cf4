"""An exception that nobody caught: one form, bounded, without secrets, once a minute with the count."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.wire import crashes


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_the_first_line_names_it_and_the_trace_follows() -> None:
    message = crashes.text(raised(ValueError("no such unit\nkWhh")))
    first, _, trace = message.partition("\n")
    assert first == "unhandled ValueError: no such unit\\nkWhh"
    assert trace.startswith("Traceback (most recent call last):")
    assert "raise error" in trace and crashes.is_crash(message)


def test_a_deep_stack_keeps_where_it_began_and_where_it_broke() -> None:
    def deep(n: int) -> None:
        if n == 0:
            raise KeyError("bottom" * 400)
        (deep if n % 2 else deeper)(n - 1)

    def deeper(n: int) -> None:
        deep(n - 1)

    try:
        deep(120)
    except KeyError as error:
        message = crashes.text(error)
    assert len(message) <= crashes.MAX_CHARS
    assert "in test_a_deep_stack" in message and message.endswith("bottom'")


@pytest.mark.parametrize("said", [
    "login with password=hunter22 failed", "{'token': 'tk-hunter22'}", "https://anna:hunter22@example.org/x refused",
    "Authorization: Bearer hunter22", "call +49 171 2233445", 'api_key: "hunter22, and more"'])
def test_what_is_secret_is_not_in_it(said: str) -> None:
    message = crashes.text(raised(RuntimeError(said)))
    assert "hunter22" not in message and "2233445" not in message
    assert "…" in message


def test_the_value_of_the_command_that_failed_is_not_in_it() -> None:
    message = crashes.text(raised(RuntimeError("cannot say 'come home, Anna'")), {"text": "come home, Anna"})
    assert "Anna" not in message


def test_an_endless_loop_is_one_message_a_minute_with_the_count() -> None:
    now = [0.0]
    pace = crashes.Pace(lambda: now[0])
    sent = []
    for n in range(1800):  # three minutes, ten a second
        now[0] = n / 10
        message = pace.message(crashes.text(raised(ValueError(f"reading {n}"))))
        if message is not None:
            sent.append(message)
    assert len(sent) == 3
    assert [crashes.more(one) for one in sent] == [0, 599, 599]
    assert pace.message(crashes.text(raised(KeyError("another")))) is not None


def test_kinds_that_are_invented_take_no_memory() -> None:
    pace = crashes.Pace(lambda: 0.0)
    for n in range(1000):
        pace.message(crashes.text(type(f"Error{n}", (Exception,), {})("x")))
    assert len(pace._seen) <= crashes.MAX_KINDS


def test_the_last_words_of_a_process_are_its_crash_and_nothing_older() -> None:
    crash = crashes.text(raised(OSError("no disk")))
    assert crashes.last_in(f"started\n{crash}\n") == crash
    assert crashes.last_in(crash) == crash
    assert crashes.last_in("2026-11-26T20:00:00Z ERROR x: unhandled ValueError: on the bus already\ntrace\n") == ""
    assert crashes.last_in("nothing\n") == ""


def test_a_service_that_dies_of_an_exception_says_so_at_the_end_of_its_log(tmp_path: Path) -> None:
    """The real command: the rules of a device whose run folder is a file."""
    (tmp_path / "run").write_text("")
    toml = tmp_path / "agent.toml"
    toml.write_text(f'[device]\nid = "bench"\ndata_dir = "{tmp_path}"\nrun_dir = "{tmp_path}/run"\n'
                    '[mqtt]\nhost = "127.0.0.1"\nport = 9\n')
    done = subprocess.run([sys.executable, "-m", "agent.cli", "rules", "--config", str(toml)], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 1
    message = crashes.last_in(done.stderr)
    assert message.startswith("unhandled NotADirectoryError: ") and "agent/ruling/service.py" in message

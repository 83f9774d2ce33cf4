"""Which fault a trace is."""

from __future__ import annotations

import pytest

from agent.wire import crashes
from hub.logbook.handler import trace_of
from hub.logbook.trace import fault, of_log_line, own
from tests.hub.logbook.test_gather import TRACE

WHOLE = TRACE.format(line=3, value=1)


def caught(action: object) -> str:
    try:
        action()  # type: ignore[operator]
    except Exception as error:
        return trace_of(error)
    raise AssertionError("it did not raise")


def deep(n: int) -> None:
    if n == 0:
        raise RecursionError("deep enough")
    deep(n - 1)


def chained() -> None:
    try:
        deep(0)
    except RecursionError as error:
        raise ConnectionError("because of it") from error


def test_lines_and_values_do_not_count_but_the_way_and_the_type_do() -> None:
    one = fault(TRACE.format(line=10, value="'a'"))
    assert one == fault(TRACE.format(line=99, value="'a'"))
    assert one.fingerprint == fault(TRACE.format(line=99, value="'b'")).fingerprint
    assert (one.type, one.place) == ("ValueError", "plugins/heater/plugin.py poll")
    others = {one.fingerprint, fault(TRACE.format(line=1, value="1").replace("ValueError: ", "KeyError: ")).fingerprint,
              fault(TRACE.format(line=1, value="1").replace("in poll", "in step")).fingerprint,
              fault(TRACE.format(line=1, value="1").replace("plugins/heater", "plugins/meter")).fingerprint}
    assert len(others) == 4


def test_the_depth_of_a_recursion_is_a_value() -> None:
    assert fault(caught(lambda: deep(3))).fingerprint == fault(caught(lambda: deep(30))).fingerprint
    assert fault(caught(lambda: deep(3))).place == "hub/logbook/test_trace.py deep"


def test_of_a_chain_it_is_the_last_one() -> None:
    found = fault(caught(chained))
    assert (found.type, found.message, found.place) == (
        "ConnectionError", "because of it", "hub/logbook/test_trace.py chained")


@pytest.mark.parametrize(("path", "ours"), [
    ("/opt/hutkeeper/lib/python3.11/site-packages/hub/web/app.py", "hub/web/app.py"),
    ("/home/pi/src/agent/runner/worker.py", "agent/runner/worker.py"),
    ("/usr/lib/python3.11/threading.py", ""), ("<string>", ""),
    ("/opt/hutkeeper/lib/python3.11/site-packages/flask/app.py", "")])
def test_our_own_files_are_known_however_they_are_installed(path: str, ours: str) -> None:
    assert own(path) == ours


@pytest.mark.parametrize("text", ["", "x", "Traceback (most recent call last):", '  File "a", line x', "\n\n:\n",
                                  "é" * 99, "ValueError", TRACE[:120]])
def test_no_text_is_too_odd_for_a_fingerprint(text: str) -> None:
    assert len(fault(text, "somewhere").fingerprint) == 12


def test_what_an_agent_sends_is_the_same_fault_however_deep_and_long_it_was() -> None:
    def sent(n: int, said: str) -> str:
        def first(left: int) -> None:
            second(left)

        def second(left: int) -> None:
            if left == 0:
                raise ValueError(said)
            first(left - 1)

        try:
            first(n)
        except ValueError as error:
            return crashes.text(error)
        raise AssertionError

    found = [of_log_line(f"heater: {sent(n, said)}") or ("", "", "") for n, said in
             ((60, "a"), (60, "b" * 290), (61, "c" * 100))]
    assert {len(trace) > 2500 and "\n  ...\n" in trace for _, trace, _ in found} == {True}
    assert len({fault(trace).fingerprint for _, trace, _ in found}) == 1


def test_log_lines_that_tell_an_exception() -> None:
    assert of_log_line("heater: the value is strange") is None
    assert of_log_line("an unhandled case") is None
    assert of_log_line("bus: unhandled KeyError: 1")[:2] == ("bus", "KeyError: 1")  # type: ignore[index]
    service, trace, _ = of_log_line(f"heater: unhandled ValueError: 1\n{WHOLE}") or ("", "", "")
    assert service == "heater" and fault(trace) == fault(WHOLE)
    cut = WHOLE[:WHOLE.rindex("ValueError")]
    _, trace, _ = of_log_line(f"heater: unhandled ValueError: 1\n{cut}") or ("", "", "")
    assert fault(trace).fingerprint == fault(WHOLE).fingerprint
    assert of_log_line("unhandled OSError: full")[0] == "agent"  # type: ignore[index]
    assert of_log_line("ble: bug in poll: IndexError: x") == ("ble", "IndexError: x", "ble poll")

"""What tests of plugins use, here and elsewhere: transcripts, conformance, fakes at the lowest real boundary."""

from __future__ import annotations

from agent.testing.at_work import AtWork, at_work
from agent.testing.broker import Broker
from agent.testing.checks import conformance
from agent.testing.fakes import FakePty, Lines, VirtualClock, io_over
from agent.testing.transcripts import cases, run_case

__all__ = ["AtWork", "Broker", "FakePty", "Lines", "VirtualClock", "at_work", "cases", "conformance", "io_over",
           "run_case"]

"""Every plugin's golden transcripts, found in its folder: a case costs no code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import loader
from agent.api import ConfigError
from agent.testing import cases, run_case


def found_cases() -> Iterator[object]:
    for name in loader.found():
        try:
            kind = loader.load(name)
        except ConfigError:
            continue  # tests/test_plugins_conform.py says what is wrong with it
        for case in cases(loader.folder(kind)):
            yield pytest.param(case, id=f"{name}-{case.name}")


@pytest.mark.parametrize("case", list(found_cases()))
def test_transcript(case: Path) -> None:
    run_case(case)

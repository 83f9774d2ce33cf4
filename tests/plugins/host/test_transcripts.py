"""The golden cases of plugins/host/testcases: folders that stand for /."""

from __future__ import annotations

from pathlib import Path

import pytest

import plugins.host
from agent.testing import cases, run_case

FOLDER = Path(plugins.host.__file__).parent


@pytest.mark.parametrize("case", cases(FOLDER), ids=lambda case: case.name)
def test_case(case: Path) -> None:
    run_case(case)

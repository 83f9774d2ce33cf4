"""The shape we care about is a test: every installed plugin passes the checks that ``agent.testing`` gives to all."""

from __future__ import annotations

import pytest

from agent import loader
from agent.testing import cases, conformance


@pytest.mark.parametrize("name", list(loader.found()))
def test_plugin_conforms(name: str) -> None:
    assert conformance(loader.load(name)) == []


@pytest.mark.parametrize("name", list(loader.found()))
def test_plugin_has_a_transcript(name: str) -> None:
    assert cases(loader.folder(loader.load(name))), f"plugins/{name}/testcases has no case"

"""B59: any order of starts. All 24: ``python -m tests.agent.supervision.start_orders``."""

from __future__ import annotations

import pytest

from tests.agent.supervision.start_orders import come_up


@pytest.mark.parametrize("order", [("agent", "notify", "ingest", "broker")], ids=" ".join)
def test_b59_the_broker_last_of_all(order: tuple[str, ...]) -> None:
    assert come_up(order, 0.2).left == []

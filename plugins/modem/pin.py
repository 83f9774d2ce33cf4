"""The SIM's PIN: one try in a boot, never the last one, never the same wrong one again (FAULTS B69). Pure.

``state`` is a part of ``io.kept``. :meth:`Pin.begin` comes before the try and must be on disk before it is made: then a
kill at any moment cannot make a second one.
"""

from __future__ import annotations

from typing import Any

WRONG_MOST = 2
"""Of three tries; the modems that do not tell how many are left."""


class Locked(Exception):
    """No try may be made: why, and what to do."""


class Pin:
    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def begin(self, boot: str, version: str, sim: str | None, left: int | None) -> None:
        """Book a try. ``version``: another one when the PIN's file was written anew; ``left``: tries, as the SIM says.

        Raises Locked."""
        state = self._state
        if left is not None and left <= 1:
            raise Locked(f"the PIN has {left} try left, which is not used; enter it with a phone, or turn it off there")
        if state.get("result") == "right" and sim is not None and state.get("sim") == sim and state.get(
                "version") == version:
            # This SIM took this PIN before: no guess; the stick has only started anew. Counted all the same: somebody
            # may have changed the PIN with a phone, and the answer may never come.
            state.update(boot=boot, result="tried", wrong=1)
            return
        if state.get("result") == "wrong" and state.get("version") == version:
            raise Locked("this PIN was refused before; write the right one to pin_file")
        if state.get("boot") == boot:
            raise Locked("a PIN was tried since this machine started; enter it with a phone, or restart the machine")
        if state.get("wrong", 0) >= WRONG_MOST and left is None:
            raise Locked(f"a PIN was tried {state['wrong']} times without success and the modem does not say how many "
                         "tries are left; enter it with a phone, or turn it off there")
        state.update(boot=boot, version=version, sim=sim, result="tried", wrong=state.get("wrong", 0) + 1)

    def right(self) -> None:
        self._state.update(result="right", wrong=0)

    def wrong(self) -> None:
        self._state["result"] = "wrong"

    def ready(self) -> None:
        """The SIM asks for nothing (any more): somebody entered it."""
        if self._state.get("wrong") and self._state.get("result") != "right":
            self._state.update(wrong=0)

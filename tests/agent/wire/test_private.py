from __future__ import annotations

from agent.wire.private import without


def test_an_answer_is_kept_without_what_was_said_and_to_whom() -> None:
    value = {"to": "0612345678", "text": "the code is 4711", "priority": 3, "more": [{"key": "opensesame"}]}
    assert without("refused by modem: +33 6 12 34 56 78 is not in send_to", value) == \
        "refused by modem: … is not in send_to"
    assert without("'the code is 4711' with opensesame", value) == "'…' with …"
    assert without("the text makes 12 SMS, at most 4 (max_parts)", value) == \
        "the text makes 12 SMS, at most 4 (max_parts)"


def test_short_words_and_other_values_take_nothing_away() -> None:
    assert without("it is on", "on") == "it is on"
    assert without("set to 20.5 at 2026-11-26", 20.5) == "set to 20.5 at …"  # a date looks like a number: rather so
    assert without("", None) == ""

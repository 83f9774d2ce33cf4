"""What a person reads: short enough, in the time of the house."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from hub.alerts.model import Alert
from hub.notify.texts import REPLY_LETTERS, SMS_LETTERS, Style, Told, clock, compose
from plugins.modem import gsm7

PARIS = ZoneInfo("Europe/Paris")
NOW = 1_774_641_600_000_000  # 2026-03-27 21:00 in Paris


def alert(title: str, severity: str = "critical", kept: str = "", do: str = "", since_us: int = NOW) -> Alert:
    return Alert(1, "k", "hub", severity, title, "", kept, do, since_us, since_us, since_us, "open")  # type: ignore[arg-type]


def style(kind: str = "modem", language: str = "en") -> Style:
    return Style(kind, PARIS, NOW, language, "Basecamp")  # type: ignore[arg-type]


def test_an_sms_says_all_of_it_where_there_is_room() -> None:
    told = Told(alert("Water in the cellar", kept="the valve is shut", do="look at the stopcock"), "opened", 3)
    assert compose([told], style()).body == (
        "Critical: Water in the cellar since 21:00 CET. Safe: the valve is shut. Do: look at the stopcock. "
        "3 more are under it.")


def test_what_to_do_comes_before_what_is_safe_when_there_is_room_for_one() -> None:
    told = Told(alert("Water in the cellar", kept="x" * 60, do="y" * 60), "opened")
    body = compose([told], style()).body
    assert "Do: yyy" in body and "Safe" not in body and len(body) <= SMS_LETTERS - REPLY_LETTERS


def test_a_long_title_leaves_its_details_out_for_what_is_safe_and_what_to_do() -> None:
    told = Told(alert("watch: no internet: the router answers, nothing behind it does: the modem, or the provider",
                      kept="the house goes on, push waits", do="look at the router and the provider's line"), "opened")
    assert compose([told], style()).body == (
        "Critical: watch: no internet since 21:00 CET. Safe: the house goes on, push waits. "
        "Do: look at the router and the provider's line.")
    long = Told(alert("watch: no internet: the router answers, nothing behind it does: the modem, or the provider"), "")
    assert "the modem, or the provider since" in compose([long], style()).body, "there is room"


def test_a_push_does_not_say_its_title_twice_and_names_what_is_listed() -> None:
    told = Told(alert("watch: mains lost"), "opened", 7, under=("cellar: no longer connected", "attic: silent"))
    text = compose([told], style("url"))
    assert text.title == "Basecamp: critical: watch: mains lost"
    assert text.body.splitlines() == [
        "Since 21:00 CET.",
        "7 more are listed under it: cellar: no longer connected; attic: silent; and 5 more."]
    wet, dark = Told(alert("Water in the cellar"), "opened"), Told(alert("Dark", "error"), "opened")
    assert compose([dark, wet, dark], style("url")).title == "Basecamp: critical: Water in the cellar, and 2 more"
    over = Told(alert("x" * 300), "resolved")
    text = compose([over], style("url"))
    assert len(text.title) == 250 and text.body.startswith("x" * 300)


@given(st.lists(st.builds(Told, st.builds(alert, st.text(st.characters(codec="ascii", categories=("L", "N", "Zs")),
                                                         min_size=1, max_size=110),
                                          st.sampled_from(["info", "warning", "error", "critical"])),
                          st.sampled_from(["opened", "resolved", "worse", "again", "reminder"]),
                          st.integers(0, 20_000)), min_size=1, max_size=200), st.booleans())
def test_B67_every_sms_fits_into_one_with_room_for_the_code(told: list[Told], capped: bool) -> None:
    body = compose(told, style(), total=12_345 if capped else None, since_us=NOW).body
    septets = gsm7.encode(body)
    assert septets is not None, "letters of the GSM alphabet alone"
    assert len(septets) <= SMS_LETTERS - (0 if told[0].what == "resolved" else REPLY_LETTERS), body


def test_another_day_has_its_date_in_the_language_of_the_house_and_summer_time_its_name() -> None:
    assert clock(NOW - 86_400_000_000, style()) == "Thu 26 Mar 21:00 CET"
    assert clock(NOW - 86_400_000_000, style(language="fr")) == "jeu. 26 mars 21:00 CET"
    assert clock(NOW + 3 * 86_400_000_000, style()) == "Mon 30 Mar 22:00 CEST"


def test_speech_is_made_for_the_ear() -> None:
    told = Told(alert("Water in the cellar", kept="the valve is shut", do="look at the stopcock"), "opened")
    assert compose([told], style("announcer")).body == (
        "Attention, an alarm. Water in the cellar, since 21:00. The valve is shut. Look at the stopcock.")

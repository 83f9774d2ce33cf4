"""The time of day and spans of time in words, in English and French. Pure."""

from __future__ import annotations

EN = ("twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
      "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty")
FR = ("zéro", "une", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze", "douze",
      "treize", "quatorze", "quinze", "seize", "dix-sept", "dix-huit", "dix-neuf", "vingt")
FR_TENS = {20: "vingt", 30: "trente", 40: "quarante", 50: "cinquante"}
LANGUAGES = ("en", "fr")


def time_in_words(hour: int, minute: int, language: str) -> str:
    """``(7, 15)``: "a quarter past seven", "sept heures et quart"."""
    return _fr(hour, minute) if language == "fr" else _en(hour, minute)


def _en(hour: int, minute: int) -> str:
    to = minute > 30
    at = (hour + to) % 24
    name = {0: "midnight", 12: "noon"}.get(at, EN[at % 12])
    if minute == 0:
        return name if at in (0, 12) else f"{name} o'clock"
    away = 60 - minute if to else minute
    if away == 30:
        return f"half past {name}"
    if away == 15:
        return f"a quarter {'to' if to else 'past'} {name}"
    words = EN[away] if 0 < away <= 20 else f"twenty-{EN[away - 20]}"
    if away % 5:
        words += " minute" if away == 1 else " minutes"
    return f"{words} {'to' if to else 'past'} {name}"


def _fr(hour: int, minute: int) -> str:
    """In words of the clock face until noon, in numbers after it, as people say it."""
    if minute == 0 or hour > 12:
        return _fr_hour(hour) if minute == 0 else f"{_fr_hour(hour)} {_fr_number(minute)}"
    if minute in (15, 30):
        half = "demi" if hour in (0, 12) else "demie"
        return f"{_fr_hour(hour)} et {'quart' if minute == 15 else half}"
    if minute <= 30 or hour == 12:
        return f"{_fr_hour(hour)} {_fr_number(minute)}"
    left = "le quart" if minute == 45 else _fr_number(60 - minute)
    return f"{_fr_hour(hour + 1)} moins {left}"


def _fr_hour(hour: int) -> str:
    if hour % 12 == 0:
        return "midi" if hour == 12 else "minuit"
    return f"{_fr_number(hour)} heure{'s' if hour > 1 else ''}"


def _fr_number(number: int) -> str:
    """1 to 59, feminine (une minute, vingt et une heures)."""
    if number <= 20:
        return FR[number]
    tens, ones = number // 10 * 10, number % 10
    if ones == 0:
        return FR_TENS[tens]
    return f"{FR_TENS[tens]} et une" if ones == 1 else f"{FR_TENS[tens]}-{FR[ones]}"


def when_in_words(minutes: int, days: int | None, language: str) -> str:
    """How far away something is: ``days`` (of a whole day) or ``minutes``."""
    fr = language == "fr"
    if days is not None:
        if days <= 0:
            return "aujourd'hui" if fr else "today"
        if days == 1:
            return "demain" if fr else "tomorrow"
        return f"dans {days} jours" if fr else f"in {days} days"
    if minutes <= 0:
        return "maintenant" if fr else "now"
    if minutes % 1440 == 0:
        return when_in_words(0, minutes // 1440, language) if minutes > 1440 else _span(24, "hour", "heure", fr)
    if minutes % 60 == 0:
        return _span(minutes // 60, "hour", "heure", fr)
    return _span(minutes, "minute", "minute", fr)


def _span(number: int, en: str, fr_word: str, fr: bool) -> str:
    plural = "s" if number > 1 else ""
    return f"dans {_fr_number(number) if number < 60 else number} {fr_word}{plural}" if fr else \
        f"in {number} {en}{plural}"

"""Which passwords are too weak. Our own rule, no list from elsewhere: length, variety, and words that people pick.

After NIST SP 800-63B section 5.1.1.2: length and a check against what is guessed first; no rules on kinds of letters.
"""

from __future__ import annotations

import re

MIN_LENGTH = 10
MAX_LENGTH = 200
MIN_DIFFERENT = 5
#: What a guesser tries first, alone or with digits and signs around it.
WORDS = frozenset(re.findall(r"\w+", """
password passwort passwd pass motdepasse contrasena parola admin administrator root user login welcome letmein
secret master access hutkeeper basecamp raspberry raspberrypi homeassistant heating heater changeme default
qwerty qwertz azerty asdf asdfgh zxcvbn iloveyou sunshine princess dragon monkey football baseball shadow superman
batman starwars summer winter spring autumn monday friday january february march april june july august september
october november december computer internet server test testing tester demo guest hello freedom whatever trustno
love baby angel michael daniel jordan hunter soccer hockey killer charlie thomas pepper ginger cookie flower cheese
"""))
#: Rows of keys, the alphabet and the digits: any run of these is as good as one letter.
RUNS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop",
        "1qaz2wsx3edc4rfv5tgb6yhn7ujm", "q1w2e3r4t5y6")
LEET = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"})


def weakness(password: str, user: str = "") -> str | None:
    """Why this password is refused and what would be accepted, or None when it is good enough."""
    if len(password) < MIN_LENGTH:
        return f"a password needs at least {MIN_LENGTH} characters: four words that do not belong together will do"
    if len(password) > MAX_LENGTH:
        return f"a password has at most {MAX_LENGTH} characters"
    lower = password.lower()
    if len(set(lower)) < MIN_DIFFERENT:
        return f"a password needs at least {MIN_DIFFERENT} different characters"
    for text in (lower, lower.translate(LEET)):
        left = _without_guessable(text, user.lower())
        # what remains after everything that can be guessed is what a guesser must really find
        if len(left) < MIN_DIFFERENT:
            return "this password is soon guessed: it is made of a known word, a run of keys, a year or the user's name"
    return None


def _without_guessable(text: str, user: str) -> str:
    for length in range(len(text), 3, -1):  # repeated parts: abcdabcdabcd
        if len(text) % length == 0 and length < len(text) and text == text[:length] * (len(text) // length):
            text = text[:length]
    if len(user) >= 3:
        text = text.replace(user, "")
    for run in RUNS:
        for direction in (run, run[::-1]):
            for length in range(len(direction), 3, -1):
                for start in range(len(direction) - length + 1):
                    text = text.replace(direction[start : start + length], "")
    for word in sorted(WORDS, key=len, reverse=True):
        text = text.replace(word, "")
    text = re.sub(r"(19|20)\d\d", "", text)
    return re.sub(r"(.)\1{2,}|[^a-z]+$|^[^a-z]+", "", text)

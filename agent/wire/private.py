"""What was said to people and over the telephone is nobody's business: an answer is kept without it. Pure."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "…"
LEAST = 3
"""A shorter word says nothing, and is in every other one."""
_SECRETS = re.compile(
    r"(?P<url>://)[^\s/@'\"]+@"  # user and password in a URL
    r"|(?P<key>(?:pass(?:word|wd|phrase)?|secret|token|api_?key|[?&]key|\bc?pin|\bpuk|msisdn|authorization"
    r"|one-time code[^:\n]{0,60})(?:\\*['\"])?\s*[:=]\s*(?:bearer\s+|basic\s+)?(?:\\*['\"])?)"
    r"(?:[^\s'\",;&}\\]|\\[^'\"\s]){3,}"  # within an object of JSON a quote is \", and stays
    r"|(?P<bearer>\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<pin>\b(?:pin|puk)\s+)[0-9]{4,8}\b"
    r"|(?P<ours>\bhut_)[A-Za-z0-9_-]{8,}"
    r"|(?P<path>https?://[^\s/]+/)[^\s'\"]*[A-Za-z0-9_-]{20,}[^\s'\"]*"  # a web hook's path is its password
    r"|(?P<channel>\b(?!(?:https?|mqtts?|wss?|rtsps?|rtmp|tcp|udp|tls|ssl|ipc|file|inproc|unix|socket|rfc2217)://)[a-z][a-z0-9+.-]{1,20}://)"
    r"[^\s'\"]+",  # tgram://, ntfys://: all of a channel's address opens it
    re.IGNORECASE)
_CALLED = re.compile(r"(?<![0-9])\+[1-9](?:[ ./()-]?[0-9]){6,13}(?![0-9A-Za-z])"
                     r"|(?<![0-9A-Za-z.:-])00[0-9](?:[ ./()-]?[0-9]){6,13}(?![0-9A-Za-z])"
                     r"|(?<![0-9A-Za-z.:_/-])0[1-9](?:[ .-]?[0-9]{2}){4}(?![0-9A-Za-z.:-])")
_NUMBER = re.compile(r"\+?[0-9](?:[ ./()-]?[0-9]){5,}")
_NAMED = re.compile(r"(?i)\b(\w*(?:password|passwd|passphrase|secret|token|api_?key|credential|authorization|pin|puk))"
                    r"(['\"]?\s*[:=]\s*)(?:bearer\s+|basic\s+)?(b?'[^']*'|b?\"[^\"]*\"|[^\s,;)}\]]+)")
_IN_URL = re.compile(r"(\w+://)[^\s/@]+@")


def without(text: str, value: Any) -> str:
    """``text`` without any text of the command ``value``, and without what looks like a telephone number (a plugin may
    write it in another form than it came)."""
    for word in sorted(_texts(value), key=len, reverse=True):
        text = text.replace(word, HIDDEN)
    return _NUMBER.sub(HIDDEN, text)


def redacted(line: str) -> str:
    """A line of a log without passwords, tokens, one-time codes and telephone numbers. Dates and figures stay."""
    def hidden(found: re.Match[str]) -> str:
        if found["url"]:
            return f"://{HIDDEN}@"
        return f"{found[found.lastgroup or 0]}{HIDDEN}"

    return _CALLED.sub(HIDDEN, _SECRETS.sub(hidden, line))


def _texts(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value} if len(value) >= LEAST else set()
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {text for item in items for text in _texts(item)}


def in_trace(text: str) -> str:
    """``text`` without what stands behind a word like password, and without user and password of an address."""
    return _IN_URL.sub(rf"\1{HIDDEN}@", _NAMED.sub(rf"\1\2{HIDDEN}", text))

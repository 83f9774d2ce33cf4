"""Who may come in: users, passwords, sessions, tokens and the first admin's code, over web.db.

Secrets are random, handed out once and kept as hashes. A password is kept by argon2id; a session or token has 256
random bits, so plain SHA-256 is enough there and costs nothing on each request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import Struct

from hub.store.web_db import ROLES, Session, Token, User, WebDb
from hub.web.passwords import weakness

IDLE_US = 30 * 60 * 1_000_000
ABSOLUTE_US = 12 * 3600 * 1_000_000
SEEN_EVERY_US = 60 * 1_000_000
CODE_US = 24 * 3600 * 1_000_000
MAX_TOKEN_DAYS = 365
SCOPES = ("read", "command")
"""``command`` reads too."""
USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,39}\Z")
CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""No I, O, 0, 1: the code is read from a screen and typed."""
TOKEN_PREFIX = "hut_"


class Refused(ValueError):
    """What is wrong with the input and what would be right; shown to the person."""


class Caller(Struct, frozen=True):
    """Who makes a request: a session or a token."""

    name: str
    role: str
    session: Session | None = None
    token: Token | None = None

    @property
    def key(self) -> str:
        """Tells callers apart, for limits and keys: two tokens may have the same name."""
        return f"{self.name}#{self.token.id}" if self.token is not None else self.name


class Accounts:
    """All of it. ``now_us`` is the wall clock, handed in by tests."""

    def __init__(self, path: Path, *, now_us: object = None, hasher: PasswordHasher | None = None) -> None:
        self.db = WebDb(path)
        self._clock = now_us
        # OWASP Password Storage: argon2id, 19 MiB, 2 passes, 1 lane; a Pi 3 needs a good half second for it
        self._hasher = hasher or PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._hashing = threading.Semaphore(2)  # a flood of logins must not take the memory of the hub
        self._nobody = ""

    def now_us(self) -> int:
        return int(self._clock()) if callable(self._clock) else time.time_ns() // 1000

    # --- users -------------------------------------------------------------------------------------------

    def add_user(self, name: str, role: str, password: str) -> None:
        """Raises Refused."""
        self._check(name, role, password)
        if not self.db.add_user(name, role, self._hash(password), self.now_us()):
            raise Refused(f"the user {name} exists already: choose another name")

    def add_first_admin(self, name: str, password: str, code: str) -> None:
        """Raises Refused."""
        self._check(name, "admin", password)
        if not self.db.add_first_admin(name, self._hash(password), _digest(_plain(code)), self.now_us()):
            raise Refused("this code is not (or no longer) good: print a new one with  hutkeeper-hub user first-code")

    def first_code(self) -> str | None:
        """A new one-time code that makes the first admin, or None when there is a user already."""
        code = "".join(secrets.choice(CODE_LETTERS) for _ in range(12))
        now = self.now_us()
        if not self.db.add_first_code(_digest(code), now, now + CODE_US):
            return None
        return f"{code[:4]}-{code[4:8]}-{code[8:]}"

    def set_password(self, name: str, password: str, keep_session: int | None = None) -> None:
        """Ends the user's sessions but ``keep_session``. Raises Refused."""
        self._check(name, "viewer", password)
        if not self.db.set_password(name, self._hash(password), self.now_us(), keep_session):
            raise Refused(f"there is no user {name}")

    def set_role(self, name: str, role: str) -> None:
        """Raises Refused."""
        if role not in ROLES:
            raise Refused(f"{role} is not a role: choose one of {', '.join(ROLES)}")
        if not self.db.set_role(name, role, self.now_us()):
            raise Refused(f"{name} does not exist, or is the only admin: make another admin first")

    def remove_user(self, name: str) -> None:
        """Raises Refused."""
        if not self.db.remove_user(name):
            raise Refused(f"{name} does not exist, or is the only admin: make another admin first")

    def verify(self, name: str, password: str) -> User | None:
        """The user, if the password is right; takes as long for a name that does not exist."""
        user = self.db.user(name)
        with self._hashing:
            if not self._nobody:  # made when it is first needed: the console's commands need none
                self._nobody = self._hasher.hash(secrets.token_hex(16))
            try:
                self._hasher.verify(user.password if user else self._nobody, password[:1000])
            except (VerificationError, InvalidHashError):
                return None
        return user

    def _hash(self, password: str) -> str:
        with self._hashing:
            return self._hasher.hash(password)

    def _check(self, name: str, role: str, password: str) -> None:
        if not USER_NAME.match(name):
            raise Refused("a user name has letters, digits and . _ @ - only, at most 40")
        if role not in ROLES:
            raise Refused(f"{role} is not a role: choose one of {', '.join(ROLES)}")
        reason = weakness(password, name)
        if reason is not None:
            raise Refused(reason)

    # --- sessions ----------------------------------------------------------------------------------------

    def begin_session(self, user: User, address: str, agent: str) -> str:
        """The secret of a new session; never one that the browser brought along (fixation)."""
        secret = secrets.token_urlsafe(32)
        now = self.now_us()
        self.db.end_old_sessions(now - IDLE_US, now - ABSOLUTE_US)
        self.db.add_session(_digest(secret), user.name, now, address, agent[:200])
        return secret

    def session(self, secret: str, *, active: bool = True) -> Session | None:
        """The session if it is alive; ``active`` says that a person did something just now."""
        session = self.db.session(_digest(secret))
        if session is None:
            return None
        now = self.now_us()
        if now - session.seen_us > IDLE_US or now - session.made_us > ABSOLUTE_US:
            self.db.end_session(session.id)
            return None
        if active and now - session.seen_us > SEEN_EVERY_US:
            self.db.seen_session(session.id, now)
        return session

    def end_session(self, session_id: int) -> bool:
        return self.db.end_session(session_id)

    # --- tokens ------------------------------------------------------------------------------------------

    def make_token(self, name: str, user: str, days: int, scope: str = "read") -> str:
        """The token, shown once. Raises Refused."""
        name = name.strip()
        if not 1 <= len(name) <= 60:
            raise Refused("give the token a name of at most 60 letters: what will use it?")
        if scope not in SCOPES:
            raise Refused(f"{scope} is not a scope: choose one of {', '.join(SCOPES)}")
        owner = self.db.user(user)
        if scope == "command" and (owner is None or owner.role == "viewer"):
            raise Refused(f"{user} may not command, so neither may a token of {user}: choose an operator or admin")
        if not 1 <= days <= MAX_TOKEN_DAYS:
            raise Refused(f"a token lives 1 to {MAX_TOKEN_DAYS} days")
        secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = self.now_us()
        self.db.add_token(_digest(secret), name, scope, user, now, now + days * 86_400_000_000)
        return secret

    def token(self, secret: str) -> Token | None:
        token = self.db.token(_digest(secret))
        now = self.now_us()
        if token is None or token.expires_us <= now:
            return None
        if token.used_us is None or now - token.used_us > SEEN_EVERY_US:
            self.db.used_token(token.id, now)
        return token

    def role_of(self, token: Token) -> str:
        """What the token may do now: never more than its owner."""
        owner = self.db.user(token.user)
        return "operator" if token.scope == "command" and owner is not None and owner.role != "viewer" else "viewer"

    def close(self) -> None:
        self.db.close()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(code: str) -> str:
    """A code as it was made, however it was typed."""
    return "".join(char for char in code.upper() if char.isalnum())[:40]

"""Who may call which route: denied unless the route says otherwise, for the whole URL map.

Each view carries what it needs (``@needs("viewer")``); one that carries nothing is shut to everybody, and a test walks
the map. Every POST must come from our own page (Origin) and hold the session's form token; bearer tokens only open
routes that say so, and only those of scope ``command`` change anything: no browser sends one by itself, so they need no
form token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlsplit

from flask import Flask, Request, Response, abort, g, jsonify, redirect, request
from msgspec import Struct
from werkzeug.wrappers import Response as BaseResponse

from hub.store.web_db import ROLES
from hub.web.accounts import Accounts, Caller
from hub.web.texts import Texts

Level = Literal["open", "viewer", "operator", "admin"]
View = TypeVar("View", bound=Callable[..., Any])
SAFE = ("GET", "HEAD", "OPTIONS")
COOKIE, FORM_COOKIE, KNOWN_COOKIE = "hutkeeper", "hutkeeper-form", "hutkeeper-known"
PREFIX = "__Host-"

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not no-referrer: with it a browser sends "Origin: null" with our own forms
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Needs(Struct, frozen=True):
    level: Level
    token: bool
    """True when a bearer token opens it too: of scope ``read`` what a viewer may GET, of ``command`` the rest."""
    form: bool = True
    """False for a POST that no browser makes and no cookie helps: it needs no form token."""


def needs(level: Level, *, token: bool = False, form: bool = True) -> Callable[[View], View]:
    """Mark a view; nearest to the function, under the route."""

    def mark(view: View) -> View:
        view.needs = Needs(level, token, form)  # type: ignore[attr-defined]
        return view

    return mark


def needs_of(app: Flask, endpoint: str) -> Needs | None:
    if endpoint == "static":
        return Needs("open", False)
    return getattr(app.view_functions.get(endpoint), "needs", None)


class Gate:
    """Stands before every request."""

    def __init__(self, app: Flask, accounts: Accounts, texts: Texts, *, secure: bool, public_url: str | None) -> None:
        self.app = app
        self.accounts = accounts
        self.texts = texts
        self.secure = secure
        self.cookie = PREFIX + COOKIE if secure else COOKIE
        self.known_cookie = PREFIX + KNOWN_COOKIE if secure else KNOWN_COOKIE
        self.form_cookie = PREFIX + FORM_COOKIE if secure else FORM_COOKIE
        self._origin = _origin(public_url) if public_url else None
        self._key = secrets.token_bytes(32)
        app.before_request(self.enter)
        app.after_request(self.leave)

    # --- in ----------------------------------------------------------------------------------------------

    def enter(self) -> BaseResponse | None:
        g.t = self.texts
        g.caller = None
        g.form_secret = request.cookies.get(self.form_cookie, "")
        g.new_form_secret = False
        rule = needs_of(self.app, request.endpoint) if request.endpoint else None
        g.api = request.path.startswith(("/api/", "/metrics")) or (rule is not None and rule.token)
        self._know_caller(token=rule.token if rule else request.endpoint is None and g.api)  # a misspelt path is a 404
        if rule is not None and rule.level == "open":
            if request.endpoint != "static" and rule.form and request.method not in SAFE:
                self._own_form()
            return None
        if g.caller is None:
            return self._ask_to_log_in()
        if request.routing_exception is not None:
            return None  # 404 or 405, told only to those who are in
        if rule is None or ROLES.index(g.caller.role) < ROLES.index(rule.level):
            abort(403, self.texts("error.scope") if g.caller.token is not None else None)
        if request.method not in SAFE:
            if g.caller.token is None:
                self._own_form()
            elif g.caller.token.scope != "command":
                abort(403, self.texts("error.scope"))
        return None

    def _know_caller(self, *, token: bool) -> None:
        kind, _, secret = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            found = self.accounts.token(secret.strip()) if token else None
            if found is not None:
                g.caller = Caller(f"token:{found.name}", self.accounts.role_of(found), token=found)
            return
        cookie = request.cookies.get(self.cookie)
        if cookie:
            session = self.accounts.session(cookie, active=request.headers.get("X-Background") is None)
            if session is not None:
                g.caller = Caller(session.user, session.role, session=session)
                g.session_secret = cookie

    def _ask_to_log_in(self) -> BaseResponse:
        if not g.api and request.method not in SAFE and "text/html" in request.headers.get("Accept", ""):
            # a person's form, and their session has ended: back to the page it stood on, by way of the login
            page = urlsplit(request.headers.get("Referer", ""))
            there = own_path(page.path or "/") if _origin(page.geturl()) in (_origin(request.host_url), self._origin) \
                else "/"
            return redirect(f"/login?ended&next={quote(there)}", 303)
        if g.api or request.headers.get("X-Background") is not None or request.method not in SAFE:
            answer = jsonify(error=self.texts("error.t401" if g.api else "error.ended"))
            answer.status_code = 401
            if g.api:
                answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        path = request.full_path.rstrip("?")
        return redirect("/login" if path == "/" else f"/login?next={quote(path)}", 303)

    # --- forms -------------------------------------------------------------------------------------------

    def form_token(self) -> str:
        """What each form carries as ``_form``: bound to the session, or before the login to a cookie of its own."""
        if g.caller is not None and g.caller.session is not None:
            return _of_session(g.session_secret)
        if not g.form_secret:
            g.form_secret, g.new_form_secret = secrets.token_urlsafe(24), True
        return self._sign(g.form_secret)

    def _sign(self, secret: str) -> str:
        return hmac.new(self._key, secret.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _own_form(self) -> None:
        """Refuse a POST that did not come from a page of ours."""
        origin = request.headers.get("Origin") or _origin(request.headers.get("Referer", ""))
        if origin not in (_origin(request.host_url), self._origin) or not origin:
            abort(400, "csrf")
        given = (request.form.get("_form") or request.headers.get("X-Form", "")).encode("ascii", "replace").decode()
        if g.caller is not None:
            good = hmac.compare_digest(_of_session(g.session_secret), given)
        else:
            good = bool(g.form_secret) and hmac.compare_digest(self._sign(g.form_secret), given)
        if not good:
            abort(400, "csrf")

    # --- out ---------------------------------------------------------------------------------------------

    def leave(self, response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if self.secure:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        if request.endpoint != "static":
            response.headers.setdefault("Cache-Control", "no-store")
        if getattr(g, "new_form_secret", False):
            self._set(response, self.form_cookie, g.form_secret)
        return response

    def set_session(self, response: BaseResponse, secret: str) -> None:
        self._set(response, self.cookie, secret)

    def end_session(self, response: BaseResponse) -> None:
        response.delete_cookie(self.cookie, path="/", secure=self.secure, httponly=True, samesite="Lax")

    def remember(self, response: BaseResponse, user: str) -> None:
        """Mark this browser as one that has been in the account, for the login limits; it opens nothing."""
        mark = secrets.token_hex(8)
        self._set(response, self.known_cookie, f"{mark}.{self._known(mark, user)}", max_age=180 * 86400)

    def knows(self, request: Request, user: str) -> str:
        """The browser's mark if it has been in this account since the hub's web started, else ''."""
        mark, _, seal = request.cookies.get(self.known_cookie, "").partition(".")
        return mark if mark and hmac.compare_digest(seal.encode(), self._known(mark, user).encode()) else ""

    def _known(self, mark: str, user: str) -> str:
        return self._sign(f"known {mark} {user}")

    def _set(self, response: BaseResponse, name: str, value: str, max_age: int | None = None) -> None:
        response.set_cookie(name, value, path="/", secure=self.secure, httponly=True, samesite="Lax", max_age=max_age)


def _of_session(secret: str) -> str:
    """The form token of a session: made of its secret alone, so a page that stays open while the hub is restarted (a
    tablet on the wall) still commands. It tells nothing of the secret."""
    return hmac.new(secret.encode("utf-8", "replace"), b"form", hashlib.sha256).hexdigest()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.scheme and parts.netloc else ""


def own_path(path: str) -> str:
    """Where to go after the login: a path of ours, never another site (``//evil``, ``/\\evil``)."""
    if not path.startswith("/") or path.startswith("//") or "\\" in path or not path.isprintable():
        return "/"
    return path

"""Coming in and going out: login, the first admin, logout."""

from __future__ import annotations

import logging
import math

from flask import Blueprint, g, make_response, redirect, render_template, request
from werkzeug.wrappers import Response

from agent.wire import faults
from hub.web.access import Gate, needs, own_path
from hub.web.accounts import Refused
from hub.web.audit import Audit
from hub.web.house import Hut

log = logging.getLogger(__name__)


def blueprint(hut: Hut, gate: Gate, audit: Audit) -> Blueprint:
    bp = Blueprint("login", __name__)

    def page(status: int = 200, **fields: object) -> Response:
        first = not hut.accounts.db.users()
        return make_response(render_template("login.html", first=first, next=own_path(next_path()),
                                             ca=hut.settings.web.cert is not None, **fields), status)

    def next_path() -> str:
        return request.form.get("next") or request.args.get("next") or "/"

    def lanes(name: str) -> tuple[str, str]:
        """A browser that has been in this account before does not stand in one line with those that have not."""
        known = gate.knows(request, name)
        lane = f"account {name} (known browser {known})" if known else f"account {name}"
        return lane, lane if known else f"address {request.remote_addr}"

    def told_to_wait(name: str) -> Response | None:
        wait = hut.limits.wait_s(*set(lanes(name)))
        if wait <= 0:
            return None
        note_attack(name)
        seconds = math.ceil(wait)
        response = page(429, error=hut.texts("login.wait", seconds=seconds), name=name)
        response.headers["Retry-After"] = str(seconds)
        return response

    def note_attack(name: str) -> None:
        for what in hut.limits.attacked(*set(lanes(name))):
            if hut.attack(what):
                line = faults.line("E_LOGIN_ATTACK", hut.now_us(), what=what)
                log.error("%s", line)
                audit.note("login attack", what, result=line, who="-")

    @bp.get("/login")
    @needs("open")
    def login() -> Response:
        if g.caller is not None:
            return redirect("/", 303)
        note = "logged_out" if "out" in request.args else "ended" if "ended" in request.args else ""
        return page(note=hut.texts(f"login.{note}") if note else "")

    @bp.post("/login")
    @needs("open")
    def enter() -> Response:
        name = request.form.get("name", "").strip()[:100]
        refused = told_to_wait(name)
        if refused is not None:
            return refused
        user = hut.accounts.verify(name, request.form.get("password", ""))
        if user is None:
            hut.limits.failed(*set(lanes(name)))
            note_attack(name)
            audit.note("login", name, result="refused", who="-")
            return page(401, error=hut.texts("login.wrong"), name=name)
        hut.limits.succeeded(*set(lanes(name)))
        return let_in(user.name)

    @bp.post("/login/first")
    @needs("open")
    def first() -> Response:
        name = request.form.get("name", "").strip()[:100]
        refused = told_to_wait("first admin")
        if refused is not None:
            return refused
        if request.form.get("password") != request.form.get("again"):
            return page(400, error=hut.texts("login.different"), name=name)
        try:
            hut.accounts.add_first_admin(name, request.form.get("password", ""), request.form.get("code", ""))
        except Refused as error:
            hut.limits.failed(*set(lanes("first admin")))
            return page(400, error=str(error), name=name)
        hut.limits.succeeded(*set(lanes("first admin")))
        audit.note("first admin", name, result="made", who=name)
        return let_in(name)

    def let_in(name: str) -> Response:
        user = hut.accounts.db.user(name)
        assert user is not None
        if g.caller is not None and g.caller.session is not None:
            hut.accounts.end_session(g.caller.session.id)
        secret = hut.accounts.begin_session(user, request.remote_addr or "", request.headers.get("User-Agent", ""))
        audit.note("login", name, result="done", who=name)
        response = redirect(own_path(next_path()), 303)
        gate.set_session(response, secret)
        gate.remember(response, name)
        return response

    @bp.post("/logout")
    @needs("viewer")
    def logout() -> Response:
        hut.accounts.end_session(g.caller.session.id)
        audit.note("logout", g.caller.name)
        response = redirect("/login?out", 303)
        gate.end_session(response)
        return response

    return bp

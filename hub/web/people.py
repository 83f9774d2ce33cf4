"""Users, sessions and tokens for the admin; one's own password and sessions for everybody."""

from __future__ import annotations

from flask import Blueprint, abort, g, make_response, redirect, render_template, request
from werkzeug.wrappers import Response

from hub.store.web_db import ROLES
from hub.web.access import Gate, needs
from hub.web.accounts import SCOPES, Refused
from hub.web.audit import Audit
from hub.web.house import Hut


def blueprint(hut: Hut, gate: Gate, audit: Audit) -> Blueprint:
    bp = Blueprint("people", __name__)
    accounts, t = hut.accounts, hut.texts

    def page(status: int = 200, **fields: object) -> Response:
        return make_response(render_template(
            "people.html", users=accounts.db.users(), roles=ROLES, sessions=accounts.db.sessions(),
            tokens=accounts.db.tokens(), scopes=SCOPES, now_us=hut.now_us(), **fields), status)

    def mine(status: int = 200, **fields: object) -> Response:
        own = [one for one in accounts.db.sessions() if one.user == g.caller.name]
        return make_response(render_template("account.html", sessions=own, **fields), status)

    def form(name: str) -> str:
        return request.form.get(name, "").strip()

    @bp.get("/people")
    @needs("admin")
    def people() -> Response:
        note = request.args.get("done", "")
        texts = {key: f"people.done_{key}" for key in ("added", "changed", "removed", "password", "session", "token")}
        return page(note=t(texts[note], name=request.args.get("name", "")[:100]) if note in texts else "")

    def done(note: str, name: str = "") -> Response:
        from urllib.parse import urlencode

        return redirect(f"/people?{urlencode({'done': note, 'name': name})}", 303)

    @bp.errorhandler(Refused)
    def refused(error: Refused) -> Response:
        audit.note(f"people: {request.endpoint}", form("name"), result=f"refused: {error}")
        return mine(400, error=str(error)) if request.path.startswith("/account") else page(400, error=str(error))

    @bp.post("/people/add")
    @needs("admin")
    def add() -> Response:
        name, role = form("name"), form("role")
        accounts.add_user(name, role, request.form.get("password", ""))
        audit.note("add user", name, f"role: {role}")
        return done("added", name)

    @bp.post("/people/role")
    @needs("admin")
    def role() -> Response:
        name, wanted = form("name"), form("role")
        user = accounts.db.user(name)
        accounts.set_role(name, wanted)
        audit.note("change role", name, f"{user.role if user else '-'} -> {wanted}")
        return done("changed", name)

    @bp.post("/people/password")
    @needs("admin")
    def password() -> Response:
        name = form("name")
        accounts.set_password(name, request.form.get("password", ""))
        audit.note("set password", name)
        return done("password", name)

    @bp.post("/people/remove")
    @needs("admin")
    def remove() -> Response:
        name = form("name")
        user = accounts.db.user(name)
        accounts.remove_user(name)
        audit.note("remove user", name, f"was {user.role if user else '-'}")
        return done("removed", name)

    @bp.post("/people/session/<int:session_id>/end")
    @needs("admin")
    def end_session(session_id: int) -> Response:
        ended = accounts.end_session(session_id)
        audit.note("end session", str(session_id), result="done" if ended else "there was none")
        return done("session")

    @bp.post("/people/token")
    @needs("admin")
    def token() -> Response:
        name, days, scope = form("name"), form("days"), form("scope") or "read"
        lives = int(days) if days.isdecimal() and len(days) < 5 else 0
        secret = accounts.make_token(name, g.caller.name, lives, scope)
        audit.note("make token", name, f"{scope}, {days} days")
        return page(token=secret)

    @bp.post("/people/token/<int:token_id>/end")
    @needs("admin")
    def end_token(token_id: int) -> Response:
        ended = accounts.db.end_token(token_id)
        audit.note("revoke token", str(token_id), result="done" if ended else "there was none")
        return done("token")

    # --- one's own ----------------------------------------------------------------------------------------

    @bp.get("/account")
    @needs("viewer")
    def account() -> Response:
        return mine()

    @bp.post("/account/password")
    @needs("viewer")
    def own_password() -> Response:
        name = g.caller.name
        if hut.limits.wait_s(f"password of {name}") > 0:
            abort(429)
        if accounts.verify(name, request.form.get("current", "")) is None:
            hut.limits.failed(f"password of {name}")
            audit.note("change own password", name, result="refused: wrong password")
            return mine(400, error=t("people.wrong_password"))
        accounts.set_password(name, request.form.get("password", ""))
        hut.limits.succeeded(f"password of {name}")
        audit.note("change own password", name)
        user = accounts.db.user(name)
        assert user is not None
        # a new session too: whoever knew the old secret is out
        secret = accounts.begin_session(user, request.remote_addr or "", request.headers.get("User-Agent", ""))
        response = redirect("/account", 303)
        gate.set_session(response, secret)
        return response

    @bp.post("/account/session/<int:session_id>/end")
    @needs("viewer")
    def end_own(session_id: int) -> Response:
        if session_id not in {one.id for one in accounts.db.sessions() if one.user == g.caller.name}:
            abort(404)
        accounts.end_session(session_id)
        audit.note("end own session", str(session_id))
        return redirect("/account", 303)

    return bp

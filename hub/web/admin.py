"""The admin's other pages: adding a device (a pairing code and what to type), and the audit."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from agent.settings import is_loopback
from hub import ca
from hub.pairing import PairingError, Registry
from hub.web.access import needs
from hub.web.audit import Audit
from hub.web.commands import last_commands
from hub.web.house import Hut

ROWS = 100


def blueprint(hut: Hut, audit: Audit) -> Blueprint:
    bp = Blueprint("admin", __name__)

    @bp.get("/add")
    @needs("admin")
    def add() -> str:
        return render_template("add.html", command="", code="")

    @bp.post("/add")
    @needs("admin")
    def make_code() -> BaseResponse:
        try:
            issued = Registry(hut.settings.hub.data_dir).new_code()
        except (PairingError, OSError) as error:
            audit.note("make pairing code", result=f"refused: {error}")
            return make_response(render_template("add.html", command="", code="", error=str(error)), 503)
        audit.note("make pairing code")
        return make_response(render_template(
            "add.html", code=issued.code, until_us=int(issued.expires_s * 1e6),
            command=f"sudo hutkeeper-agent pair {address(hut, request.host_url)} {issued.code}"))

    @bp.get("/audit")
    @needs("admin")
    def log() -> str:
        before = request.args.get("before", "")
        rows = hut.accounts.db.audit_rows(ROWS, int(before) if before.isdecimal() and len(before) < 18 else None)
        commands = last_commands(hut.history.reader, ROWS)
        return render_template("audit.html", rows=rows, commands=commands, broken=hut.accounts.db.audit_break(),
                               older=rows[-1].n if len(rows) == ROWS else None)

    @bp.get("/login/ca.pem")
    @needs("open")
    def authority() -> Response:
        """The certificate of the hub's own authority: public, and what a browser needs before it trusts the rest."""
        found = ca.existing(hut.settings.hub.data_dir)
        if found is None:
            return Response("this hub has no certificate authority yet: pair a device first\n", 404,
                            mimetype="text/plain")
        return Response(found.ca_pem, mimetype="application/x-pem-file",
                        headers={"Content-Disposition": 'attachment; filename="hutkeeper-ca.pem"'})

    return bp


def address(hut: Hut, host_url: str) -> str:
    """How the new device reaches this page: as configured, else as the admin's browser did."""
    web = hut.settings.web
    if web.public_url:
        return web.public_url.rstrip("/")
    if is_loopback(web.host):
        return f"{'https' if web.https else 'http'}://{web.host}:{web.port}"
    return host_url.rstrip("/")

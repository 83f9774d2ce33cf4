"""The Flask application: blueprints, errors, compression. ``server.py`` serves it."""

from __future__ import annotations

import gzip
import logging

from flask import Flask, Response, g, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from hub.heating.shape import any_heater
from hub.notify.asks import Away, Refused
from hub.pairing import blueprint as pairing_blueprint
from hub.store.errors import StoreError
from hub.watch import pulse
from hub.web import (
    acknowledge,
    admin,
    alerts,
    api,
    channels,
    command,
    device,
    energy,
    fleet,
    heating,
    heating_forms,
    logbook,
    login,
    logs,
    machines,
    metrics,
    people,
    rules,
    seeds,
    series,
    speak,
)
from hub.web.access import Gate, needs
from hub.web.audit import Audit
from hub.web.command import Desk
from hub.web.house import Hut
from hub.web.pages import Parts
from hub.web.sender import Commands

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
COMPRESS_ABOVE = 1000
TEXTUAL = ("text/html", "text/css", "text/javascript", "application/json", "text/csv", "text/plain")


def create_app(hut: Hut) -> Flask:
    """The pages over ``hut``. Nothing here reads the environment: FLASK_DEBUG changes nothing."""
    app = Flask(__name__, static_folder="static", static_url_path="/static")
    app.debug = False
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY_BYTES, SEND_FILE_MAX_AGE_DEFAULT=3600)
    web = hut.settings.web
    public_url = web.public_url
    secure = web.https or bool(public_url and public_url.startswith("https:"))
    gate = Gate(app, hut.accounts, hut.texts, secure=secure, public_url=public_url)
    parts = Parts(app, hut.texts, hut.now_us, hut.zone)
    audit = Audit(hut)
    desk = Desk(hut, Commands(hut, audit))
    heat = heating.Pages(hut, parts, gate)

    def untold() -> dict[str, float | None] | None:
        """Where notify does not work: since how long it has not moved, as far as that is known."""
        seen = pulse.look(hut.settings.hub.run_dir, "notify")
        if seen is not None and seen.moves:
            return None
        return {"still_s": seen.still_s if seen is not None else None}

    @app.context_processor
    def common() -> dict[str, object]:
        return {"caller": g.get("caller"), "form": gate.form_token, "hub_name": hut.settings.hub.name,
                "rival": hut.rival() if g.get("caller") is not None else None,
                "untold": untold() if g.get("caller") is not None else None,
                "alerting": alerts.alerting(hut) if g.get("caller") is not None else None,
                "heating": g.get("caller") is not None and any_heater(hut.tree.devices()),
                "js_texts": {**hut.texts.section("units"), **hut.texts.section("page")}}

    @app.get("/alive")
    @needs("open")
    def alive() -> tuple[Response, int]:
        """For a watchdog: 200 while web, ingest and notify make progress, no detail."""
        run_dir = hut.settings.hub.run_dir
        good = hut.client.fault is None and pulse.moves(run_dir, "ingest") and pulse.moves(run_dir, "notify")
        return jsonify(alive=good), 200 if good else 503

    app.jinja_env.globals.update(canary_of=hut.canary)
    app.register_blueprint(fleet.blueprint(hut, parts))
    app.register_blueprint(alerts.blueprint(hut, parts, audit, gate))
    app.register_blueprint(device.blueprint(hut, parts, audit, gate))
    app.register_blueprint(machines.blueprint(hut, parts, desk, audit))
    app.register_blueprint(logs.blueprint(hut))
    app.register_blueprint(command.blueprint(hut, desk))
    app.register_blueprint(speak.blueprint(hut, desk))
    app.register_blueprint(heating.blueprint(heat))
    app.register_blueprint(heating_forms.blueprint(heat, desk))
    app.register_blueprint(seeds.blueprint(hut, desk))
    app.register_blueprint(series.blueprint(hut))
    app.register_blueprint(energy.blueprint(hut))
    app.register_blueprint(login.blueprint(hut, gate, audit))
    app.register_blueprint(people.blueprint(hut, gate, audit))
    app.register_blueprint(channels.blueprint(hut, audit))
    app.register_blueprint(acknowledge.blueprint(hut, audit))
    app.register_blueprint(rules.blueprint(hut, audit))
    app.register_blueprint(admin.blueprint(hut, audit))
    app.register_blueprint(api.blueprint(hut))
    app.register_blueprint(logbook.blueprint(hut, parts, audit))
    app.register_blueprint(metrics.blueprint(hut))
    app.register_blueprint(pairing_blueprint(hut.settings))
    for endpoint in ("pairing.hello", "pairing.sign"):
        # a device without an account: the code proves itself to both sides, no cookie plays a part
        needs("open", form=False)(app.view_functions[endpoint])
    _errors(app, hut)
    app.after_request(_compress)
    return app


def _errors(app: Flask, hut: Hut) -> None:
    def answer(status: int, text: str) -> Response:
        if g.get("api") or request.headers.get("X-Background") is not None:
            return make_response(jsonify(error=text), status)
        return make_response(render_template("error.html", status=status, text=text), status)

    @app.errorhandler(HTTPException)
    def known(error: HTTPException) -> Response:
        status = error.code or 500
        if "t" not in g:
            g.t, g.caller = hut.texts, None
        text = hut.texts.get(f"error.t{status}", error.name)
        if error.description == "csrf":
            text = hut.texts("error.csrf")
        elif error.description and type(error).description != error.description:
            text = error.description  # our own line, more to the point
        response = answer(status, text)
        for name, value in error.get_headers():
            if name in ("Allow", "Retry-After"):
                response.headers[name] = value
        return response

    @app.errorhandler(StoreError)
    def store(error: StoreError) -> Response:
        return answer(503, str(error))

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Response:
        return answer(409, str(error))

    @app.errorhandler(Away)
    def away(error: Away) -> Response:
        return answer(503, str(error))

    @app.errorhandler(Exception)
    def ours(error: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.path)
        return answer(500, hut.texts("error.t500"))


def _compress(response: Response) -> Response:
    """gzip for texts: the fleet page of 500 devices is 20 times smaller.

    BREACH needs a page that another site makes our user's browser load with its cookie: SameSite=Lax forbids that."""
    if (
        (response.is_streamed and not response.direct_passthrough)
        or response.mimetype not in TEXTUAL
        or "gzip" not in request.headers.get("Accept-Encoding", "").lower()
        or response.status_code not in (200, 401, 404)
        or "Content-Encoding" in response.headers
    ):
        return response
    response.direct_passthrough = False
    body = response.get_data()
    if len(body) > COMPRESS_ABOVE:
        response.set_data(gzip.compress(body, 5, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(response.content_length)
    response.headers.add("Vary", "Accept-Encoding")
    return response

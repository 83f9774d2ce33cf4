"""FAULTS section C: every route of the URL map against every kind of caller; forms, sessions, cookies, headers."""

from __future__ import annotations

import hashlib
import http.client
import re
import ssl
import time
from itertools import takewhile
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flask import Flask
from werkzeug.routing import Rule

from agent.testing.broker import Broker
from hub.command.rate import Rate
from hub.web.access import SAFE, Gate, needs_of, own_path
from tests.hub.web.lab import PASSWORD, USERS, Client, Devices, Web
from tests.waiting import until

CALLS = ("/set_profile", "/set_base_profile", "/set_suppl_profile", "/set_except_profile", "/send_SMS", "/announce",
         "/lock", "/release", "/add_to_logbook")
OPEN = {"GET /alive", "GET /login", "POST /login", "POST /login/first", "GET /login/ca.pem",
        "GET /static/<path:filename>", "POST /pair/hello", "POST /pair/sign",
        "GET /a/<word>", "POST /a/<word>", "GET /a/<word>/done",  # the word is the key, for its alerts alone
        *(f"GET {prefix}{path}" for prefix in ("", "/api/v1") for path in CALLS)}  # they say: POST with a token
ADMIN = re.compile(r"/(people|audit|add)(/|\Z)|/device/<device_id>/remove\Z|/(channels|rules)/.")
TOKEN = re.compile(r"/(api/v1/|metrics\Z|status\Z|status_report\Z|get_logbook\Z)")
OPERATOR = re.compile(
    r"/logbook/note\Z|/device/<device_id>/(set|say|send)\Z|/heating/.*/(do|schedule)\Z|"
    r"/api/v1/devices/.*/properties/|(/api/v1)?/alerts/|/machines/(.*/(restart|canary)\Z|hub/logs/)")
LEVELS = ("none", "viewer", "operator", "admin", "token", "commander")


def rules(app: Flask) -> list[tuple[str, Rule]]:
    return [(method, rule) for rule in app.url_map.iter_rules() for method in sorted(rule.methods or ())
            if method not in ("HEAD", "OPTIONS")]


def expected(method: str, rule: Rule, level: str) -> bool:
    """Our own table, apart from the marks in the code."""
    if f"{method} {rule.rule}" in OPEN:
        return True
    by_token = TOKEN.match(rule.rule) is not None or rule.rule in CALLS
    if level == "token":
        return method == "GET" and by_token
    if level == "commander":
        return by_token
    if level == "none":
        return False
    if (method == "POST" or "/hub/logs/" in rule.rule) and (
            rule.rule.removeprefix("/api/v1") in CALLS or OPERATOR.match(rule.rule)):
        return level in ("operator", "admin")
    return level == "admin" or not ADMIN.match(rule.rule)


def concrete(rule: Rule) -> str:
    path = re.sub(r"<int:\w+>", "999", rule.rule).replace("<path:filename>", "hut.css").replace("<device_id>", "nobody")
    return re.sub(r"<\w+>", "host", path)


def test_every_route_against_every_role(web: Web) -> None:
    app = web.app
    secret = web.accounts.make_token("scraper", "anna", 30)
    clients = {level: web.login(name) for name, level in USERS.items()}
    secrets = {"token": secret, "commander": web.accounts.make_token("automation", "anna", 30, "command")}
    clients["none"] = clients["token"] = clients["commander"] = Client(web.port)
    seen = 0
    for method, rule in rules(app):
        needs = needs_of(app, rule.endpoint)
        assert needs is not None, f"{rule.rule} says nothing about who may call it"
        assert f"{method} {rule.rule}" in OPEN or needs.level != "open", f"{rule.rule} is open"
        for level in LEVELS:
            if rule.endpoint == "login.logout":
                continue  # it would end the session: its own test
            web.hut.rate = Rate()
            headers = {"Authorization": f"Bearer {secrets[level]}"} if level in secrets else {}
            client = clients[level]
            if method == "GET":
                if "/events/" in rule.rule and expected(method, rule, level) and "device" not in rule.rule:
                    with client.stream(concrete(rule)) as response:
                        status = response.status
                else:
                    status = client.get(concrete(rule), **headers).status
            else:
                page = "/" if level in USERS.values() else "/login"
                status = client.post(concrete(rule), {}, page=page, **headers).status
            let_in = status not in (401, 403) and not (
                method == "GET" and status == 303 and rule.rule not in OPEN and level not in USERS.values())
            if method == "POST" and f"{method} {rule.rule}" in OPEN:
                let_in = status != 403  # a wrong login is a 401 too
            if rule.rule.startswith("/pair"):
                let_in = status == 400  # not a pairing request, said by pairing itself
            assert let_in == expected(method, rule, level), f"{method} {rule.rule} as {level}: {status}"
            seen += 1
    assert seen > 150


def test_a_route_that_says_nothing_is_shut(web: Web) -> None:
    app = web.app
    app._got_first_request = False  # a developer adds a route and forgets the mark
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    for name in USERS:
        assert web.login(name).get("/forgotten").status == 403
    assert Client(web.port).get("/forgotten").status == 303


def test_unknown_addresses_tell_nothing_to_those_outside(web: Web) -> None:
    assert Client(web.port).get("/nowhere").headers["Location"] == "/login?next=/nowhere"
    assert Client(web.port).get("/api/v1/nowhere").status == 401
    assert web.login("vera").get("/nowhere").status == 404


def test_every_post_needs_our_form_and_our_origin(web: Web) -> None:
    app, client = web.app, web.login("anna")
    token = client.form_token("/")
    before = _database(web)
    for method, rule in rules(app):
        if method in SAFE or rule.rule.startswith("/pair"):
            continue
        path = concrete(rule)
        body = urlencode({"_form": token})
        kind = {"Content_Type": "application/x-www-form-urlencoded"}
        assert client.request("POST", path, "", Origin=client.origin, **kind).status == 400, f"{path} without the token"
        for origin in ("http://evil.example", "null", f"http://127.0.0.1:{web.port + 1}"):
            assert client.request("POST", path, body, Origin=origin, **kind).status == 400, f"{path} from {origin}"
        assert client.request("POST", path, body, **kind).status == 400, f"{path} without an origin"
        other = web.login("vera").form_token("/")
        wrong = urlencode({"_form": other})
        refused = client.request("POST", path, wrong, Origin=client.origin, **kind)
        assert refused.status == 400, f"{path} with another's token"
    assert _database(web) == before


def test_a_page_that_was_open_while_the_hub_restarted_still_commands(web: Web) -> None:
    """The form token is bound to the session, and sessions outlive a restart; one of before the login does not."""
    client = web.login("anna")
    token, stranger = client.form_token("/"), Client(web.port)
    before_login = stranger.form_token("/login")
    gate = next(hook.__self__ for hook in web.app.before_request_funcs[None] if isinstance(hook.__self__, Gate))
    gate._key = b"another process"
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    form = urlencode({"_form": token, "name": ""})
    answer = client.request("POST", "/people/add", form, Origin=client.origin, **kind)
    assert answer.status == 400 and "too old" not in answer.text  # the name is what is wrong
    form = urlencode({"_form": before_login, "name": "anna", "password": PASSWORD})
    assert "too old" in stranger.request("POST", "/login", form, Origin=client.origin, **kind).text
    # the token tells neither the session nor the token of another
    assert token not in client.cookies.values() and token != web.login("anna").form_token("/")


def test_a_form_of_an_ended_session_leads_to_the_login_and_back(web: Web) -> None:
    client = web.login("anna")
    page = f"{client.origin}/heating/heat/heater?profile=x"
    client.cookies.clear()
    html_ = {"Content_Type": "application/x-www-form-urlencoded", "Accept": "text/html,*/*;q=0.8"}
    answer = client.request("POST", "/heating/heat/heater/schedule", "a=b", Referer=page, **html_)
    assert answer.status == 303 and answer.headers["Location"] == "/login?ended&next=/heating/heat/heater"
    assert "was not done" in client.get(answer.headers["Location"]).text
    elsewhere = client.request("POST", "/logout", "a=b", Referer="http://evil.example/x", **html_)
    assert elsewhere.headers["Location"] == "/login?ended&next=/"
    assert client.request("POST", "/set_profile", "a=b", Referer=page, **html_).status == 401  # a program's call
    script = client.request("POST", "/heating/heat/heater/do", "a=b", Referer=page, Accept="application/json")
    assert script.status == 401 and "nothing was done" in script.json["error"]


def test_no_get_changes_anything(web: Web, devices: Devices) -> None:
    devices.device("bc-power")
    until("the device", lambda: web.hut.tree.device("bc-power"))
    client = web.login("anna")
    before = _database(web), web.hut.client.retained(["#"])
    for method, rule in rules(web.app):
        if method == "GET" and "/events/" not in rule.rule:
            for query in ("", "?name=vera&role=admin&confirm=1&_method=POST&remove=1"):
                client.get(concrete(rule).replace("nobody", "bc-power") + query)
    assert (_database(web), web.hut.client.retained(["#"])) == before


def _database(web: Web) -> str:
    """Everything but sessions (the logins of the test) and the audit of logins."""
    db = web.accounts.db
    rows = [*db.users(), *db.tokens(), *db.removed_devices(),
            *[row for row in db.audit_rows(1000) if row.action != "login"]]
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def test_login_gives_a_new_session_and_logout_ends_it(web: Web) -> None:
    client = Client(web.port)
    client.cookies["hutkeeper"] = "chosen-by-somebody-else"
    answer = client.post("/login", {"name": "vera", "password": PASSWORD}, page="/login")
    assert answer.status == 303 and client.cookies["hutkeeper"] != "chosen-by-somebody-else"
    cookie = next(line for line in answer.headers.get_all("Set-Cookie") if line.startswith("hutkeeper="))
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie
    old = dict(client.cookies)
    client.post("/login", {"name": "vera", "password": PASSWORD}, page="/account")
    assert client.cookies["hutkeeper"] != old["hutkeeper"]
    stolen = dict(client.cookies)
    assert client.post("/logout").status == 303
    client.cookies = stolen
    assert client.get("/").status == 303  # server-side: the old cookie opens nothing


def test_sessions_end_after_30_idle_minutes_and_12_hours(web: Web) -> None:
    minute_us = 60 * 1_000_000
    client = web.login("vera")
    web.ahead_us = 29 * minute_us
    assert client.get("/").status == 200
    web.ahead_us = 58 * minute_us
    assert client.get("/poll/fleet", X_Background="1").status == 200  # an open page is no activity
    web.ahead_us = 60 * minute_us
    assert client.get("/").status == 303
    client = web.login("vera")
    started = web.ahead_us
    for _ in range(35):
        web.ahead_us += 20 * minute_us
        assert client.get("/").status == 200
    web.ahead_us = started + 12 * 60 * minute_us + minute_us
    assert client.get("/").status == 303


@pytest.mark.parametrize("path", ["/events/fleet", "/events/heating", "/events/device/bc-power"])
def test_an_open_stream_ends_with_its_session(web: Web, devices: Devices, path: str) -> None:
    devices.device("bc-power")
    until("the device", lambda: web.hut.tree.device("bc-power"))
    client = web.login("vera")
    with client.stream(path) as response:
        session = next(one for one in web.accounts.db.sessions() if one.user == "vera")
        assert web.login("anna").post(f"/people/session/{session.id}/end").status == 303
        until_s = time.monotonic() + 15  # the heartbeat goes on for ever where the end is not told
        lines = list(takewhile(lambda _: time.monotonic() < until_s, response))
        assert b"event: ended\n" in lines
    assert client.get("/").status == 303


def test_a_new_password_ends_other_sessions(web: Web) -> None:
    one, two = web.login("vera"), web.login("vera")
    form = {"current": PASSWORD, "password": "quiet harbour 88 lamps"}
    assert one.post("/account/password", {**form, "current": "wrong"}, page="/account").status == 400
    assert one.post("/account/password", {**form, "password": "password123"}, page="/account").status == 400
    assert one.post("/account/password", form, page="/account").status == 303
    assert one.get("/").status == 200 and two.get("/").status == 303


def test_nobody_ends_the_session_of_another(web: Web) -> None:
    web.login("anna")
    session = next(one for one in web.accounts.db.sessions() if one.user == "anna")
    assert web.login("vera").post(f"/account/session/{session.id}/end").status == 404
    assert any(one.id == session.id for one in web.accounts.db.sessions())


def test_a_role_that_is_taken_away_is_gone_at_once(web: Web) -> None:
    otto, anna = web.login("otto"), web.login("anna")
    assert anna.post("/people/role", {"name": "otto", "role": "admin"}).status == 303
    assert otto.get("/people").status == 200
    assert anna.post("/people/role", {"name": "otto", "role": "viewer"}).status == 303
    assert otto.get("/people").status == 403
    assert anna.post("/people/role", {"name": "anna", "role": "viewer"}).status == 400  # the last admin stays
    assert anna.post("/people/remove", {"name": "anna"}).status == 400


def test_tokens_are_shown_once_kept_hashed_and_read_only(web: Web) -> None:
    anna = web.login("anna")
    page = anna.post("/people/token", {"name": "grafana", "days": "30"}).text
    found = re.search(r"hut_[\w-]{20,}", page)
    assert found is not None
    secret = found[0]
    assert secret not in anna.get("/people").text
    assert secret.encode() not in web.settings.web_db.read_bytes()
    client = Client(web.port)
    assert client.get("/api/v1/devices", Authorization=f"Bearer {secret}").status == 200
    assert client.get("/metrics", Authorization=f"Bearer {secret}").status == 200
    assert client.get("/", Authorization=f"Bearer {secret}").status == 303
    assert client.get("/api/v1/devices", Authorization=f"Bearer {secret}x").status == 401
    assert web.accounts.db.tokens()[0].used_us is not None
    assert anna.post("/people/token", {"name": "for ever", "days": "366"}).status == 400
    web.ahead_us = 31 * 86_400_000_000
    assert client.get("/api/v1/devices", Authorization=f"Bearer {secret}").status == 401
    web.ahead_us = 0
    assert anna.post(f"/people/token/{web.accounts.db.tokens()[0].id}/end").status == 303
    assert client.get("/api/v1/devices", Authorization=f"Bearer {secret}").status == 401


def test_headers_forbid_foreign_and_inline_script_framing_and_sniffing(web: Web) -> None:
    client = web.login("anna")
    for path in ("/", "/login", "/people", "/api/v1/devices", "/static/hut.js", "/nowhere", "/alive"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "Werkzeug" not in headers.get("Server", "")
    for path in ("/", "/people", "/account", "/audit", "/add"):
        html = client.get(path).text
        assert not re.search(r"<[^>]*\son\w+\s*=|<script(?![^>]*\bsrc=)|<style|\sstyle\s*=", html), path


def test_a_flood_of_body_or_header_is_refused(web: Web) -> None:
    client = web.login("vera")

    def refused(method: str, body: str, **headers: str) -> bool:
        try:
            return client.request(method, "/logout", body, Origin=client.origin, **headers).status in (400, 413, 431)
        except ConnectionError:
            return True  # the server hung up before it had read everything

    assert refused("POST", "x" * 1_500_000, Content_Type="application/x-www-form-urlencoded")
    assert refused("POST", "x" * 5_000_000, Content_Type="application/x-www-form-urlencoded")
    assert refused("GET", "", X_Long="x" * 40_000)
    assert client.get("/").status == 200


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/\tx"])
def test_after_the_login_only_our_own_pages(path: str) -> None:
    assert own_path(path) == "/"


def test_flask_debug_cannot_be_switched_on_from_outside(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_DEBUG", "1")
    from hub.web.app import create_app

    app = create_app(web.hut)
    assert app.debug is False and app.testing is False
    assert "werkzeug.debug" not in type(app.wsgi_app).__module__


def test_over_tls_cookies_are_secure_and_bound_to_the_host(tmp_path: Path, broker: Broker) -> None:
    from hub import ca

    authority = ca.ensure(tmp_path / "data", ("localhost", "127.0.0.1"))
    where = ca.folder(tmp_path / "data")
    pems = {path.name: path for path in where.iterdir()}
    cert, key = pems["hub.pem"], pems["hub.key"]
    toml = f'cert = "{cert}"\nkey = "{key}"\n'
    with Web(tmp_path, broker.port, toml=toml) as web:
        web.people()
        context = ssl.create_default_context(cadata=authority.ca_pem)
        connection = http.client.HTTPSConnection("127.0.0.1", web.port, context=context, timeout=30)
        connection.request("GET", "/login")
        response = connection.getresponse()
        page = response.read().decode()
        cookie = response.headers["Set-Cookie"]
        assert cookie.startswith("__Host-hutkeeper-form=") and "Secure" in cookie and "Domain" not in cookie
        assert "max-age" in response.headers["Strict-Transport-Security"]
        token = re.search(r'name="_form" value="(\w+)"', page)
        assert token is not None
        connection.request("POST", "/login", urlencode({"_form": token[1], "name": "vera", "password": PASSWORD}), {
            "Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://127.0.0.1:{web.port}",
            "Cookie": cookie.split(";")[0]})
        response = connection.getresponse()
        response.read()
        session = next(line for line in response.headers.get_all("Set-Cookie") if line.startswith("__Host-hutkeeper="))
        assert response.status == 303 and "Secure" in session and "HttpOnly" in session and "SameSite=Lax" in session
        connection.close()


def test_the_gate_marks_are_what_the_pages_use(web: Web) -> None:
    assert any(isinstance(hook.__self__, Gate) for hook in web.app.before_request_funcs[None])

"""The first admin, the login's limits, the audit."""

from __future__ import annotations

import random
import re
import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest

from agent.testing.broker import Broker
from hub.store.errors import SchemaNewer
from hub.store.web_db import WebDb
from hub.web.accounts import Accounts, Refused
from hub.web.limits import ATTACK, LoginLimits
from hub.web.passwords import weakness
from tests.hub.web.lab import FAST, PASSWORD, Client, Web


def test_the_first_admin_is_made_with_a_one_time_code_and_once(tmp_path: Path, broker: Broker) -> None:
    with Web(tmp_path, broker.port) as web:
        client = Client(web.port)
        assert client.get("/").headers["Location"] == "/login"
        assert "Make the first admin" in client.get("/login").text
        code = web.accounts.first_code()
        assert code is not None and re.fullmatch(r"[A-Z2-9]{4}-[A-Z2-9]{4}-[A-Z2-9]{4}", code)
        again = web.accounts.first_code()
        form = {"name": "anna", "password": PASSWORD, "again": PASSWORD}
        assert client.post("/login/first", {**form, "code": "AAAA-BBBB-CCCC"}, page="/login").status == 400
        assert client.post("/login/first", {**form, "code": code, "again": "x"}, page="/login").status == 400
        weak = {**form, "code": code, "password": "password2026", "again": "password2026"}
        assert "soon guessed" in client.post("/login/first", weak, page="/login").text
        web.clock_s += 120
        typed = f" {code.lower().replace('-', ' ')} "
        assert client.post("/login/first", {**form, "code": typed}, page="/login").status == 303
        assert client.get("/people").status == 200
        late = Client(web.port)
        answer = late.post("/login/first", {**form, "name": "eve", "code": again or ""}, page="/login")
        assert answer.status == 400 and [user.name for user in web.accounts.db.users()] == ["anna"]
        assert web.accounts.first_code() is None
        assert code.replace("-", "").encode() not in web.settings.web_db.read_bytes()


def test_a_code_is_good_for_a_day_and_differs_each_time(tmp_path: Path) -> None:
    now = [1_790_000_000_000_000]
    accounts = Accounts(tmp_path / "web.db", now_us=lambda: now[0], hasher=FAST)
    codes = {accounts.first_code() for _ in range(3)}
    assert len(codes) == 3
    now[0] += 25 * 3_600_000_000
    for code in codes:
        with pytest.raises(Refused, match="first-code"):
            accounts.add_first_admin("anna", PASSWORD, code or "")
    accounts.close()


def test_wrong_logins_wait_longer_and_longer_and_nobody_is_locked_out() -> None:
    """FAULTS C, brute force: 10^4 tries; the owner still gets in within a minute."""
    clock = [0.0]
    limits = LoginLimits(lambda: clock[0])
    lane = "account anna", "address 10.0.0.66"
    rng = random.Random(7)
    evaluated = []
    for _ in range(10_000):
        clock[0] += rng.random() * 0.2
        if limits.wait_s(*lane) == 0:
            evaluated.append(clock[0])
            limits.failed(*lane)
    for at in evaluated:
        assert sum(at <= other < at + 60 for other in evaluated) <= 5
    assert len(evaluated) < 5 * clock[0] / 60 + 6
    waits = [b - a for a, b in pairwise(evaluated[3:])]
    assert waits[-1] >= waits[0] and limits.attacked(*lane)
    assert limits.wait_s(*lane) <= 60
    clock[0] += 60
    assert limits.wait_s(*lane) == 0  # the refused tries did not make it longer
    # somebody else's account from another address was never held up
    assert limits.wait_s("account vera", "address 10.0.0.7") == 0


def test_five_a_minute_even_when_they_are_right_in_between() -> None:
    clock = [0.0]
    limits = LoginLimits(lambda: clock[0])
    assert [limits.wait_s("address a") for _ in range(5)] == [0] * 5
    assert limits.wait_s("address a") == 60
    clock[0] += 60.001
    assert limits.wait_s("address a") == 0


def test_an_attack_is_told_and_the_owners_browser_has_a_lane_of_its_own(web: Web) -> None:
    """E_LOGIN_ATTACK, on the fleet page, in the audit; the owner is in at once while it goes on."""
    owner = web.login("vera")
    assert owner.post("/logout").status == 303
    evil = Client(web.port)
    evil.get("/login")
    statuses = []
    for n in range(ATTACK + 30):
        statuses.append(evil.post("/login", {"name": "vera", "password": f"guess number {n}"}, page="/login").status)
    assert set(statuses) == {401, 429} and statuses.count(401) <= 5
    told = evil.post("/login", {"name": "vera", "password": PASSWORD}, page="/login")
    assert told.status == 429 and 0 < int(told.headers["Retry-After"]) <= 60
    assert owner.post("/login", {"name": "vera", "password": PASSWORD}, page="/login").status == 303
    web.clock_s += 61
    page = web.login("anna").get("/").text
    assert "E_LOGIN_ATTACK" in page and "many wrong logins" in page
    assert sum(row.action == "login attack" for row in web.accounts.db.audit_rows()) >= 1


def test_a_wrong_name_answers_like_a_wrong_password(web: Web) -> None:
    one, two = Client(web.port), Client(web.port)
    known = one.post("/login", {"name": "vera", "password": "not her password"}, page="/login")
    unknown = two.post("/login", {"name": "nobody", "password": "not her password"}, page="/login")
    assert known.status == unknown.status == 401
    strip = re.compile(r'value="[^"]*"')
    assert strip.sub("", known.text) == strip.sub("", unknown.text)


@pytest.mark.parametrize("password", [
    "password12345", "Password2026!", "P@ssw0rd123!", "qwertyuiop12", "hutkeeper2026", "aaaaaaaaaaaa", "1234567890123",
    "adminadmin12", "abcdefghijkl", "anna2026anna", "qwertzuiop99", "letmeinletmein", "asdfghjkl123", "welcome2024!!",
    "short", "",
])
def test_passwords_that_are_guessed_first_are_refused(password: str) -> None:
    assert weakness(password, "anna") is not None


@pytest.mark.parametrize("password", ["olive kettle north", "correct horse battery", "bmxqkwtrzz", "Tr0ub4dor&3x",
                                      "über den Wolken 7", "9f3k-22xq-aa01"])
def test_good_passwords_are_taken(password: str) -> None:
    assert weakness(password, "anna") is None


def test_passwords_are_argon2id_and_sessions_are_hashed(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "web.db")
    accounts.add_user("vera", "viewer", PASSWORD)
    user = accounts.db.user("vera")
    assert user is not None and user.password.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    secret = accounts.begin_session(user, "127.0.0.1", "test")
    accounts.close()
    raw = (tmp_path / "web.db").read_bytes()
    assert secret.encode() not in raw and PASSWORD.encode() not in raw
    assert (tmp_path / "web.db").stat().st_mode & 0o077 == 0


def test_the_audit_breaks_at_the_row_that_was_touched(tmp_path: Path) -> None:
    """FAULTS C, tampered audit: edit or delete one row, and the check fails at that row."""
    path = tmp_path / "web.db"
    db = WebDb(path)
    for n in range(10):
        db.audit(n, "anna", "10.0.0.1", "remove device", f"d{n}", "", "done")
    assert db.audit_break() is None
    raw = sqlite3.connect(path)
    raw.execute("UPDATE audit SET target = 'x' WHERE n = 4")
    raw.commit()
    assert db.audit_break() == 4
    raw.execute("UPDATE audit SET target = 'd3' WHERE n = 4")
    raw.commit()
    assert db.audit_break() is None
    raw.execute("DELETE FROM audit WHERE n = 6")
    raw.commit()
    assert db.audit_break() == 7
    raw.close()
    db.close()


def test_every_command_of_a_page_is_audited(web: Web) -> None:
    anna = web.login("anna")
    anna.post("/people/add", {"name": "neil", "role": "viewer", "password": "quiet harbour 88"})
    anna.post("/people/role", {"name": "neil", "role": "operator"})
    anna.post("/people/password", {"name": "neil", "password": "loud harbour 99"})
    anna.post("/people/remove", {"name": "neil"})
    anna.post("/people/add", {"name": "bad name!", "role": "viewer", "password": "quiet harbour 88"})
    anna.post("/add")
    page = anna.get("/audit").text
    assert "The chain is whole." in page
    rows = [(row.who, row.action, row.target, row.detail) for row in web.accounts.db.audit_rows() if row.who == "anna"]
    assert ("anna", "add user", "neil", "role: viewer") in rows
    assert ("anna", "change role", "neil", "viewer -> operator") in rows
    assert any(row.result.startswith("refused") for row in web.accounts.db.audit_rows())
    assert {"set password", "remove user", "make pairing code"} <= {row[1] for row in rows}
    text = repr(web.accounts.db.audit_rows())
    assert "harbour" not in text  # never a secret


def test_a_newer_web_db_is_not_touched(tmp_path: Path) -> None:
    """B74 for web.db."""
    path = tmp_path / "web.db"
    WebDb(path).close()
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 99")
    raw.commit()
    raw.close()
    before = path.read_bytes()
    with pytest.raises(SchemaNewer):
        WebDb(path)
    assert path.read_bytes() == before


def test_the_pairing_page_shows_a_code_and_the_command(web: Web) -> None:
    page = web.login("anna").post("/add").text
    assert re.search(rf"sudo hutkeeper-agent pair http://127.0.0.1:{web.port} \S+", page)

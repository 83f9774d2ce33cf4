"""alerts.db: rules as people wrote them, how they stand, when they fired, and the commands that followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from hub.store.alerts_db import AlertsDb, Rows

TABLES = """
CREATE TABLE rules (id TEXT PRIMARY KEY, toml TEXT, enabled INTEGER NOT NULL, changed_us INTEGER NOT NULL,
    who TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rule_states (rule TEXT NOT NULL, subject TEXT NOT NULL, standing TEXT NOT NULL, since_us INTEGER NOT NULL,
    text TEXT NOT NULL, state BLOB NOT NULL, PRIMARY KEY (rule, subject)) WITHOUT ROWID;
CREATE TABLE rule_firings (n INTEGER PRIMARY KEY, rule TEXT NOT NULL, subject TEXT NOT NULL, from_us INTEGER NOT NULL,
    to_us INTEGER, text TEXT NOT NULL);
CREATE INDEX rule_firings_of ON rule_firings (rule, from_us);
CREATE INDEX rule_firings_open ON rule_firings (rule, subject) WHERE to_us IS NULL;
CREATE TABLE rule_orders (n INTEGER PRIMARY KEY, firing INTEGER NOT NULL, rule TEXT NOT NULL, subject TEXT NOT NULL,
    phase TEXT NOT NULL, nth INTEGER NOT NULL, target TEXT NOT NULL, value TEXT NOT NULL, state TEXT NOT NULL,
    text TEXT NOT NULL, t_us INTEGER NOT NULL, UNIQUE (firing, phase, nth));
CREATE TABLE rule_desired (device TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
"""
KEPT_FIRINGS = 10_000


class RuleRow(Struct, frozen=True):
    """``toml`` None: a default rule's own text, only switched on or off."""

    id: str
    toml: str | None
    enabled: bool
    changed_us: int
    who: str


class StateRow(Struct, frozen=True):
    rule: str
    subject: str
    standing: str
    since_us: int
    text: str


class FiringRow(Struct, frozen=True):
    n: int
    rule: str
    subject: str
    from_us: int
    to_us: int | None
    text: str


class OrderRow(Struct, frozen=True):
    n: int
    firing: int
    rule: str
    subject: str
    phase: str
    nth: int
    target: str
    value: str
    """JSON"""
    state: str
    """``intended``, ``done``, ``failed``, ``unknown``."""
    text: str
    t_us: int


def rules(db: Rows) -> list[RuleRow]:
    return [RuleRow(row["id"], row["toml"], bool(row["enabled"]), row["changed_us"], row["who"])
            for row in db.rows("SELECT * FROM rules ORDER BY id")]


def put_rule(db: AlertsDb, row: RuleRow) -> None:
    with db.writing() as connection:
        connection.execute(
            "INSERT INTO rules VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET toml = excluded.toml, "
            "enabled = excluded.enabled, changed_us = excluded.changed_us, who = excluded.who",
            (row.id, row.toml, int(row.enabled), row.changed_us, row.who))


def remove_rule(db: AlertsDb, id_: str) -> bool:
    with db.writing() as connection:
        return connection.execute("DELETE FROM rules WHERE id = ?", (id_,)).rowcount > 0


# --- how they stand ---------------------------------------------------------------------------------------------


def put_states(db: AlertsDb, rows: list[tuple[str, str, str, int, str, bytes]]) -> None:
    with db.writing() as connection:
        connection.executemany("INSERT OR REPLACE INTO rule_states VALUES (?, ?, ?, ?, ?, ?)", rows)


def kept_states(db: Rows) -> list[tuple[str, str, bytes]]:
    return [(row["rule"], row["subject"], row["state"]) for row in
            db.rows("SELECT rule, subject, state FROM rule_states")]


def forget_states(db: AlertsDb, keys: list[tuple[str, str]]) -> None:
    with db.writing() as connection:
        connection.executemany("DELETE FROM rule_states WHERE rule = ? AND subject = ?", keys)


def states(db: Rows, rule: str, limit: int = 200) -> list[StateRow]:
    """Of one rule, what fires first."""
    return [StateRow(*row) for row in db.rows(
        "SELECT rule, subject, standing, since_us, text FROM rule_states WHERE rule = ? ORDER BY CASE standing WHEN "
        "'firing' THEN 0 WHEN 'pending' THEN 1 WHEN 'no_data' THEN 2 ELSE 3 END, subject LIMIT ?", rule, limit)]


def counts(db: Rows) -> dict[str, dict[str, int]]:
    """Rule -> standing -> subjects."""
    found: dict[str, dict[str, int]] = {}
    for rule, standing, n in db.rows("SELECT rule, standing, count(*) FROM rule_states GROUP BY rule, standing"):
        found.setdefault(rule, {})[standing] = n
    return found


# --- firings and orders -----------------------------------------------------------------------------------------


def begin_firing(db: AlertsDb, rule: str, subject: str, from_us: int, text: str) -> int:
    """Its number; one that is open already is the same."""
    with db.writing() as connection:
        row = connection.execute("SELECT n FROM rule_firings WHERE rule = ? AND subject = ? AND to_us IS NULL",
                                 (rule, subject)).fetchone()
        if row is not None:
            return int(row["n"])
        n = connection.execute("INSERT INTO rule_firings (rule, subject, from_us, text) VALUES (?, ?, ?, ?)",
                               (rule, subject, from_us, text)).lastrowid or 0
        connection.execute("DELETE FROM rule_firings WHERE n <= ? AND to_us IS NOT NULL", (n - KEPT_FIRINGS,))
        connection.execute("DELETE FROM rule_orders WHERE firing <= ? AND state != 'intended'", (n - KEPT_FIRINGS,))
        return n


def end_firing(db: AlertsDb, rule: str, subject: str, to_us: int) -> int | None:
    """Its number; None: none was open."""
    with db.writing() as connection:
        row = connection.execute("SELECT n FROM rule_firings WHERE rule = ? AND subject = ? AND to_us IS NULL "
                                 "ORDER BY n DESC LIMIT 1", (rule, subject)).fetchone()
        connection.execute("UPDATE rule_firings SET to_us = ? WHERE rule = ? AND subject = ? AND to_us IS NULL",
                           (to_us, rule, subject))
        return None if row is None else int(row["n"])


def open_firings(db: Rows) -> list[FiringRow]:
    return [FiringRow(*row) for row in db.rows("SELECT n, rule, subject, from_us, to_us, text FROM rule_firings "
                                               "WHERE to_us IS NULL ORDER BY n")]


def fires_elsewhere(db: AlertsDb, rule: str, subject: str) -> bool:
    """Whether a rule fires for another subject than this."""
    return bool(db.rows("SELECT 1 FROM rule_firings WHERE rule = ? AND subject != ? AND to_us IS NULL LIMIT 1", rule,
                        subject))


def firings(db: Rows, rule: str | None = None, limit: int = 50) -> list[FiringRow]:
    """Newest first."""
    return [FiringRow(*row) for row in db.rows(
        "SELECT n, rule, subject, from_us, to_us, text FROM rule_firings WHERE ? IS NULL OR rule = ? "
        "ORDER BY from_us DESC, n DESC LIMIT ?", rule, rule, limit)]


def last_firings(db: Rows) -> dict[str, int]:
    """Rule -> when it last began to fire."""
    return {row[0]: row[1] for row in db.rows("SELECT rule, max(from_us) FROM rule_firings GROUP BY rule")}


def intend(db: AlertsDb, firing: int, rule: str, subject: str, phase: str, nth: int, target: str, value: object,
           t_us: int) -> OrderRow | None:
    """Write down that an order is about to be sent; None: it was intended before, and is never sent again."""
    text = msgspec.json.encode(value).decode()
    with db.writing() as connection:
        cursor = connection.execute(
            "INSERT OR IGNORE INTO rule_orders (firing, rule, subject, phase, nth, target, value, state, text, t_us) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'intended', '', ?)", (firing, rule, subject, phase, nth, target, text, t_us))
        if not cursor.rowcount:
            return None
        return OrderRow(cursor.lastrowid or 0, firing, rule, subject, phase, nth, target, text, "intended", "", t_us)


def settle(db: AlertsDb, n: int, state: str, text: str) -> None:
    with db.writing() as connection:
        connection.execute("UPDATE rule_orders SET state = ?, text = ? WHERE n = ?", (state, text[:300], n))


def settle_all_intended(db: AlertsDb, text: str) -> int:
    with db.writing() as connection:
        return connection.execute("UPDATE rule_orders SET state = 'unknown', text = ? WHERE state = 'intended'",
                                  (text,)).rowcount


def orders(db: Rows, rule: str, limit: int = 20) -> list[OrderRow]:
    """Newest first."""
    return [OrderRow(*row) for row in db.rows(
        "SELECT n, firing, rule, subject, phase, nth, target, value, state, text, t_us FROM rule_orders "
        "WHERE rule = ? ORDER BY n DESC LIMIT ?", rule, limit)]


# --- rules on devices -------------------------------------------------------------------------------------------


def desired(db: Rows) -> dict[str, tuple[int, bytes]]:
    return {row["device"]: (row["version"], row["body"]) for row in db.rows("SELECT * FROM rule_desired")}


def put_desired(db: AlertsDb, device: str, version: int, body: bytes) -> None:
    with db.writing() as connection:
        connection.execute("INSERT OR REPLACE INTO rule_desired VALUES (?, ?, ?)", (device, version, body))

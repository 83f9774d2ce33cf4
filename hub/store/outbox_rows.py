"""What has to be told to whom (``notices``), the messages made of it, and how each channel does. All of a second is
written together with the alerts that it is about (B66). Times are microseconds since 1970 UTC.

A lane is one channel and one recipient ('' where the channel itself knows). A notice waits, is taken into a message,
and is told with it; or it is dropped, because the alert was over before anybody was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from hub.store.alerts_db import AlertsDb, Rows

TABLES = """
CREATE TABLE notices (
  id INTEGER PRIMARY KEY,
  channel TEXT NOT NULL,
  recipient TEXT NOT NULL,
  alert_id INTEGER NOT NULL,
  alert_key TEXT NOT NULL,
  what TEXT NOT NULL,
  severity TEXT NOT NULL,
  t_us INTEGER NOT NULL,
  due_us INTEGER NOT NULL,
  why TEXT NOT NULL DEFAULT '',
  over INTEGER NOT NULL DEFAULT 0,
  alert BLOB NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting',
  message_id INTEGER
);
CREATE INDEX notices_waiting ON notices (channel, recipient, due_us) WHERE state = 'waiting';
CREATE INDEX notices_alert ON notices (alert_id, state);
CREATE INDEX notices_told ON notices (alert_key, channel, recipient) WHERE state IN ('taken', 'told');
CREATE INDEX notices_message ON notices (message_id) WHERE message_id IS NOT NULL;
CREATE TABLE messages (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  channel TEXT NOT NULL,
  recipient TEXT NOT NULL,
  kind TEXT NOT NULL,
  severity TEXT NOT NULL,
  n INTEGER NOT NULL,
  title TEXT NOT NULL,
  text TEXT NOT NULL,
  ack INTEGER NOT NULL,
  state TEXT NOT NULL,
  made_us INTEGER NOT NULL,
  next_us INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0,
  unsure INTEGER NOT NULL DEFAULT 0,
  ended_us INTEGER,
  error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX messages_open ON messages (channel, recipient) WHERE state IN ('ready', 'sending');
CREATE INDEX messages_ended ON messages (channel, recipient, ended_us) WHERE ended_us IS NOT NULL;
CREATE TABLE lanes (
  channel TEXT NOT NULL,
  recipient TEXT NOT NULL,
  about TEXT NOT NULL DEFAULT '',
  fault TEXT NOT NULL DEFAULT '',
  last_ok_us INTEGER,
  failing_since_us INTEGER,
  fails INTEGER NOT NULL DEFAULT 0,
  error TEXT NOT NULL DEFAULT '',
  sent INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  given_up INTEGER NOT NULL DEFAULT 0,
  held INTEGER NOT NULL DEFAULT 0,
  digests INTEGER NOT NULL DEFAULT 0,
  unsure INTEGER NOT NULL DEFAULT 0,
  abandoned INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (channel, recipient)
) WITHOUT ROWID;
CREATE TABLE ladder (
  alert_id INTEGER PRIMARY KEY,
  severity TEXT NOT NULL,
  started_us INTEGER NOT NULL,
  step INTEGER NOT NULL,
  step_us INTEGER NOT NULL,
  next_us INTEGER,
  alert BLOB NOT NULL
);
CREATE INDEX ladder_next ON ladder (next_us) WHERE next_us IS NOT NULL;
CREATE TABLE ack_links (
  hash BLOB PRIMARY KEY,
  message_id INTEGER NOT NULL,
  expires_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE replies (
  source TEXT NOT NULL,
  t_us INTEGER NOT NULL,
  PRIMARY KEY (source, t_us)
) WITHOUT ROWID;
"""

FORGET_WAITING = (
    "DELETE FROM notices WHERE state = 'waiting'",
    "UPDATE messages SET state = 'dropped', error = 'it waited when a backup was made' "
    "WHERE state IN ('ready', 'sending')",
    "DELETE FROM ladder",
)
"""For a file that comes out of a backup."""
State = Literal["ready", "sending", "sent", "given_up", "dropped"]
DAY_US = 86_400_000_000
KEPT_US = 90 * DAY_US
COUNTED = ("sent", "failed", "given_up", "held", "digests", "unsure", "abandoned")


class Notice(Struct, frozen=True):
    """One alert's change, for one lane."""

    channel: str
    recipient: str
    alert_id: int
    alert_key: str
    what: str
    severity: str
    t_us: int
    due_us: int
    """Not told before."""
    why: str
    """Why it waits: '', ``quiet``, ``digest``, ``cooldown``."""
    alert: bytes
    over: bool = False
    """Acknowledged or resolved while it waited."""
    id: int = 0


class Message(Struct, frozen=True):
    id: int
    key: str
    """The same at every try: who knows it takes the message once."""
    channel: str
    recipient: str
    kind: str
    """``alert``, ``resolved``, ``mixed``, ``digest``, ``test``."""
    severity: str
    n: int
    """Alerts that it tells of."""
    title: str
    text: str
    """Without the link or code to acknowledge."""
    ack: bool
    """It carries one."""
    state: str
    made_us: int
    next_us: int
    tries: int
    unsure: int
    """How often it may have gone out without this process knowing (a kill in the middle)."""
    ended_us: int | None
    error: str


class Lane(Struct, frozen=True):
    channel: str
    recipient: str
    about: str
    """The kind of service, no secret."""
    fault: str
    """Why it cannot be used at all; ''."""
    last_ok_us: int | None
    failing_since_us: int | None
    fails: int
    """In a row."""
    error: str
    sent: int
    failed: int
    given_up: int
    held: int
    """Alerts held back by a cap."""
    digests: int
    unsure: int
    abandoned: int


class Climb(Struct, frozen=True):
    """Where an alert stands on its ladder."""

    alert_id: int
    severity: str
    started_us: int
    step: int
    """The next one."""
    step_us: int
    """When the last one was taken."""
    next_us: int | None
    alert: bytes


class Waiting(Struct, frozen=True):
    """What waits in a lane and is due."""

    n: int
    first_us: int
    last_us: int
    critical: bool


# --- notices ------------------------------------------------------------------------------------------------


def add_notices(db: AlertsDb, notices: Sequence[Notice]) -> None:
    with db.writing() as con:
        con.executemany(
            "INSERT INTO notices (channel, recipient, alert_id, alert_key, what, severity, t_us, due_us, why, alert) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(n.channel, n.recipient, n.alert_id, n.alert_key, n.what, n.severity, n.t_us, n.due_us, n.why, n.alert)
             for n in notices])


def end_waiting(db: AlertsDb, alert_id: int, over: bytes | None = None) -> None:
    """The alert is acknowledged, or over as ``over`` says: what nobody was told yet need not be told. What waits for a
    digest stays in it, marked; and a critical one that no channel could take is told late rather than never."""
    with db.writing() as con:
        con.execute("UPDATE notices SET over = 1, alert = coalesce(?2, alert), state = CASE WHEN why IN ('quiet', "
                    "'digest') OR (?2 IS NOT NULL AND severity = 'critical' AND why = '' AND what IN ('opened', "
                    "'worse')) THEN state ELSE 'dropped' END WHERE alert_id = ?1 AND state = 'waiting'",
                    (alert_id, over))


_OVER = "what = 'resolved' OR over"
_KNOWS = ("SELECT channel, recipient FROM notices WHERE alert_id = ?1 AND (state IN ('taken', 'told') OR (state = "
          f"'waiting' AND what = 'resolved')) GROUP BY channel, recipient HAVING max(CASE WHEN {_OVER} THEN 0 ELSE id "
          f"END) > max(CASE WHEN {_OVER} THEN id ELSE 0 END)")


def told_lanes(rows: Rows, alert_id: int) -> list[tuple[str, str]]:
    """Lanes to which it is so: they were told of the alert, or are being told at this moment, and not since then that
    it is over."""
    return [(row["channel"], row["recipient"]) for row in rows.rows(_KNOWS, alert_id)]


def was_told(rows: Rows, alert_id: int, severity: str) -> bool:
    """Some channel has accepted it, as grave as it is and since it was last over."""
    return bool(rows.rows(
        "SELECT 1 FROM notices WHERE alert_id = ?1 AND state = 'told' AND what != 'resolved' AND severity = ?2 AND "
        "id > coalesce((SELECT max(id) FROM notices WHERE alert_id = ?1 AND what = 'resolved'), 0) LIMIT 1",
        alert_id, severity))


def last_told_us(rows: Rows, channel: str, recipient: str, alert_key: str, severities: Sequence[str]) -> int | None:
    """When the lane was last told that this is wrong, and as one of these; of a message under way: since when it is."""
    row = rows.rows(
        "SELECT max(coalesce(m.ended_us, m.made_us)) AS t FROM notices n JOIN messages m ON m.id = n.message_id "
        "WHERE n.alert_key = ? AND n.channel = ? AND n.recipient = ? AND n.state IN ('taken', 'told') AND "
        f"n.what != 'resolved' AND n.severity IN ({', '.join('?' * len(severities))})",
        alert_key, channel, recipient, *severities)[0]
    return None if row["t"] is None else int(row["t"])


def told_open(rows: Rows, channel: str | None, recipient: str | None) -> list[int]:
    """Alerts still on their ladder of which the lane (or any lane) was told."""
    return [int(row["alert_id"]) for row in rows.rows(
        "SELECT DISTINCT l.alert_id FROM ladder l JOIN notices n ON n.alert_id = l.alert_id WHERE n.state = 'told' AND "
        "(?1 IS NULL OR (n.channel = ?1 AND n.recipient = ?2)) ORDER BY l.alert_id", channel, recipient)]


def due_lanes(rows: Rows, now_us: int) -> list[tuple[str, str]]:
    return [(row["channel"], row["recipient"]) for row in rows.rows(
        "SELECT DISTINCT channel, recipient FROM notices WHERE state = 'waiting' AND due_us <= ?", now_us)]


def waiting(rows: Rows, channel: str, recipient: str, now_us: int) -> Waiting | None:
    row = rows.rows("SELECT count(*) AS n, min(t_us) AS a, max(t_us) AS b, max(severity = 'critical') AS c "
                    "FROM notices WHERE channel = ? AND recipient = ? AND state = 'waiting' AND due_us <= ?",
                    channel, recipient, now_us)[0]
    return Waiting(row["n"], row["a"], row["b"], bool(row["c"])) if row["n"] else None


def take_waiting(db: AlertsDb, channel: str, recipient: str, now_us: int) -> list[Notice]:
    """All that is due in a lane, oldest first. A "resolved" for a lane whose first word never arrived is dropped."""
    with db.writing() as con:
        con.execute(
            "UPDATE notices SET state = 'dropped' WHERE channel = ?1 AND recipient = ?2 AND state = 'waiting' AND "
            "what = 'resolved' AND due_us <= ?3 AND NOT EXISTS (SELECT 1 FROM notices o WHERE o.alert_id = "
            "notices.alert_id AND o.channel = ?1 AND o.recipient = ?2 AND o.state = 'told' AND o.what != 'resolved' "
            "AND o.id > coalesce((SELECT max(r.id) FROM notices r WHERE r.alert_id = notices.alert_id AND "
            "r.channel = ?1 AND r.recipient = ?2 AND r.what = 'resolved' AND r.state = 'told'), 0))",
            (channel, recipient, now_us))
        found = con.execute("SELECT * FROM notices WHERE channel = ? AND recipient = ? AND state = 'waiting' AND "
                            "due_us <= ? ORDER BY id", (channel, recipient, now_us)).fetchall()
    return [_notice(row) for row in found]


def waiting_counts(rows: Rows) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Of each lane: notices that wait, those of them held for a digest, since when (us) the oldest waits."""
    return {(row["channel"], row["recipient"]): (row["n"], row["d"], row["t"]) for row in rows.rows(
        "SELECT channel, recipient, count(*) AS n, sum(why IN ('quiet', 'digest')) AS d, min(t_us) AS t FROM notices "
        "WHERE state = 'waiting' GROUP BY channel, recipient")}


def _notice(row: Any) -> Notice:
    return Notice(row["channel"], row["recipient"], row["alert_id"], row["alert_key"], row["what"], row["severity"],
                  row["t_us"], row["due_us"], row["why"], bytes(row["alert"]), bool(row["over"]), row["id"])


# --- messages -----------------------------------------------------------------------------------------------


def add_message(db: AlertsDb, message: Message, notice_ids: Sequence[int]) -> Message:
    with db.writing() as con:
        cursor = con.execute(
            "INSERT INTO messages (key, channel, recipient, kind, severity, n, title, text, ack, state, made_us, "
            "next_us, tries, unsure, ended_us, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (message.key, message.channel, message.recipient, message.kind, message.severity, message.n, message.title,
             message.text, message.ack, message.state, message.made_us, message.next_us, message.tries, message.unsure,
             message.ended_us, message.error))
        message_id = int(cursor.lastrowid or 0)
        con.executemany("UPDATE notices SET state = 'taken', message_id = ? WHERE id = ?",
                        [(message_id, one) for one in notice_ids])
    return _message(db.rows("SELECT * FROM messages WHERE id = ?", message_id)[0])


def open_messages(rows: Rows) -> list[Message]:
    """Not yet delivered and not given up, oldest first."""
    return [_message(row) for row in rows.rows(
        "SELECT * FROM messages WHERE state IN ('ready', 'sending') ORDER BY kind != 'test', id")]


def message(rows: Rows, message_id: int) -> Message | None:
    found = rows.rows("SELECT * FROM messages WHERE id = ?", message_id)
    return _message(found[0]) if found else None


def messages(rows: Rows, limit: int, *, since_us: int = 0, state: str = "sent") -> list[Message]:
    """The last ones, in the order in which they ended."""
    found = rows.rows("SELECT * FROM messages WHERE state = ? AND coalesce(ended_us, made_us) >= ? "
                      "ORDER BY ended_us DESC, id DESC LIMIT ?", state, since_us, limit)
    return [_message(row) for row in reversed(found)]


def recover(db: AlertsDb) -> int:
    """After a start: what was being sent when the last process ended is sent again, and counted. How many."""
    with db.writing() as con:
        con.execute("UPDATE lanes SET unsure = unsure + (SELECT count(*) FROM messages m WHERE m.state = 'sending' AND "
                    "m.channel = lanes.channel AND m.recipient = lanes.recipient)")
        return con.execute("UPDATE messages SET state = 'ready', unsure = unsure + 1 WHERE state = 'sending'").rowcount


def begin_sending(db: AlertsDb, message_id: int) -> None:
    with db.writing() as con:
        con.execute("UPDATE messages SET state = 'sending', tries = tries + 1 WHERE id = ?", (message_id,))


def end_sending(db: AlertsDb, message_id: int) -> None:
    """It did not leave after all."""
    with db.writing() as con:
        con.execute("UPDATE messages SET state = 'ready' WHERE id = ? AND state = 'sending'", (message_id,))


def end_sent(db: AlertsDb, one: Message, now_us: int) -> None:
    """Also a late yes of a try that was given up; one that is sent again by now counts once."""
    with db.writing() as con:
        if not con.execute("UPDATE messages SET state = 'sent', ended_us = ?, error = '' WHERE id = ? AND "
                           "state != 'sent'", (now_us, one.id)).rowcount:
            return
        con.execute("UPDATE notices SET state = 'told' WHERE message_id = ?", (one.id,))
        con.execute("UPDATE lanes SET last_ok_us = ?, failing_since_us = NULL, fails = 0, error = '', sent = sent + 1, "
                    "digests = digests + ? WHERE channel = ? AND recipient = ?",
                    (now_us, one.kind == "digest", one.channel, one.recipient))


def end_failed(db: AlertsDb, one: Message, error: str, now_us: int, next_us: int, unsure: bool = False) -> None:
    """It is tried again at ``next_us``. ``unsure``: it may have been taken."""
    with db.writing() as con:
        con.execute("UPDATE messages SET state = 'ready', next_us = ?, error = ?, unsure = unsure + ? WHERE id = ? AND "
                    "state = 'sending'", (next_us, error, unsure, one.id))
        con.execute("UPDATE lanes SET failing_since_us = coalesce(failing_since_us, ?), fails = fails + 1, error = ?, "
                    "failed = failed + 1 WHERE channel = ? AND recipient = ?",
                    (now_us, error, one.channel, one.recipient))


def postpone(db: AlertsDb, one: Message, error: str, next_us: int) -> None:
    """Held back by the other end, which works."""
    with db.writing() as con:
        con.execute("UPDATE messages SET state = 'ready', next_us = ?, error = ? WHERE id = ?",
                    (next_us, error, one.id))


def end_without(db: AlertsDb, one: Message, state: State, error: str, now_us: int, *, again: bool = False) -> None:
    """``given_up`` or ``dropped``: its notices are not told. ``again``: those whose alert goes on wait for another
    message, whose words are of its own time."""
    with db.writing() as con:
        con.execute("UPDATE messages SET state = ?, ended_us = ?, error = ? WHERE id = ?",
                    (state, now_us, error, one.id))
        if again:
            con.execute("UPDATE notices SET state = 'waiting', message_id = NULL WHERE message_id = ? AND what != "
                        "'resolved' AND NOT over AND alert_id IN (SELECT alert_id FROM ladder)", (one.id,))
        con.execute("UPDATE notices SET state = 'dropped' WHERE message_id = ?", (one.id,))
        if state == "given_up":
            con.execute("UPDATE lanes SET given_up = given_up + 1 WHERE channel = ? AND recipient = ?",
                        (one.channel, one.recipient))


def take_back(db: AlertsDb, key: str, error: str, now_us: int) -> bool:
    """Of a message that was accepted and was not delivered after all."""
    with db.writing() as con:
        found = con.execute("SELECT id, channel, recipient FROM messages WHERE key = ? AND state = 'sent'",
                            (key,)).fetchone()
        if found is None:
            return False
        con.execute("UPDATE messages SET state = 'given_up', ended_us = ?, error = ? WHERE id = ?",
                    (now_us, error, found["id"]))
        con.execute("UPDATE notices SET state = 'dropped' WHERE message_id = ?", (found["id"],))
        con.execute("UPDATE lanes SET given_up = given_up + 1, sent = sent - 1, fails = fails + 1, error = ?, "
                    "failing_since_us = coalesce(failing_since_us, ?) WHERE channel = ? AND recipient = ?",
                    (error, now_us, found["channel"], found["recipient"]))
    return True


def all_over(rows: Rows, one: Message) -> bool:
    """Nothing in it needs to be told any more: every alert of it is off its ladder, and none is critical and over
    without that anybody has seen it."""
    return one.kind == "alert" and not rows.rows(
        "SELECT 1 FROM notices n LEFT JOIN ladder l ON l.alert_id = n.alert_id LEFT JOIN alerts a ON a.id = n.alert_id "
        "WHERE n.message_id = ? AND (l.alert_id IS NOT NULL OR (n.severity = 'critical' AND NOT n.over AND a.state = "
        "'resolved' AND a.acknowledged_us IS NULL)) LIMIT 1", one.id)


def sent_since(rows: Rows, channel: str, recipient: str, since_us: int) -> list[tuple[int, int]]:
    """(ended_us, n) of what was sent, oldest first."""
    return [(row["ended_us"], row["n"]) for row in rows.rows(
        "SELECT ended_us, n FROM messages WHERE channel = ? AND recipient = ? AND ended_us > ? AND state = 'sent' "
        "ORDER BY ended_us", channel, recipient, since_us)]


def alerts_of(rows: Rows, message_id: int) -> list[tuple[int, bytes]]:
    """(id, as it was told) of the alerts in a message."""
    return [(row["alert_id"], bytes(row["alert"])) for row in rows.rows(
        "SELECT alert_id, alert FROM notices WHERE message_id = ? AND what != 'resolved' GROUP BY alert_id ORDER BY id",
        message_id)]


def _message(row: Any) -> Message:
    return Message(row["id"], row["key"], row["channel"], row["recipient"], row["kind"], row["severity"], row["n"],
                   row["title"], row["text"], bool(row["ack"]), row["state"], row["made_us"], row["next_us"],
                   row["tries"], row["unsure"], row["ended_us"], row["error"])


# --- lanes --------------------------------------------------------------------------------------------------


def keep_lanes(db: AlertsDb, lanes: Iterable[tuple[str, str, str, str]], now_us: int) -> int:
    """(channel, recipient, about, fault): those that there are. What waits for others is dropped; how many notices. An
    alert of which nobody else was told begins its ladder anew."""
    with db.writing() as con:
        have = set()
        for channel, recipient, about, fault in lanes:
            have.add((channel, recipient))
            con.execute("INSERT INTO lanes (channel, recipient, about, fault) VALUES (?, ?, ?, ?) ON CONFLICT DO "
                        "UPDATE SET about = excluded.about, fault = excluded.fault", (channel, recipient, about, fault))
        dropped = 0
        for row in con.execute("SELECT channel, recipient FROM lanes").fetchall():
            if (lane := (row["channel"], row["recipient"])) not in have:
                dropped += con.execute("UPDATE notices SET state = 'dropped' WHERE channel = ? AND recipient = ? AND "
                                       "state IN ('waiting', 'taken')", lane).rowcount
                con.execute("UPDATE messages SET state = 'dropped', ended_us = ?, error = 'the channel was removed' "
                            "WHERE channel = ? AND recipient = ? AND state IN ('ready', 'sending')", (now_us, *lane))
                con.execute("DELETE FROM lanes WHERE channel = ? AND recipient = ?", lane)
        if dropped:
            con.execute("UPDATE ladder SET step = 0, started_us = ?1, step_us = ?1, next_us = ?1 WHERE alert_id NOT IN "
                        "(SELECT alert_id FROM notices WHERE state IN ('waiting', 'taken', 'told'))", (now_us,))
    return dropped


def lanes(rows: Rows) -> list[Lane]:
    return [Lane(*(row[field] for field in Lane.__struct_fields__))
            for row in rows.rows("SELECT * FROM lanes ORDER BY channel, recipient")]


def count(db: AlertsDb, channel: str, recipient: str, what: str, n: int = 1) -> None:
    if what not in COUNTED:
        raise ValueError(what)
    with db.writing() as con:
        con.execute(f"UPDATE lanes SET {what} = {what} + ? WHERE channel = ? AND recipient = ?",
                    (n, channel, recipient))


# --- ladder -------------------------------------------------------------------------------------------------


def put_climbs(db: AlertsDb, climbs: Iterable[Climb]) -> None:
    with db.writing() as con:
        con.executemany(
            "INSERT OR REPLACE INTO ladder (alert_id, severity, started_us, step, step_us, next_us, alert) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(c.alert_id, c.severity, c.started_us, c.step, c.step_us, c.next_us, c.alert) for c in climbs])


def end_climbs(db: AlertsDb, alert_ids: Iterable[int]) -> None:
    with db.writing() as con:
        con.executemany("DELETE FROM ladder WHERE alert_id = ?", [(one,) for one in alert_ids])


def climb(rows: Rows, alert_id: int) -> Climb | None:
    found = rows.rows("SELECT * FROM ladder WHERE alert_id = ?", alert_id)
    return _climb(found[0]) if found else None


def due_climbs(rows: Rows, now_us: int) -> list[Climb]:
    return [_climb(row) for row in rows.rows(
        "SELECT * FROM ladder WHERE next_us IS NOT NULL AND next_us <= ? ORDER BY alert_id", now_us)]


def _climb(row: Any) -> Climb:
    return Climb(row["alert_id"], row["severity"], row["started_us"], row["step"], row["step_us"], row["next_us"],
                 bytes(row["alert"]))


# --- acknowledging ------------------------------------------------------------------------------------------


def add_link(db: AlertsDb, digest: bytes, message_id: int, expires_us: int) -> None:
    with db.writing() as con:
        con.execute("INSERT OR REPLACE INTO ack_links VALUES (?, ?, ?)", (digest, message_id, expires_us))


def link(rows: Rows, digest: bytes) -> tuple[int, int] | None:
    """(message id, until when it is good)."""
    found = rows.rows("SELECT message_id, expires_us FROM ack_links WHERE hash = ?", digest)
    return (found[0]["message_id"], found[0]["expires_us"]) if found else None


def reply_is_new(db: AlertsDb, source: str, t_us: int) -> bool:
    """Note that a reply or a press was seen; True at the first time."""
    with db.writing() as con:
        return con.execute("INSERT OR IGNORE INTO replies VALUES (?, ?)", (source, t_us)).rowcount == 1


# --- care ---------------------------------------------------------------------------------------------------


def shift(db: AlertsDb, by_us: int, now_us: int) -> None:
    """The clock was set by so much: what waits waits as long as before, and caps count what they counted. A digest
    comes at its time of the day, by whichever clock."""
    was_us = now_us - by_us
    with db.writing() as con:
        con.execute("UPDATE notices SET t_us = t_us + ?1, due_us = CASE WHEN why IN ('quiet', 'digest') THEN "
                    "min(due_us, ?2 + ?3) ELSE due_us + ?1 END WHERE state = 'waiting'", (by_us, now_us, DAY_US))
        con.execute("UPDATE messages SET made_us = made_us + ?1, next_us = next_us + ?1, ended_us = ended_us + ?1 "
                    "WHERE state IN ('ready', 'sending') OR ended_us > ?2", (by_us, was_us - DAY_US))
        con.execute("UPDATE ladder SET started_us = started_us + ?1, step_us = step_us + ?1, next_us = next_us + ?1",
                    (by_us,))
        con.execute("UPDATE lanes SET last_ok_us = last_ok_us + ?1, failing_since_us = failing_since_us + ?1", (by_us,))
        con.execute("UPDATE ack_links SET expires_us = expires_us + ?1", (by_us,))


def prune(db: AlertsDb, now_us: int) -> None:
    """Forget what ended long ago."""
    old = now_us - KEPT_US
    with db.writing() as con:
        con.execute("DELETE FROM notices WHERE state = 'dropped' AND t_us < ?", (now_us - DAY_US * 7,))
        con.execute("DELETE FROM notices WHERE state = 'told' AND t_us < ? AND alert_id NOT IN (SELECT alert_id FROM "
                    "ladder)", (old,))
        con.execute("DELETE FROM messages WHERE ended_us < ?", (old,))
        con.execute("DELETE FROM ack_links WHERE expires_us < ?", (now_us,))
        con.execute("DELETE FROM replies WHERE t_us < ?", (now_us - DAY_US,))

"""What the heating page's forms ask for, as commands to the heater. Each is one property set, answered and audited."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any
from urllib.parse import quote

from flask import Blueprint, abort, request
from msgspec.structs import replace
from werkzeug.wrappers import Response as BaseResponse

from hub.command.values import BadValue, moment
from hub.heating import week as weeks
from hub.heating.levels import PASSING
from hub.heating.shape import Heater, profiles_of
from hub.live import PropertyInfo
from hub.web.access import needs
from hub.web.command import Desk
from hub.web.heating import Editor, Pages, find, mark
from hub.web.sender import Outcome
from hub.web.zones import zone_of

STEP_C = 0.5


def blueprint(pages: Pages, desk: Desk) -> Blueprint:
    bp = Blueprint("heating_forms", __name__)
    hut, t = pages.hut, pages.hut.texts

    def known(device_id: str, node: str) -> Heater:
        found = find(hut, device_id, node)
        if found is None:
            abort(404, t("heating.not_found", node=node[:60], device=device_id[:60]))
        return found

    def given(name: str) -> str:
        return request.form.get(name, "").strip()

    def back(one: Heater) -> str:
        return one.path if given("one") else "/heating"

    def until() -> str:
        text = given("until")
        if not text:
            raise BadValue(t("heating.no_end"))
        return moment(text, zone_of(given("zone")) or hut.zone, t("heating.until"))

    def profile_of(one: Heater) -> str:
        name = given("profile")
        if name not in one.profiles:
            raise BadValue(t("heating.no_profile", name=name[:40], names=", ".join(one.profiles)))
        return name

    def send(one: Heater, prop: str, make: Callable[[], Any]) -> Outcome:
        def typed(info: PropertyInfo) -> Any:
            return make()

        return desk.checked(one.device, one.node, prop, typed)

    @bp.post("/heating/<device_id>/<node>/do")
    @needs("operator")
    def do(device_id: str, node: str) -> BaseResponse:
        one = known(device_id, node)
        made = action(one, given("do"))
        if made is None:
            abort(400)
        prop, make = made
        outcome = send(one, prop, make)
        if outcome.ok and prop in ("levels", "schedule"):
            outcome = replace(outcome, text=said(given("do")))
        return desk.answer(outcome, back(one))

    def said(do: str) -> str:
        match do:
            case "comfort" | "eco":
                return t("heating.done_forced", what=t(f"heating.{do}"))
            case "supplementary" | "exceptional":
                return t("heating.done_level", profile=given("profile"), level=t(f"heating.level_{do}"))
            case "end":
                return t("heating.done_end", level=t(f"heating.level_{level()}"))
        return t(f"heating.done_{do.replace('-', '_')}", profile=given("profile"))

    def action(one: Heater, do: str) -> tuple[str, Callable[[], Any]] | None:
        match do:
            case "warmer" | "cooler":
                return "setpoint-c", lambda: nudged(one, STEP_C if do == "warmer" else -STEP_C)
            case "off" | "auto":
                return "mode", lambda: do
            case "comfort" | "eco":
                return "levels", lambda: {"forced": {"setpoint_c": temperature(one, do), "until": until()}}
            case "supplementary" | "exceptional":
                return "levels", lambda: {do: {"profile": profile_of(one), "until": until()}}
            case "base":
                return "levels", lambda: {"base": {"profile": profile_of(one)}}
            case "end":
                return "levels", lambda: {level(): None}
            case "holiday":
                return "schedule", lambda: {"holidays": [*holidays(one), new_holiday(one)]}
            case "no-holiday":
                return "schedule", lambda: {"holidays": without(holidays(one))}
        return None

    def nudged(one: Heater, by: float) -> float:
        if one.aim_c is None:
            raise BadValue(t("heating.no_aim"))
        return round(min(one.high_c, max(one.low_c, one.aim_c + by)), 2)

    def temperature(one: Heater, kind: str) -> float:
        value = one.comfort(kind)
        if value is None:
            raise BadValue(t("heating.no_schedule"))
        return value

    def level() -> str:
        name = given("level")
        if name not in PASSING:
            raise BadValue(f"level={name[:40]}: {', '.join(PASSING)}")
        return name

    def holidays(one: Heater) -> list[Any]:
        if one.schedule is None:
            raise BadValue(t("heating.no_schedule"))
        found = one.schedule.get("holidays")
        return list(found) if isinstance(found, list) else []

    def new_holiday(one: Heater) -> dict[str, str]:
        try:
            first, last = date.fromisoformat(given("from")), date.fromisoformat(given("to"))
        except ValueError:
            raise BadValue(t("heating.holiday_dates")) from None
        if last < first:
            raise BadValue(t("heating.holiday_order"))
        return {"from": first.isoformat(), "to": last.isoformat(), "profile": profile_of(one)}

    def without(every: list[Any]) -> list[Any]:
        gone = {"from": given("from"), "to": given("to"), "profile": given("profile")}
        if gone not in every:
            raise BadValue(t("heating.holiday_gone"))
        return [one for one in every if one != gone]

    # --- the week -----------------------------------------------------------------------------------------

    @bp.post("/heating/<device_id>/<node>/schedule")
    @needs("operator")
    def schedule(device_id: str, node: str) -> BaseResponse:
        one = known(device_id, node)
        profile = profiles_of(one.schedule).get(given("profile"))
        if not isinstance(profile, dict):
            return pages.page(one, status=409)
        editor = Editor(given("profile"), given("comfort_c"), given("eco_c"), weeks.of_form(request.form),
                        given("base"))
        words = {key: t(f"heating.slice_{key}") for key in ("time", "same", "many")}
        if not weeks.check(editor.week, words):
            editor.error = t("heating.slices_wrong")
            return pages.page(one, editor=editor, status=400)
        if given("do") == "copy":
            return copy(one, editor)
        if editor.base != mark(profile):
            editor.error = t("heating.changed_meanwhile")
            editor.base = mark(profile)  # saved once more, it is meant
            return pages.page(one, editor=editor, status=409)
        outcome = send(one, "schedule", lambda: changed(editor, profile))
        if not outcome.ok:
            editor.error = outcome.text
            return pages.page(one, editor=editor, status=outcome.status)
        outcome = replace(outcome, text=t("heating.saved", profile=editor.profile))
        return desk.answer(outcome, f"{one.path}?profile={quote(editor.profile)}#week")

    def copy(one: Heater, editor: Editor) -> BaseResponse:
        """On the page only: nothing is sent before it is saved."""
        source = given("copy-from")
        targets = {"all": range(7), "workdays": range(5), "weekend": range(5, 7)}.get(given("copy-to"))
        if targets is None and given("copy-to") in list("0123456"):
            targets = range(int(given("copy-to")), int(given("copy-to")) + 1)
        if targets is None or source not in list("0123456"):
            abort(400)
        editor.week = weeks.copied(editor.week, int(source), list(targets))
        editor.error = t("heating.copied")
        return pages.page(one, editor=editor)

    def changed(editor: Editor, profile: dict[str, Any]) -> dict[str, Any]:
        fresh = {**profile, "calendar": weeks.calendar_of(editor.week)}
        for key, text in (("comfort_c", editor.comfort_c), ("eco_c", editor.eco_c)):
            try:
                fresh[key] = float(text.replace(",", "."))
            except ValueError:
                raise BadValue(t("heating.no_temperature", text=text[:40])) from None
            if not 5 <= fresh[key] <= 30:
                raise BadValue(t("heating.temperature_range", text=text[:40]))
        if fresh["eco_c"] > fresh["comfort_c"]:
            raise BadValue(t("heating.eco_above"))
        return {"profiles": {editor.profile: fresh}}

    return bp

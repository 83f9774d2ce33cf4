"use strict";
// The page of alerts: asked every few seconds while it is seen, drawn anew only when something changed.
{
  let version = document.body.dataset.version, timer = null;
  const offline = document.getElementById("offline");

  async function ask() {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const answer = await fetch("/poll/alerts?version=" + version, {
        headers: {"X-Background": "1"}, signal: AbortSignal.timeout(10000)});
      if (answer.status === 401) return location.assign("/login?next=/alerts");
      offline.hidden = answer.ok;
      if (answer.ok) {
        const told = await answer.json();
        clockAheadMs = Date.now() - told.now / 1000;
        if (told.board) replacePart("board", told.board);
        version = String(told.version);
      }
    } catch (error) { offline.hidden = false; }
    timer = setTimeout(ask, 3000);
  }

  document.addEventListener("visibilitychange", ask);
  addEventListener("pageshow", ask);
  timer = setTimeout(ask, 1000);
}

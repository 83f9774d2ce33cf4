"use strict";
// The status report: the whole page's body every few seconds while it is seen; a machine's memory once.

const report = document.getElementById("report");
const EVERY_MS = 5000, MANY = 50, MANY_MS = 30000;

async function refresh() {
  if (document.hidden) return;
  const offline = document.getElementById("offline");
  try {
    const answer = await fetch("/poll/machines", {headers: {"X-Background": "1"}, signal: AbortSignal.timeout(10000)});
    if (answer.status === 401) return location.assign("/login?next=" + encodeURIComponent(location.pathname));
    offline.hidden = answer.ok;
    if (!answer.ok) return;
    const told = await answer.json();
    clockAheadMs = Date.now() - told.now / 1000;
    replacePart("report", told.body);
  } catch (error) { offline.hidden = false; }
}

async function memory(machine) {
  try {
    const answer = await fetch(`/machines/${encodeURIComponent(machine)}/now`, {headers: {"X-Background": "1"}});
    if (!answer.ok) return;
    const told = await answer.json();
    for (const cell of document.querySelectorAll("[data-memory]")) {
      const size = told.memory[cell.dataset.memory];
      if (size) cell.textContent = size;
    }
  } catch (error) { return; }
}

if (report) {
  setInterval(refresh, report.querySelectorAll("tr[data-find]").length > MANY ? MANY_MS : EVERY_MS);
  document.addEventListener("visibilitychange", refresh);
}
if (document.body.dataset.machine) memory(document.body.dataset.machine);

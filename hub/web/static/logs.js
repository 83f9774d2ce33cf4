"use strict";
// Follow a log: what comes after the cursor, every two seconds while the page is seen.

const lines = document.getElementById("log-lines"), follow = document.getElementById("log-follow");
const level = document.getElementById("log-level");
const LEVELS = ["debug", "info", "warning", "error"], KEPT = 2000;
let timer = null;

function add(told) {
  const least = LEVELS.indexOf(level.value);
  const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  for (const [t, of, words] of told) {
    if (LEVELS.indexOf(of) < least) continue;
    const line = document.createElement("p");
    line.className = of === "warning" ? "warn" : of;
    if (t) { const code = document.createElement("code"); code.textContent = t; line.append(code, " "); }
    if (LEVELS.indexOf(of) > 1) { const mark = document.createElement("b"); mark.textContent = of; line.append(mark, " "); }
    line.append(words);
    lines.querySelector(".none")?.remove();
    lines.append(line);
  }
  while (lines.children.length > KEPT) lines.firstElementChild.remove();
  if (atEnd) lines.scrollTop = lines.scrollHeight;
}

async function more() {
  if (!follow.checked) return;
  let again = 2000;
  if (!document.hidden) {
    try {
      const url = `${lines.dataset.more}?after=${encodeURIComponent(lines.dataset.cursor)}`;
      const answer = await fetch(url, {headers: {"X-Background": "1"}, signal: AbortSignal.timeout(10000)});
      if (answer.status === 401) return location.assign("/login?next=" + encodeURIComponent(location.pathname));
      const told = await answer.json();
      document.getElementById("offline").hidden = answer.ok && !told.error;
      if (answer.ok && !told.error && !told.old) {
        add(told.lines);
        lines.dataset.cursor = told.cursor;
        if (told.more) again = 100;
      } else again = 5000;
    } catch (error) { document.getElementById("offline").hidden = false; again = 5000; }
  }
  timer = setTimeout(more, again);
}

lines.scrollTop = lines.scrollHeight;
if (lines.dataset.cursor && !lines.dataset.old) {
  document.getElementById("log-follow-label").hidden = false;
  follow.addEventListener("change", () => { clearTimeout(timer); more(); });
}
level.addEventListener("change", () => document.getElementById("log-form").submit());

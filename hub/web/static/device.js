"use strict";
// The device page: values and ages as they come, the log, sparklines after the page itself.
{
  const device = document.body.dataset.device;
  const log = document.getElementById("log");
  const KEEP_LINES = 300;
  let lastLine = Number(document.body.dataset.log);

  function line(when, level, words) {
    const p = document.createElement("p");
    p.className = level;
    if (when) {
      const stamp = document.createElement("code");
      stamp.textContent = when;
      p.append(stamp, " ");
    }
    p.append(words);
    return p;
  }

  function addLines(lines) {
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 20;
    log.querySelector(".none")?.remove();
    log.append(...lines);
    while (log.children.length > KEEP_LINES) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  async function sparks() {
    if (document.hidden) return;
    const answer = await fetch(`/device/${device}/sparks`, {headers: {"X-Background": "1"}}).catch(() => null);
    if (!answer?.ok) return;
    const drawn = await answer.json();
    for (const holder of document.querySelectorAll("[data-series]")) {
      const svg = drawn[holder.dataset.series];
      if (svg) holder.replaceChildren(element(svg));
    }
  }

  document.getElementById("log-read").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      const answer = await fetch(`/device/${device}/log`, {method: "POST", headers: {"X-Form": document.body.dataset.form}});
      const told = await answer.json();
      if (!answer.ok) throw new Error(told.error);
      log.replaceChildren(...told.lines.map((parts) => line(...parts)));
      log.scrollTop = log.scrollHeight;
    } catch (error) {
      addLines([line("", "error", log.dataset.failed.replace("{error}", error.message))]);
    }
    button.disabled = false;
  });

  const {since} = document.body.dataset;
  live(`/events/device/${device}?since=${since}&log=${lastLine}`, () => `/poll/device/${device}?log=${lastLine}`, (event) => {
    if (event.gone) return location.assign("/");
    if (event.body) replacePart("body", event.body);
    for (const [key, [words, unit]] of Object.entries(event.values || {})) {
      const value = document.getElementById(key);
      if (!value) continue;
      value.firstElementChild.textContent = words;
      value.lastElementChild.textContent = unit;
    }
    for (const [node, us] of Object.entries(event.ages || {})) {
      const time = document.querySelector(`#a-${node} time`);
      if (time) { time.dataset.us = us; time.dateTime = new Date(us / 1000).toISOString(); }
    }
    // a stream that goes on after a break tells some lines again
    const fresh = (event.log || []).filter(([n]) => n > lastLine);
    if (fresh.length) {
      lastLine = fresh[fresh.length - 1][0];
      addLines(fresh.map(([, when, level, words]) => line(when, level, words)));
    }
    if (event.body || event.ages) ages(document);
  });
  sparks();
  setInterval(sparks, 60000);
}

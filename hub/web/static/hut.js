"use strict";
// Shared by all pages: texts, ages that count on, parts that change in place, and the event stream.

const texts = JSON.parse(document.body.dataset.texts);

function text(key, fields) {
  return (texts[key] || key).replace(/\{(\w+)\}/g, (_, name) => fields[name]);
}

function duration(seconds) {
  for (const [key, size] of [["y", 31557600], ["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return text(key, {n: Math.floor(seconds / size)});
  }
  return text("s", {n: Math.round(seconds)});
}

// The hub's clock counts, not the viewer's: a phone that runs wrong must not make every value old.
let clockAheadMs = 0;

function ages(root) {
  const now = Date.now() - clockAheadMs;
  for (const time of root.querySelectorAll("time[data-us]")) {
    const at = Number(time.dataset.us) / 1000;
    const seconds = (now - at) / 1000;
    const shown = seconds < -1 ? text("ahead", {age: duration(-seconds)}) : text("ago", {age: duration(Math.max(0, seconds))});
    if (time.textContent !== shown) time.textContent = shown;
    if (time.dataset.local !== time.dataset.us) {
      time.dataset.local = time.dataset.us;
      const exact = new Date(at);
      if (!isNaN(exact)) time.title = exact.toLocaleString(undefined, {dateStyle: "medium", timeStyle: "long"});
    }
  }
}
ages(document);

// The menu folds by itself; this only spares a second click on it.
const menu = document.querySelector("details.menu");
if (menu) {
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.firstElementChild.focus();
  });
}

setInterval(() => { if (!document.hidden) ages(document); }, 1000);

// HTML that our own templates made (everything foreign in it is escaped there) into an element.
function element(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return holder.content.firstElementChild;
}

// Make `old` like `fresh` and leave alone what is the same, so that focus, selection and open parts stay.
function morph(old, fresh) {
  // what somebody may be typing in, or what the script drew, while it is still for the same thing
  if ("keep" in old.dataset && old.dataset.keep === fresh.dataset.keep) return;
  if (old.nodeName === "OUTPUT") return;  // an answer stands until it was read, whatever else changes
  for (const {name, value} of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const {name} of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open" && name !== "data-local") old.removeAttribute(name);
  }
  const after = [...fresh.childNodes], wanted = new Set(after.map((node) => node.id).filter(Boolean));
  const taken = (node) => node.id && wanted.has(node.id);
  const named = new Map([...old.children].filter(taken).map((child) => [child.id, child]));
  let was = old.firstChild;  // the next of the old ones that has no place yet
  for (const node of after) {
    const same = node.id ? named.get(node.id) : null;
    if (same) {
      // what has a name stays itself, whatever came or went before it: words half typed are in it
      while (was && was !== same && !taken(was)) { const next = was.nextSibling; was.remove(); was = next; }
      if (was !== same) old.insertBefore(same, was);
    }
    const place = same || was;
    if (!place || (!same && (taken(place) || place.nodeType !== node.nodeType || place.nodeName !== node.nodeName))) {
      old.insertBefore(node, was);
      continue;
    }
    was = place.nextSibling;
    if (node.nodeType === Node.TEXT_NODE) { if (place.data !== node.data) place.data = node.data; }
    else if (node.nodeType === Node.ELEMENT_NODE) morph(place, node);
  }
  while (was) { const next = was.nextSibling; was.remove(); was = next; }
  if (old.nodeType === Node.ELEMENT_NODE && old.matches("time[data-us]")) delete old.dataset.local;
}

function replacePart(id, html) {
  const fresh = element(html), old = document.getElementById(id);
  if (old && fresh) { morph(old, fresh); ages(old); }
}

// A live page: events while it is seen, nothing while it is hidden, questions every few seconds when the hub has
// no stream left for it.
function live(stream, poll, take) {
  let source = null, timer = null, failed = 0;
  const offline = document.getElementById("offline"), polling = document.getElementById("polling");

  function leave() { location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search)); }

  function close() {
    if (source) source.close();
    clearTimeout(timer);
    source = timer = null;
  }

  function open() {
    if (source || document.hidden) return;
    source = new EventSource(stream);
    source.onopen = () => { failed = 0; offline.hidden = true; polling.hidden = true; };
    source.onmessage = (event) => take(JSON.parse(event.data));
    source.addEventListener("ended", leave);
    source.onerror = () => {
      // CONNECTING: the browser tries again by itself; CLOSED: an answer that was no stream (503, 401)
      if (source.readyState === EventSource.CLOSED) { close(); ask(); }
      else if (++failed > 1) offline.hidden = false;
    };
  }

  async function ask() {
    try {
      const answer = await fetch(poll(), {headers: {"X-Background": "1"}, signal: AbortSignal.timeout(10000)});
      if (answer.status === 401) return leave();
      if (answer.ok) { take(await answer.json()); offline.hidden = true; polling.hidden = false; }
      else offline.hidden = false;
    } catch (error) { offline.hidden = false; }
    if (!document.hidden) timer = setTimeout(() => (++failed % 4 ? ask() : open()), 5000);
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}

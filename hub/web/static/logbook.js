"use strict";
// The logbook's newest page: lines as they come, the newest first, and counts as they grow.
{
  const MOST = 400, list = document.getElementById("lines"), empty = document.getElementById("no-lines");
  const of = new URLSearchParams(location.search);

  function put(n, html) {
    const fresh = element(html), old = document.getElementById(fresh.id);
    if (old) { morph(old, fresh); return; }
    // their numbers are their times: as many digits, so texts compare as numbers do
    let place = list.firstElementChild;
    while (place && BigInt(place.id.slice(1)) > BigInt(n)) place = place.nextElementSibling;
    list.insertBefore(fresh, place);
    while (list.children.length > MOST) list.lastElementChild.remove();
  }

  of.delete("note");
  const asked = of.toString();
  live("/events/logbook?" + asked + (asked ? "&" : "") + "since=" + document.body.dataset.since,
    () => "/poll/logbook?" + asked, (event) => {
      for (const [n, html] of (event?.lines || []).reverse()) put(n, html);
      empty.hidden = list.children.length > 0;
    });
}

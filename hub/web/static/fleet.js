"use strict";
// The fleet page: rows that change in place, the answer at the top, the filter.
{
  const rows = document.getElementById("rows");
  const find = document.getElementById("find"), onlyBad = document.getElementById("only-bad");

  function show() {
    const wanted = find.value.trim().toLowerCase();
    let left = 0;
    for (const row of rows.children) {
      const fits = row.dataset.find.includes(wanted) && (!onlyBad.checked || "bad" in row.dataset);
      row.hidden = !fits;
      left += fits;
    }
    document.getElementById("none-match").hidden = left > 0 || !rows.children.length;
    document.getElementById("fleet").hidden = !rows.children.length;
    document.getElementById("empty").hidden = rows.children.length > 0;
    document.getElementById("filter").hidden = rows.children.length < 6 && !wanted && !onlyBad.checked;
  }

  find.addEventListener("input", show);
  onlyBad.addEventListener("change", show);
  document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());

  live("/events/fleet?since=" + document.body.dataset.since, () => "/poll/fleet", (event) => {
    for (const [device, html] of Object.entries(event.rows || {})) {
      if (document.getElementById("d-" + device)) replacePart("d-" + device, html);
      else { rows.append(element(html)); ages(rows.lastElementChild); }
    }
    for (const device of event.gone || []) document.getElementById("d-" + device)?.remove();
    if (event.all) {
      const all = new Set(event.all.map((device) => "d-" + device));
      for (const row of [...rows.children]) if (!all.has(row.id)) row.remove();
    }
    if (event.top) replacePart("answer", event.top);
    if (event.now) clockAheadMs = Date.now() - event.now / 1000;
    show();
  });
}

"use strict";
// The heating page: cards as they change, the day's picture each minute, the week drawn by hand.
{
  const DAY = 1440, SNAP = 15, EDGE = 30;

  // times of the house's zone become the viewer's
  function locals(root) {
    for (const time of root.querySelectorAll("time.at[data-at]")) {
      const at = new Date(Number(time.dataset.at) / 1000);
      const today = at.toDateString() === new Date().toDateString();
      const shown = at.toLocaleString(undefined, today ? {hour: "2-digit", minute: "2-digit", hourCycle: "h23"}
        : {month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
      if (time.textContent !== shown) time.textContent = shown;
    }
  }

  live("/events/heating?since=" + document.body.dataset.since, () => "/poll/heating", (event) => {
    for (const [key, html] of Object.entries(event.cards || {})) {
      const old = document.getElementById("h-" + key);
      if (!old) continue;
      const fresh = element(html);
      // a heater's own page says "Now" where the list has its name
      if (document.querySelector(".crumb")) {
        fresh.querySelector("h2").replaceChildren(...old.querySelector("h2").cloneNode(true).childNodes);
        for (const form of fresh.querySelectorAll("form")) {
          const one = document.createElement("input");
          Object.assign(one, {type: "hidden", name: "one"});
          one.setAttribute("value", "1");
          form.firstElementChild.after(one);
        }
      }
      morph(old, fresh);
      ages(old);
      locals(old);
    }
    for (const [key, us] of Object.entries(event.ages || {})) {
      const time = document.querySelector(`#h-${key} .age time`);
      if (time) { time.dataset.us = us; time.dateTime = new Date(us / 1000).toISOString(); }
    }
    if (event.demand && document.getElementById("demand")) replacePart("demand", event.demand);
    if (event.all && !document.querySelector(".crumb")) {
      const here = [...document.querySelectorAll(".heater")].map((card) => card.id.slice(2));
      if (here.length !== event.all.length || here.some((key) => !event.all.includes(key))) location.reload();
    }
  });
  locals(document);

  const day = document.getElementById("day");
  async function redraw() {
    if (document.hidden) return;
    const answer = await fetch(day.dataset.path, {headers: {"X-Background": "1"}}).catch(() => null);
    const svg = answer?.ok ? (await answer.json()).svg : "";
    if (svg) day.replaceChildren(element(svg));
  }
  if (day) {
    day.scrollLeft = day.scrollWidth;  // on a phone: the last hours
    setInterval(redraw, 60000);
  }

  // --- the week: the times in the fields are the truth, the bars draw them -----------------------------------

  const minute = (words) => {
    const found = /^(\d{1,2})[:h.](\d{2})$/.exec(words.trim());
    const at = found ? Number(found[1]) * 60 + Number(found[2]) : NaN;
    return found && Number(found[2]) < 60 && at <= DAY ? at : null;
  };
  const clock = (at) => String(Math.floor(at / 60)).padStart(2, "0") + ":" + String(at % 60).padStart(2, "0");
  const form = document.querySelector(".week");
  if (form && !form.querySelector("fieldset").disabled) begin();

  function begin() {
    const days = [...form.querySelectorAll(".day")];

    function slices(one) {
      return [...one.querySelectorAll(".slice")].map((holder) => {
        const [start, end] = holder.querySelectorAll("input");
        return {holder, start, end, from: minute(start.value), to: minute(end.value)};
      });
    }
    const good = (slice) => slice.from !== null && slice.to !== null && slice.from !== slice.to && slice.from < DAY;

    function rect(kind, from, to, slice) {
      const made = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      made.setAttribute("class", kind);
      made.setAttribute("x", from);
      made.setAttribute("width", to - from);
      made.setAttribute("height", 20);
      made.slice = slice;
      return made;
    }

    function draw() {
      const all = days.map(slices);
      days.forEach((one, n) => {
        const bar = one.querySelector(".day-bar");
        for (const old of bar.querySelectorAll(".comfort")) old.remove();
        const hours = bar.querySelector(".hour");
        for (const slice of all[(n + 6) % 7].filter(good)) {
          if (slice.to < slice.from && slice.to > 0) bar.insertBefore(rect("comfort tail", 0, slice.to), hours);
        }
        for (const slice of all[n].filter(good)) {
          bar.insertBefore(rect("comfort", slice.from, slice.to > slice.from ? slice.to : DAY, slice), hours);
        }
      });
    }

    // at the end of each day one empty slice waits to be filled
    function spare(one) {
      const every = slices(one);
      const empty = every.filter((slice) => !slice.start.value && !slice.end.value);
      if (empty.length) return empty[empty.length - 1];
      const holder = every[every.length - 1].holder.cloneNode(true);
      holder.classList.remove("wrong");
      holder.querySelector(".wrong-text")?.remove();
      for (const input of holder.querySelectorAll("input")) {
        input.value = "";
        input.removeAttribute("value");
        input.removeAttribute("aria-invalid");
        input.removeAttribute("aria-describedby");
      }
      one.querySelector(".slices").append(holder);
      number(one);
      return slices(one).pop();
    }

    function number(one) {
      slices(one).forEach(({start, end, holder}, n) => {
        start.name = `s-${one.dataset.day}-${n}`;
        end.name = `e-${one.dataset.day}-${n}`;
        holder.querySelector(".remove").hidden = !start.value && !end.value;
      });
    }

    function write(slice, from, to) {
      slice.start.value = clock(from);
      slice.end.value = clock(to);
    }

    function changed(one) { spare(one); number(one); draw(); }

    form.addEventListener("input", (event) => {
      const one = event.target.closest(".day");
      if (one) changed(one);
    });
    form.addEventListener("click", (event) => {
      if (!event.target.matches(".remove")) return;
      const one = event.target.closest(".day"), holder = event.target.closest(".slice");
      if (slices(one).length > 1) holder.remove();
      else holder.querySelectorAll("input").forEach((input) => { input.value = ""; });
      changed(one);
      one.querySelector(".slice:last-child input").focus();
    });

    for (const one of days) {
      const bar = one.querySelector(".day-bar");
      bar.classList.add("live");
      const at = (event) => {
        const box = bar.getBoundingClientRect();
        const raw = (event.clientX - box.left) / box.width * DAY;
        return Math.min(DAY, Math.max(0, Math.round(raw / SNAP) * SNAP));
      };
      bar.addEventListener("pointerdown", (event) => {
        if (event.button || event.target.matches(".tail")) return;
        event.preventDefault();
        const begun = at(event);
        const near = 6 / bar.getBoundingClientRect().width * DAY;  // an edge may be missed by a few pixels
        let slice = event.target.slice || slices(one).find((other) => good(other) &&
          [other.from, other.to > other.from ? other.to : DAY].some((edge) => Math.abs(edge - begun) <= near)), mode = "new", from = begun, to = begun;
        if (slice) {
          [from, to] = [slice.from, slice.to > slice.from ? slice.to : slice.to + DAY];
          mode = begun - from <= EDGE && begun - from < to - begun ? "start" : Math.min(to, DAY) - begun <= EDGE ? "end" : "move";
        }
        // a neighbour is a wall
        const walls = slices(one).filter((other) => good(other) && other.start !== slice?.start);
        const fits = (a, b) => b > a && a >= 0 && a < DAY && walls.every((w) => b <= w.from || a >= (w.to > w.from ? w.to : DAY));
        const put = (place) => {
          if (mode === "new") return place >= begun ? [begun, place] : [place, begun];
          if (mode === "start") return [place, to];
          if (mode === "end") return [from, place];
          return [from + place - begun, to + place - begun];
        };
        const move = (now) => {
          let place = at(now), [a, b] = put(place);
          // as far as it goes
          while (!fits(a, b) && place !== begun) {
            place += place > begun ? -SNAP : SNAP;
            [a, b] = put(place);
          }
          if (!fits(a, b) || b - a < SNAP) return;
          if (!slice) slice = spare(one);
          write(slice, a, b > DAY ? b - DAY : b);
          draw();
        };
        const done = () => {
          bar.removeEventListener("pointermove", move);
          changed(one);
        };
        bar.setPointerCapture(event.pointerId);
        bar.addEventListener("pointermove", move);
        bar.addEventListener("pointerup", done, {once: true});
        bar.addEventListener("pointercancel", done, {once: true});
      });
      changed(one);
    }
  }
}

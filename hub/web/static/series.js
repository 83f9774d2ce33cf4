"use strict";
// The series page: the picture becomes a chart that zooms, and goes on while it shows the present.
{
  const holder = document.getElementById("chart");
  const {series, query, range, device} = document.body.dataset;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function columns(chart) {
    const t = [], mean = [], low = [], high = [];
    const steps = chart.t_us.slice(1).map((at, n) => at - chart.t_us[n]).sort((a, b) => a - b);
    const gap = 3.5 * (steps[steps.length >> 1] || Infinity);
    chart.t_us.forEach((at, n) => {
      // a hole in the record is a hole in the line
      if (n && at - chart.t_us[n - 1] > gap) { t.push((chart.t_us[n - 1] + 1) / 1e6); mean.push(null); low.push(null); high.push(null); }
      t.push(at / 1e6); mean.push(chart.mean[n]); low.push(chart.min[n]); high.push(chart.max[n]);
    });
    return [t, mean, low, high];
  }

  async function read() {
    const answer = await fetch(`/api/v1/series/${series}/chart?${query}`, {headers: {"X-Background": "1"}});
    return answer.ok ? columns(await answer.json()) : null;
  }

  function size() {
    return {width: holder.clientWidth, height: Math.max(260, Math.min(420, innerHeight * .5))};
  }

  async function begin() {
    const data = await read();
    if (!data) return;
    const line = css("--accent"), band = line + "38", soft = css("--soft"), rule = css("--line");
    const {title, unit, mean, low, high, time} = holder.dataset;
    const shown = (_, value) => value == null ? "–" : `${+value.toPrecision(7)} ${unit}`;
    const day = "\n{YYYY}-{MM}-{DD}", none = null;
    // uPlot's own are American; these read the same everywhere
    const times = [
      [31536000, "{YYYY}", none, none, none, none, none, none, 1],
      [2419200, "{YYYY}-{MM}", none, none, none, none, none, none, 1],
      [86400, "{MM}-{DD}", "\n{YYYY}", none, none, none, none, none, 1],
      [60, "{HH}:{mm}", day, none, day, none, none, none, 1],
      [1, "{HH}:{mm}:{ss}", day, none, day, none, none, none, 1],
      [0.001, "{HH}:{mm}:{ss}.{fff}", day, none, day, none, none, none, 1],
    ];
    const axis = {stroke: soft, grid: {stroke: rule, width: 1}, ticks: {stroke: rule, width: 1}};
    holder.replaceChildren();
    const plot = new uPlot({
      ...size(),
      series: [
        {label: time, value: "{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}"},
        {label: mean, stroke: line, width: 1.6, value: shown, points: {show: false}},
        {label: low, stroke: "transparent", value: shown, points: {show: false}},
        {label: high, stroke: "transparent", value: shown, points: {show: false}},
      ],
      bands: [{series: [3, 2], fill: band}],
      axes: [{...axis, values: times}, {...axis, size: 64}],
      cursor: {drag: {x: true, y: false}},
    }, data, holder);
    holder.querySelector("canvas").setAttribute("aria-label", title);
    holder.querySelector("canvas").setAttribute("role", "img");
    holder.dataset.drawn = "yes";
    addEventListener("resize", () => plot.setSize(size()));
    if (range === "custom") return;
    let last = Date.now();
    live(`/events/device/${device}`, () => `/poll/device/${device}`, async (event) => {
      if (!event.stored?.includes(series) || Date.now() - last < 2000) return;
      last = Date.now();
      const fresh = await read();
      // not while somebody has zoomed in: it would throw them out
      const {min, max} = plot.scales.x, [t] = plot.data;
      if (fresh && min <= t[0] && max >= t[t.length - 1]) plot.setData(fresh);
    });
  }

  if (holder && window.uPlot) begin();
}

// Small charts on one shared time axis; fault windows are shaded over each of them.
const TONES = ["one", "two", "three", "four"];
const CHART = { width: 360, height: 150, left: 40, right: 8, top: 8, bottom: 20 };

function axisOf(e) {
  const moments = [...e.series.map(p => p.at_ms), ...e.samples.map(s => s.at_ms), ...(e.activity || []).map(p => p.at_ms)];
  for (const { window: w } of e.windows) moments.push(w.from_ms, w.to_ms);
  const first = Math.min(e.started_at_ms, ...moments), last = Math.max(e.started_at_ms + 1000, ...moments);
  return { zero: e.started_at_ms, first, last };
}

function niceTop(value) {
  if (value <= 0) return 1;
  const scale = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map(step => step * scale).find(step => step >= value);
}

const tick = value => value >= 10000 ? (value / 1000) + "k" : String(Math.round(value * 100) / 100);

// What a person would read off the chart, in words.
function spoken(title, unit, lines, axis, windows) {
  const at = ms => ((ms - axis.zero) / 1000).toFixed(0) + " s";
  const parts = lines.filter(line => line.points.length).map(line => {
    const [when, top] = line.points.reduce((best, point) => point[1] > best[1] ? point : best);
    const low = Math.min(...line.points.map(point => point[1]));
    return `${line.name} between ${tick(low)} and ${tick(top)} ${unit}, highest at ${at(when)}`;
  });
  const faults = windows.map(({ name, window: w }) => `${name} from ${at(w.from_ms)} to ${at(w.to_ms)}`);
  return `${title}. ${parts.join("; ")}. ${faults.length ? "Faults: " + faults.join("; ") + "." : "No fault."}`;
}

function timeAxis(svg, axis, x, height) {
  const span = (axis.last - axis.first) / 1000, step = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1800, 3600].find(s => span / s <= 6) || span / 6;
  for (let at = 0; at <= (axis.last - axis.zero) / 1000; at += step) {
    const place = x(axis.zero + at * 1000);
    svg.append(el("text", { x: place, y: height - 5, "text-anchor": at === 0 ? "start" : place > CHART.width - CHART.right - 12 ? "end" : "middle" }, at + " s"));
  }
}

function chart(id, title, unit, e, axis, lines) {
  const C = CHART, drawn = lines.filter(line => line.points.length > 1);
  const legend = lines.length > 1 ? el("ul", { class: "legend" }, lines.map((line, n) => el("li", {},
    el("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, el("line", { class: "line " + TONES[n], x1: 0, x2: 26, y1: 5, y2: 5 })), line.name))) : null;
  const box = el("figure", { "data-chart": id, "data-points": drawn.reduce((sum, line) => sum + line.points.length, 0) },
    el("figcaption", {}, el("span", {}, title), el("span", { class: "unit" }, unit)));
  if (!drawn.length) { box.append(el("p", { class: "dim small" }, "Not enough was measured to draw.")); return box; }
  const top = niceTop(Math.max(...drawn.flatMap(line => line.points.map(point => point[1]))));
  const x = at => C.left + (at - axis.first) / (axis.last - axis.first) * (C.width - C.left - C.right);
  const y = value => C.top + (1 - value / top) * (C.height - C.top - C.bottom);
  const svg = el("svg", { viewBox: `0 0 ${C.width} ${C.height}`, role: "img", "aria-label": spoken(title, unit, drawn, axis, e.windows) });
  for (const { window: w } of e.windows) {
    svg.append(el("rect", { class: "shade", x: x(w.from_ms), y: C.top, width: Math.max(1, x(w.to_ms) - x(w.from_ms)), height: C.height - C.top - C.bottom }));
    for (const edge of [w.from_ms, w.to_ms]) svg.append(el("line", { class: "edge", x1: x(edge), x2: x(edge), y1: C.top, y2: C.height - C.bottom }));
  }
  for (const part of [0, .5, 1]) {
    svg.append(el("line", { class: "axis", x1: C.left, x2: C.width - C.right, y1: y(top * part), y2: y(top * part) }));
    svg.append(el("text", { x: C.left - 5, y: y(top * part) + 4, "text-anchor": "end" }, tick(top * part)));
  }
  timeAxis(svg, axis, x, C.height);
  lines.forEach((line, n) => {
    if (line.points.length < 2) return;
    const path = line.points.map((point, i) => (i ? "L" : "M") + x(point[0]).toFixed(1) + " " + y(point[1]).toFixed(1)).join("");
    if (n === 0) svg.append(el("path", { class: "fill one", d: `${path}L${x(line.points.at(-1)[0]).toFixed(1)} ${y(0)}L${x(line.points[0][0]).toFixed(1)} ${y(0)}Z` }));
    svg.append(el("path", { class: "line " + TONES[n], d: path }));
  });
  box.append(svg);
  if (legend) box.append(legend);
  return box;
}

// Asked and measured windows of every fault, one bar each, on the axis of the charts.
function faultBars(e, axis) {
  const rows = e.dose.filter(dose => dose.asked_window || dose.measured_window);
  if (!rows.length) return null;
  const share = ms => Math.min(100, Math.max(0, (ms - axis.first) / (axis.last - axis.first) * 100));
  const at = ms => ((ms - axis.zero) / 1000).toFixed(1) + " s";
  const bar = (kind, w) => w ? el("span", { class: kind, style: `left:${share(w.from_ms)}%;width:${Math.max(.5, share(w.to_ms) - share(w.from_ms))}%` }) : null;
  const bars = rows.map(dose => el("li", {}, el("span", {}, `${dose.fault} on ${dose.target}`, el("span", { class: "dim small" },
    dose.measured_window ? `, measured from ${at(dose.measured_window.from_ms)} to ${at(dose.measured_window.to_ms)}` : ", not measured")),
    el("div", { class: "track", "aria-hidden": "true" }, bar("asked", dose.asked_window), bar("measured", dose.measured_window))));
  return el("figure", { class: "faults", "data-chart": "faults", "data-points": rows.length }, el("figcaption", {}, el("span", {}, "Faults"),
    el("span", { class: "unit" }, "dashed: asked; filled: measured; shaded in every chart below")), el("ul", { class: "plain" }, bars));
}

function charts(e) {
  const axis = axisOf(e), activity = e.activity || [];
  const of = (points, name, field) => ({ name, points: points.filter(p => p[field] !== null && p[field] !== undefined).map(p => [p.at_ms, p[field]]) });
  const sample = (name, pick) => ({ name, points: e.samples.map(s => [s.at_ms, pick(s)]) });
  return el("div", {}, faultBars(e, axis), el("div", { class: "charts" },
    chart("arrivals", "Arrivals", "per second", e, axis, [of(e.series, "sent", "attempted"), of(e.series, "refused", "refused"), of(e.series, "acknowledged", "acknowledged"), of(e.series, "unanswered", "unknown")]),
    chart("latency", "POST latency", "ms", e, axis, [of(e.series, "p50", "post_p50_ms"), of(e.series, "p99", "post_p99_ms")]),
    chart("result", "Result pushed after", "ms", e, axis, [of(e.series, "p50", "end_to_end_p50_ms"), of(e.series, "p99", "end_to_end_p99_ms")]),
    chart("queue", "Tasks queue", "messages", e, axis, [sample("visible", s => s.tasks.visible), sample("in flight", s => s.tasks.in_flight)]),
    chart("dead-letters", "Dead-letter queue", "messages", e, axis, [sample("messages", s => s.dead_letters)]),
    chart("retries", "Attempts", "per second", e, axis, [of(activity, "claims", "claims"), of(activity, "of these, repeated", "repeated_claims")]),
    chart("pushes", "Pushes received", "per second", e, axis, [of(activity, "pushes", "pushes")]),
    chart("outstanding", "Acknowledged, not final", "tasks", e, axis, [of(e.series, "tasks", "outstanding")])));
}

// Everything the charts show, second by second.
function seriesTable(e) {
  const rows = new Map(), row = at => { const key = Math.round((at - e.started_at_ms) / 1000); if (!rows.has(key)) rows.set(key, { key }); return rows.get(key); };
  for (const p of e.series) Object.assign(row(p.at_ms), p);
  for (const s of e.samples) Object.assign(row(s.at_ms), { visible: s.tasks.visible, in_flight: s.tasks.in_flight, dead_letters: s.dead_letters });
  for (const p of e.activity || []) Object.assign(row(p.at_ms), { pushes: p.pushes, repeated: p.repeated_claims });
  const column = (name, field, show = count) => ({ name, number: true, of: r => show(r[field]) });
  return el("details", {}, el("summary", {}, "The charts as a table"), table("Every second of the run", [
    { name: "second", head: true, number: true, of: r => r.key }, column("sent", "attempted"), column("acknowledged", "acknowledged"), column("refused", "refused"),
    column("POST p50", "post_p50_ms", millis), column("POST p99", "post_p99_ms", millis), column("visible", "visible"), column("in flight", "in_flight"),
    column("dead letters", "dead_letters"), column("repeated attempts", "repeated"), column("pushes", "pushes")],
    [...rows.values()].sort((a, b) => a.key - b.key), { plain: "series" }));
}

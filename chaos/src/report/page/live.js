// A run while it lasts. What came before is embedded; what comes arrives as server-sent events.
const past = embedded("state");
const points = past.points;
const place = el("main", { "aria-live": "off" }), head = el("header", {});
document.body.append(head, place);

function figure(name, label, value, options = {}) {
  return el("div", { class: "figure" + (options.bad ? " bad" : "") }, el("dt", {}, label),
    el("dd", { "data-figure": name, "data-value": options.raw === undefined ? value : options.raw }, typeof value === "number" ? count(value) : value, options.note ? el("small", {}, options.note) : null));
}

// The same shape as a finished experiment has, so that the same charts draw it.
function asExperiment(now) {
  const began = now.load_began_at_ms || now.began_at_ms;
  return {
    started_at_ms: began, activity: [],
    windows: now.faults.filter(f => f.state !== "waiting").map(f => ({ name: f.name, window: { from_ms: began + f.starts_ms, to_ms: f.state === "active" ? Math.min(now.at_ms, began + f.ends_ms) : began + f.ends_ms } })),
    series: points.map((p, n) => ({ at_ms: p.at_ms, attempted: p.arrivals_per_second, completed: n ? Math.max(0, p.completed - points[n - 1].completed) : 0, post_p99_ms: p.post_p99_ms })),
    samples: points.filter(p => p.queue).map(p => ({ ...p.queue, at_ms: p.at_ms })),
    dose: now.faults.map(f => ({ fault: f.name.split(" on ")[0], target: f.name.split(" on ")[1] || "", asked_window: { from_ms: began + f.starts_ms, to_ms: began + f.ends_ms },
      measured_window: f.state === "waiting" ? null : { from_ms: began + f.starts_ms, to_ms: f.state === "active" ? Math.min(now.at_ms, began + f.ends_ms) : began + f.ends_ms } })),
  };
}

function draw(now, connected) {
  const c = now.counts, e = asExperiment(now), axis = axisOf(e), word = now.verdict || "INCONCLUSIVE";
  axis.last = Math.max(axis.last, (now.load_began_at_ms || now.began_at_ms) + now.load_ms);
  const of = (name, field) => ({ name, points: e.series.map(p => [p.at_ms, p[field]]) });
  const sample = (name, pick) => ({ name, points: e.samples.map(s => [s.at_ms, pick(s)]) });
  document.title = `${now.verdict || now.phase}: chaos run ${now.run_id}`;
  head.replaceChildren(el("h1", {}, `Chaos run ${now.run_id}`),
    el("div", { class: "banner " + (now.verdict ? word : "unknown"), role: "status", "data-phase": now.phase },
      el("div", { class: "word" }, now.verdict || now.phase), el("p", {}, now.verdict ? "The run has ended; report.html in its folder has the rest." : `Experiment ${now.number} of ${now.of}: ${now.experiment}`),
      connected || now.verdict ? null : el("p", {}, "The connection to the run is lost.")),
    el("ul", { class: "plain" }, now.judged.map(one => el("li", {}, chip(one.verdict), " ", one.name))));
  place.replaceChildren(el("dl", { class: "figures" },
    figure("attempted", "Sent", c.attempted, { note: `${now.arrivals_per_second.toFixed(0)} per second` }), figure("acknowledged", "Acknowledged", c.acknowledged),
    figure("completed", "Completed", c.succeeded + c.dead_lettered, { note: `${count(c.outstanding)} waiting` }), figure("retries", "Sent again", c.retries),
    figure("bad", "Refused or unanswered", c.refused + c.unknown, { bad: c.refused + c.unknown > 0 }), figure("dead_letters", "Dead letters", now.queue ? now.queue.dead_letters : 0),
    figure("p99", "POST p99", millis(c.post_p99_ms), { raw: c.post_p99_ms })),
    faultBars(e, axis) || "", el("div", { class: "charts" },
      chart("arrivals", "Arrivals", "per second", e, axis, [of("sent", "attempted")]), chart("completed", "Completed", "since the look before", e, axis, [of("completed", "completed")]),
      chart("latency", "POST p99", "ms, over the whole load", e, axis, [of("p99", "post_p99_ms")]),
      chart("queue", "Tasks queue", "messages", e, axis, [sample("visible", s => s.tasks.visible), sample("in flight", s => s.tasks.in_flight)]),
      chart("dead-letters", "Dead-letter queue", "messages", e, axis, [sample("messages", s => s.dead_letters)])));
}

let latest = past.now;
draw(latest, true);
const source = new EventSource("/events");
source.addEventListener("snapshot", message => {
  const now = JSON.parse(message.data);
  if (now.number !== latest.number) points.length = 0;
  const c = now.counts, seen = points.at(-1);
  if (now.queue && (!seen || !seen.queue || seen.queue.at_ms !== now.queue.at_ms)) {
    points.push({ at_ms: now.at_ms, arrivals_per_second: now.arrivals_per_second, completed: c.succeeded + c.dead_lettered, post_p99_ms: c.post_p99_ms, queue: now.queue });
  }
  latest = now;
  draw(now, true);
  if (now.verdict) source.close();
});
source.addEventListener("error", () => draw(latest, false));

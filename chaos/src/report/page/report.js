// One run. Every figure here is read from the verdict that is embedded in this page, which is verdict.json.
const VERDICT_WORDS = {
  PASS: "Everything that was expected was seen to hold, while the faults were measurably in effect.",
  FAIL: "Something that was promised was seen not to hold.",
  INCONCLUSIVE: "There was not enough evidence to tell. This is not a pass.",
};

function figure(name, label, value, options = {}) {
  return el("div", { class: "figure" + (options.bad ? " bad" : "") }, el("dt", {}, label),
    el("dd", { "data-figure": name, "data-value": options.raw === undefined ? value : options.raw }, typeof value === "number" ? count(value) : value,
      options.note ? el("small", {}, options.note) : null));
}

function figures(e) {
  const dead = e.dlq_expected === e.dlq_allowed ? `predicted exactly ${count(e.dlq_expected)}` : `predicted ${count(e.dlq_expected)} to ${count(e.dlq_allowed)}`;
  const worst = Math.max(0, ...e.phases.map(phase => phase.post.p99_ms));
  return el("dl", { class: "figures" },
    figure("acknowledged", "Acknowledged", e.acknowledged, { note: `of ${count(e.attempted)} sent` }),
    figure("lost", "Lost", e.lost, { bad: e.lost > 0 }),
    figure("duplicate_effects", "Effects twice", e.duplicate_effects, { bad: e.duplicate_effects > 0 }),
    figure("unexpected", "Unexpected", e.unexpected, { bad: e.unexpected > 0 }),
    figure("dlq_found", "Dead letters", e.dlq_found, { note: dead, bad: e.dlq_found < e.dlq_expected || e.dlq_found > e.dlq_allowed }),
    figure("recovery_ms", "Recovery", seconds(e.recovery_ms), { raw: e.recovery_ms === null ? "" : e.recovery_ms, note: "after the measured end" }),
    figure("worst_p99_ms", "POST p99", millis(worst), { raw: worst, note: "worst phase" }));
}

const LANES = ["client", "queue", "worker", "table", "push"];

function counterexample(e) {
  const story = e.counterexample;
  if (!story) return null;
  const start = story.timeline.length ? story.timeline[0].at_ms : 0;
  const end = story.timeline.findLastIndex(event => event.source === "queue");
  const rows = story.timeline.map((event, n) => el("tr", { class: n === end ? "last" : null },
    el("th", { scope: "row" }, clock(event.at_ms), " ", el("span", { class: "small" }, `+${((event.at_ms - start) / 1000).toFixed(2)} s`)),
    LANES.map(lane => el("td", lane === event.source ? { class: "here", "data-label": lane } : {},
      lane === event.source ? el("span", { class: "event" }, event.what) : null))));
  return el("div", { "data-counterexample": story.task_id }, el("h3", {}, "Counterexample"),
    el("p", {}, "Task ", el("code", {}, story.task_id), ": ", el("strong", {}, story.kind.replaceAll("-", " ")), ` (${story.detail}).`),
    el("div", { class: "story" }, el("table", {}, el("caption", { class: "hidden" }, "The life of one task, from all sides"),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "UTC"), LANES.map(lane => el("th", { scope: "col" }, lane)))), el("tbody", {}, rows))));
}

function dose(e) {
  if (!e.dose.length) return [el("h3", {}, "Dose"), el("p", { class: "dim" }, "No fault: this run is the control.")];
  const span = w => w ? `${seconds(w.from_ms - e.started_at_ms)} to ${seconds(w.to_ms - e.started_at_ms)}` : NONE;
  return [el("h3", {}, "Dose: asked and measured"), table("Each fault as it was asked for and as it was measured", [
    { name: "fault", head: true, of: d => el("span", {}, d.fault, el("br"), el("span", { class: "dim small" }, `on ${d.target}`)) },
    { name: "asked", of: d => d.asked }, { name: "measured", of: d => d.error ? `${d.measured}; ${d.error}` : d.measured },
    { name: "asked window", of: d => span(d.asked_window) }, { name: "measured window", of: d => span(d.measured_window) },
    { name: "evidence", of: d => el("span", {}, d.evidence.map(p => `${count(p.count)} ${p.source}`).join("; ") || NONE, ` (needs ${count(d.evidence_min)})`) },
    { name: "enough", of: d => d.sufficient ? "yes" : el("strong", {}, "no") }], e.dose, { mark: d => !d.sufficient })];
}

function checks(e) {
  const rank = { broken: 0, unknown: 1, held: 2 };
  const sorted = [...e.checks].sort((a, b) => rank[a.outcome] - rank[b.outcome]);
  return [el("h3", {}, "Checks"), table("What was checked", [{ name: "outcome", of: c => chip(c.outcome) },
    { name: "check", head: true, of: c => c.name }, { name: "found", of: c => c.detail }], sorted, { plain: "compact", mark: c => c.outcome !== "held" })];
}

function ledger(e) {
  const t = e.totals, part = (label, value, bad) => el("div", { class: bad && value ? "bad" : null }, el("b", {}, count(value)), el("span", {}, label));
  const sign = text => el("div", { class: "sign", "aria-hidden": "true" }, text);
  const others = [["sent", t.attempted], ["refused", t.refused], ["no answer", t.unknown], ["no answer, and there", t.recovered], ["never sent by the generator", t.unsent],
    ["seen by a worker more than once", t.redelivered], ["dead letters that had succeeded", t.succeeded_dead_letters], ["dead letters of other runs, not judged", e.dead_letters_of_others],
    ["failed attempts that were repeated", t.retries], ["ends that no push told", t.missed_pushes],
    ["the same, while their owner had no socket", t.missed_while_away]].filter(([, value]) => value !== undefined);
  return [el("h3", {}, "Ledger"),
    el("div", { class: "equation", role: "group", "aria-label": `${t.acknowledged} acknowledged equal ${t.succeeded} succeeded plus ${t.dead_lettered} dead letters plus ${t.pending} waiting plus ${t.lost} lost` },
      part("acknowledged", t.acknowledged), sign("="), part("succeeded", t.succeeded), sign("+"), part("dead letters", t.dead_lettered), sign("+"), part("waiting", t.pending), sign("+"), part("lost", t.lost, true)),
    table("Other counts of the ledger", [{ name: "count", head: true, of: r => r[0] }, { name: "", number: true, of: r => count(r[1]) }], others, { plain: "narrow" })];
}

function phases(e) {
  if (!e.phases.length) return null;
  const n = (name, of) => ({ name, number: true, of }), of = (latency, quantile) => latency.count ? millis(latency[quantile]) : NONE;
  return [el("h3", {}, "Phases"), table("Counts and latencies before, during and after the faults", [{ name: "phase", head: true, of: p => p.name },
    n("sent", p => count(p.attempted)), n("acknowledged", p => count(p.acknowledged)), n("refused", p => count(p.refused)), n("no answer", p => count(p.unknown)),
    n("reads", p => count(p.reads.right + p.reads.refused + p.reads.unanswered + p.reads.wrong + (p.reads.unjudged || 0))), n("reads failed", p => count(p.reads.refused + p.reads.unanswered)), n("reads wrong", p => count(p.reads.wrong)),
    n("POST p50", p => of(p.post, "p50_ms")), n("p90", p => of(p.post, "p90_ms")), n("p99", p => of(p.post, "p99_ms")), n("max", p => of(p.post, "max_ms")),
    n("result p50", p => of(p.end_to_end, "p50_ms")), n("result p99", p => of(p.end_to_end, "p99_ms"))], e.phases)];
}

function anomalies(e) {
  if (!e.anomalies_total) return null;
  const more = e.anomalies_total - e.anomalies.length;
  const list = table("Every anomaly that was found", [{ name: "kind", of: a => a.kind.replaceAll("-", " ") }, { name: "task", head: true, of: a => el("code", {}, a.task_id) }, { name: "detail", of: a => a.detail }], e.anomalies);
  return [el("h3", {}, `Anomalies (${count(e.anomalies_total)})`), e.anomalies.length > 12 ? el("details", {}, el("summary", {}, `Show ${count(e.anomalies.length)}`), list) : list,
    more > 0 ? el("p", { class: "dim" }, `${count(more)} more are counted and not named.`) : null];
}

function configuration(e) {
  if (!e.configuration) return null;
  const { before, during, after } = e.configuration;
  const names = [...new Set([...Object.keys(before), ...Object.keys(after), ...Object.keys(during || {})])].sort();
  const text = value => value === null || value === undefined ? "absent" : typeof value === "string" ? value : JSON.stringify(value);
  const rows = names.map(name => ({ name, before: text(before[name]), during: during ? text(during[name]) : NONE, after: text(after[name]) }));
  const moved = row => row.before !== row.after || (during && row.during !== row.before);
  const columns = [{ name: "setting", head: true, of: r => r.name }, { name: "before", of: r => el("code", {}, r.before) }, { name: "during", of: r => el("code", {}, r.during) }, { name: "after", of: r => el("code", {}, r.after) }];
  const changed = rows.filter(moved), same = rows.filter(row => !moved(row));
  return [el("h3", {}, "Configuration"), changed.length ? table("Settings that changed", columns, changed, { mark: row => row.before !== row.after }) : el("p", { class: "dim" }, "No setting that the harness watches changed."),
    same.length ? el("details", {}, el("summary", {}, `${count(same.length)} settings stayed as they were`), table("Settings that stayed", columns, same)) : null];
}

function ends(e) {
  return [e.redrive ? [el("h3", {}, "Redrive"), table("Moving the dead letters back", [{ name: "moved", number: true, of: r => count(r.moved) }, { name: "took", number: true, of: r => seconds(r.took_ms) },
    { name: "not succeeded", number: true, of: r => count(r.not_succeeded) }, { name: "poison expected", number: true, of: r => count(r.dlq_expected) }, { name: "poison found", number: true, of: r => count(r.dlq_found) }], [e.redrive])] : null,
  e.reverts.length ? [el("h3", {}, "Put back"), table("What was changed and put back", [{ name: "setting", head: true, of: r => r.what }, { name: "before", of: r => el("code", {}, r.prior === null ? "absent" : JSON.stringify(r.prior)) },
    { name: "reads back", of: r => r.error || "as before" }], e.reverts, { mark: r => r.error })] : null];
}

function experiment(e, n) {
  return el("section", { class: "experiment " + e.verdict, id: `experiment-${n}`, "data-experiment": e.name, "data-verdict": e.verdict, "aria-labelledby": `title-${n}` },
    el("h2", { id: `title-${n}` }, chip(e.verdict), e.name), el("p", { class: "hypothesis" }, e.hypothesis),
    e.reasons.length ? el("ul", { class: "reasons" }, e.reasons.map(reason => el("li", {}, reason))) : null,
    figures(e), counterexample(e), el("h3", {}, "Timeline"), el("p", { class: "dim small" }, "Seconds since the experiment began. Latencies count from the intended start of each request."), charts(e), seriesTable(e), dose(e), checks(e), ledger(e), phases(e), anomalies(e), configuration(e), ends(e),
    el("details", { class: "screen" }, el("summary", {}, "The experiment as it was read"), el("pre", { tabindex: 0 }, JSON.stringify(e.definition, null, 2))));
}

function banner(run) {
  const of = word => run.experiments.filter(e => e.verdict === word).length;
  const tally = ["FAIL", "INCONCLUSIVE", "PASS"].filter(of).map(word => `${of(word)} ${word}`).join(", ");
  const first = run.experiments.find(e => e.verdict === run.verdict && e.reasons.length);
  return el("div", { class: "banner " + run.verdict, role: "status", "data-run": run.run_id, "data-verdict": run.verdict, "data-seed": run.seed },
    el("div", { class: "word" }, run.verdict), el("p", {}, VERDICT_WORDS[run.verdict]),
    first ? el("p", {}, el("strong", {}, first.name + ": "), first.reasons[0], first.reasons.length > 1 ? `, and ${first.reasons.length - 1} more` : "") : null,
    run.reverted ? null : el("p", {}, el("strong", {}, "Not everything was put back."), " Run ", el("code", {}, `chaos recover runs/${run.run_id}`), "."),
    run.halted ? el("p", {}, "Stopped early: " + run.halted) : null,
    run.skipped.length ? el("p", {}, el("strong", {}, "Not run: "), run.skipped.join(", ")) : null,
    el("p", { class: "dim small" }, `Experiments: ${tally || "none was run"}`));
}

function environment(run) {
  const rows = [["run", run.run_id], ["seed", run.seed], ["started", run.started_at], ["took", seconds(run.took_ms)], ["account", `${run.account_id} in ${run.region}`],
    ["endpoint", run.endpoint || "AWS"], ...run.versions];
  return el("footer", {}, el("h2", { class: "hidden" }, "Environment"), el("dl", {}, rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))])),
    el("p", { class: "dim small" }, "Beside this page: verdict.json and its schema, junit.xml, summary.md. The same tasks again: ", el("code", {}, `chaos run … --seed ${run.seed}`)));
}

const run = embedded("verdict");
document.title = `${run.verdict}: chaos run ${run.run_id}`;
document.body.append(el("header", {}, el("h1", {}, `Chaos run ${run.run_id}`), banner(run),
  run.experiments.length > 1 ? el("nav", { "aria-label": "Experiments" }, el("ul", {}, run.experiments.map((e, n) => el("li", {}, el("a", { href: `#experiment-${n}` }, chip(e.verdict), e.name))))) : null),
  el("main", {}, run.experiments.map(experiment)), environment(run));
// Paper cannot be clicked.
addEventListener("beforeprint", () => document.querySelectorAll("details:not(.screen)").forEach(part => { part.open = part.querySelectorAll("tr").length < 60; }));

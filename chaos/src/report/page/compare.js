// Two runs side by side, from the comparison that is embedded in this page.
const comparison = embedded("comparison");
const { a, b } = comparison;
document.title = `${a.run_id} against ${b.run_id}`;

const verdictOf = verdict => verdict ? chip(verdict) : el("span", { class: "dim" }, "not run");
const word = comparison.worse ? "FAIL" : "PASS";

function sideOf(name, side) {
  return el("div", { class: "figure" }, el("dt", {}, `${name}: ${side.run_id}`), el("dd", {}, chip(side.verdict), el("small", {}, `seed ${side.seed}, ${side.started_at.slice(0, 19).replace("T", " ")} UTC`)));
}

function change(e, n) {
  return el("section", { class: "experiment", "data-experiment": e.name, "data-worse": e.worse, "aria-labelledby": `title-${n}` },
    el("h2", { id: `title-${n}` }, e.name), el("p", {}, verdictOf(e.a), " → ", verdictOf(e.b), e.worse ? el("strong", {}, " worse") : null),
    e.changes.length ? table(`What changed in ${e.name}`, [{ name: "kind", of: c => c.group }, { name: "what", head: true, of: c => c.what },
      { name: "A", of: c => c.a }, { name: "B", of: c => c.b }, { name: "difference", number: true, of: c => c.difference || "" }], e.changes, { mark: c => c.group === "check" })
      : el("p", { class: "dim" }, "Nothing else changed."));
}

document.body.append(el("header", {}, el("h1", {}, "Two chaos runs"),
  el("div", { class: "banner " + word, role: "status", "data-worse": comparison.worse }, el("div", { class: "word" }, comparison.worse ? "B is worse" : "B is no worse"),
    el("p", {}, comparison.worse ? "An experiment of B has a worse verdict than in A, or was not run." : "No experiment of B has a worse verdict than in A.")),
  el("dl", { class: "figures" }, sideOf("A", a), sideOf("B", b))),
  el("main", {}, comparison.experiments.map(change)), el("footer", {}, el("p", { class: "dim small" }, "Latencies are listed from a difference of 5 ms and 20 % on; smaller ones are chance.")));

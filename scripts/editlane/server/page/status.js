// The state of the server and of its judges, shown where it changed.
known.judges = null;

async function lookFurther() {
  if (known.judges && !known.goneSince) return;
  known.judges = (await readAnswer("/v1/judges")) ?? known.judges; // it may be another server now
  if (known.judges) showChoices();
}

function forgetKnown() {
  known.judges = null;
}

function summarisePool() {
  const available = known.pool.workers.filter((worker) => ["ready", "idle"].includes(worker.state)).map((worker) => worker.judge);
  const missing = Object.keys(known.pool.queue.waiting).filter((judge) => !available.includes(judge));
  return missing.length ? [text().loading(missing.join(", ")), "wait"] : [text().ready, "good"];
}

function showPool() {
  replaceIfChanged("facts", [known.pool.queue, known.pool.known_scores, known.pool.requests], showFacts);
  replaceIfChanged("workers", known.pool.workers, showWorkers);
  replaceIfChanged("canary", [known.pool.canary, Object.keys(known.pool.queue.waiting)], showCanary);
  replaceIfChanged("recent", known.pool.recent, showRecent);
  showSuggestions();
}

function showFacts() {
  const { queue, known_scores: count, requests } = known.pool;
  const waiting = Object.entries(queue.waiting).filter(([, n]) => n > 0);
  return makeFacts([
    [
      text().queue,
      make("span", {}, text().ofEdits(formatNumber(queue.items), formatNumber(queue.max_items))),
      makeBar(queue.items, queue.max_items),
      make("span", {}, text().ofBytes(formatBytes(queue.bytes), formatBytes(queue.max_bytes))),
      makeBar(queue.bytes, queue.max_bytes),
      ...waiting.map(([judge, n]) => make("span", { class: "soft" }, text().waiting(judge, formatNumber(n)))),
    ],
    [text().known, formatNumber(count)],
    [text().requests, formatNumber(requests)],
  ]);
}

function showWorkers() {
  const words = text();
  const head = makeHead([["judge", words.judge], ["name", words.name], ["state", words.state], ["n", words.running], ["n", words.restarts], ["device", words.device]]);
  const rows = known.pool.workers.flatMap((worker) => {
    const state = words.workerStates[worker.state] ?? worker.state;
    const cells = [
      ["judge", worker.judge], ["name", worker.name], [`state is-${worker.state}`, state], ["n", formatNumber(worker.running), words.running],
      ["n", formatNumber(worker.restarts), words.restarts], ["device", worker.device ?? "", words.device],
    ];
    const row = makeRow(cells);
    if (!worker.error) return [row];
    row.className = "has-error";
    const error = make("td", { role: "cell", colspan: cells.length, class: "alarm", dir: "auto" }, worker.error);
    return [row, make("tr", { role: "row" }, error)];
  });
  return [head, make("tbody", { role: "rowgroup" }, ...rows)];
}

function showCanary() {
  return makeFacts(Object.keys(known.pool.queue.waiting).map((judge) => {
    const found = known.pool.canary[judge];
    if (!found) return [judge, text().canaryNone];
    if (found.moved) return [judge, make("strong", { class: "alarm" }, text().canaryMoved(formatSigned(found.difference), found.since))];
    return [judge, found.mean === null ? text().canaryFirst : text().canarySame(formatNumber(found.mean, 2), found.since)];
  }));
}

function showRecent() {
  const words = text();
  at("last-none").hidden = known.pool.recent.length > 0;
  if (!known.pool.recent.length) return [];
  const head = makeHead([["time", words.when], ["judge", words.judge], ["category", words.category], ["instruction", words.instruction], ["score n", words.score], ["from", words.store]]);
  const rows = known.pool.recent.map((one) => {
    const isScored = one.score !== null;
    const state = words.states[one.state] ?? one.state;
    const score = isScored ? formatNumber(one.score, 2) : make("span", { class: "alarm" }, one.error_kind ? state + words.colon + one.error_kind : state);
    return makeRow([
      ["time", formatTime(new Date(one.time * 1000))], ["judge", one.judge], ["category", one.category],
      ["instruction", one.instruction], ["score n", score], ["from", isScored ? (one.cached ? words.isStore : words.isNew) : ""],
    ]);
  });
  return [head, make("tbody", { role: "rowgroup" }, ...rows)];
}

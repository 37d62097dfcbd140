// The state of the server: asked every two seconds, shown where it changed.
const POLL = 2000;
const POLL_HIDDEN = 15000;
const PATIENCE = 10000;

const known = { pool: null, judges: null, goneSince: null, trouble: "", needsToken: false };
let timer = 0;
let isPolling = false;

/** Ask for the state, and again after a while. Nothing is asked while the server waits for a token. */
async function poll() {
  if (isPolling) return;
  isPolling = true;
  clearTimeout(timer);
  try {
    await look();
  } catch {
    known.goneSince ??= new Date();
  }
  isPolling = false;
  showState();
  if (!known.needsToken) timer = setTimeout(poll, document.hidden ? POLL_HIDDEN : POLL);
}

/** Ask for the state once. Throws if nothing answers. */
async function look() {
  const answer = await ask("/pool_status", { signal: AbortSignal.timeout(PATIENCE) });
  if (answer.status === 401) return needToken();
  known.trouble = answer.ok ? "" : text().trouble(answer.status, await readError(answer));
  if (answer.ok) {
    known.pool = await answer.json();
    if (!known.judges || known.goneSince) await lookAtJudges(); // it may be another server now
  }
  known.goneSince = null;
}

async function lookAtJudges() {
  const answer = await ask("/v1/judges", { signal: AbortSignal.timeout(PATIENCE) });
  if (answer.status === 401) return needToken();
  if (!answer.ok) return;
  known.judges = await answer.json();
  showChoices();
}

function needToken() {
  const wasGiven = Boolean(recall(TOKEN));
  remember(TOKEN, "");
  known.needsToken = true;
  known.goneSince = null;
  write("token-error", wasGiven ? text().tokenWrong : "");
  showState();
  at("token").focus();
}

function giveToken(event) {
  event.preventDefault();
  const given = at("token").value.trim();
  if (!given) return at("token").focus();
  at("token").value = "";
  write("token-error", "");
  if (!/^[\x21-\x7e]+$/.test(given)) return write("token-error", text().tokenWrong); // no header can hold it
  remember(TOKEN, given);
  known.needsToken = false;
  poll();
}

function forgetToken() {
  remember(TOKEN, "");
  known.pool = known.judges = null;
  poll();
}

/** The state in words, and the colour of its lamp. */
function summarise() {
  if (known.needsToken) return [text().waitingToken, "wait"];
  if (known.goneSince) return [text().gone(formatTime(known.goneSince)), "alarm"];
  if (known.trouble) return [known.trouble, "alarm"];
  if (!known.pool) return [text().connecting, "wait"];
  if (known.pool.draining) return [text().draining, "wait"];
  const available = known.pool.workers.filter((worker) => ["ready", "idle"].includes(worker.state)).map((worker) => worker.judge);
  const missing = Object.keys(known.pool.queue.waiting).filter((judge) => !available.includes(judge));
  return missing.length ? [text().loading(missing.join(", ")), "wait"] : [text().ready, "good"];
}

function showState() {
  const [words, colour] = summarise();
  write("server-state", words);
  at("server").className = colour;
  at("token-form").hidden = !known.needsToken;
  at("main").hidden = known.needsToken || !known.pool;
  at("main").classList.toggle("old", Boolean(known.goneSince));
  at("forget").hidden = !recall(TOKEN);
  if (!known.pool) return;
  replaceIfChanged("facts", [known.pool.queue, known.pool.known_scores, known.pool.requests], showFacts);
  replaceIfChanged("workers", known.pool.workers, showWorkers);
  replaceIfChanged("canary", [known.pool.canary, Object.keys(known.pool.queue.waiting)], showCanary);
  replaceIfChanged("recent", known.pool.recent, showRecent);
  showSuggestions();
}

const shownBefore = new Map();
/** Build the content again only if its data are new, so that a selection or the focus in it stays. */
function replaceIfChanged(id, data, build) {
  const now = lang + JSON.stringify(data);
  if (shownBefore.get(id) === now) return;
  shownBefore.set(id, now);
  at(id).replaceChildren(...build());
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

// What is up: the policy and its servers, the simulators, the queue.
const MOST_FACTS = 12;
const LONGEST_FACT = 200;

function countUp() {
  return known.pool.servers.filter((one) => one.connected).length;
}

function summarisePool() {
  const words = text();
  const { servers, simulators } = known.pool;
  if (!Object.keys(simulators.versions).length) return [words.noSimulator, "wait"];
  if (countUp()) return [words.ready, "good"];
  return servers.some((one) => one.state === "unknown") ? [words.reaching, "wait"] : [words.noServer, "alarm"];
}

/** What a person should know or do, in the order of its weight. */
function listNotices() {
  const words = text();
  const { servers, simulators, policy_name: name } = known.pool;
  if (!servers.length) return [words.noServerAtAll];
  const notices = [];
  if (!Object.keys(simulators.versions).length && simulators.processes.some((one) => one.last_error)) notices.push(words.noSimulatorTodo);
  if (summarisePool()[1] === "alarm") notices.push(words.noServerTodo);
  if (countUp() && !name) notices.push(words.noName);
  return notices;
}

function showWhatIsUp() {
  const { servers, simulators } = known.pool;
  keepChildren(at("notices"), listNotices(), (words) => make("p", { class: "notice severe" }, words));
  replaceIfChanged("facts", [known.pool.queue, known.pool.known_episodes, known.pool.requests, known.pool.policy, known.pool.policy_name, { ...simulators, processes: [] }], makePoolFacts);
  replaceIfChanged("servers", servers.map(({ rest_seconds: _, ...told }) => told), makeServers);
  replaceIfChanged("simulators", simulators.processes, makeSimulators);
}

function makePoolFacts() {
  const words = text();
  const { queue, simulators, policy_name: name, policy } = known.pool;
  return makeFacts([
    [words.policy, make("strong", {}, name ?? words.policyUnknown)],
    ...(policy && Object.keys(policy).length ? [[words.metadata, ...listPairs(policy)]] : []),
    [words.simulator, make("strong", {}, simulators.simulator), ...listPairs(simulators.versions)],
    [
      words.atPlay,
      make("span", {}, words.ofSimulators(formatNumber(simulators.playing), formatNumber(simulators.count))),
      makeBar(simulators.playing, simulators.count),
      ...(simulators.waiting ? [make("span", { class: "soft" }, words.waiting(formatNumber(simulators.waiting)))] : []),
    ],
    [words.queue, make("span", {}, words.ofQueue(formatNumber(queue.episodes), formatNumber(queue.max_episodes))), makeBar(queue.episodes, queue.max_episodes)],
    [words.known, formatNumber(known.pool.known_episodes)],
    [words.requests, formatNumber(known.pool.requests)],
  ]);
}

/** A line for each name and value; what a server announces may be long. */
function listPairs(pairs) {
  const lines = Object.entries(pairs).map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`);
  const shown = lines.slice(0, MOST_FACTS).map((line) => make("span", { dir: "auto" }, shorten(line, LONGEST_FACT)));
  return lines.length > MOST_FACTS ? [...shown, make("span", { class: "soft" }, text().more(formatNumber(lines.length - MOST_FACTS)))] : shown;
}

function shorten(content, most) {
  const letters = [...content];
  return letters.length > most ? `${letters.slice(0, most).join("")}…` : content;
}

function makeServers() {
  const words = text();
  const { servers } = known.pool;
  if (!servers.length) return [];
  const head = makeHead([["name", words.address], ["state", words.state], ["n", words.answers], ["n", words.failures]]);
  const rows = servers.flatMap((one) => {
    const host = one.host.includes(":") ? `[${one.host}]` : one.host;
    const isAway = !one.connected && ["idle", "resting"].includes(one.state);
    const state = isAway ? words.away : (words.serverStates[one.state] ?? one.state);
    const kind = isAway || ["resting", "unfit"].includes(one.state) ? "away" : one.connected ? "up" : "unknown";
    const cells = [
      ["name", `${host}:${one.port}`], [`state is-${kind}`, state],
      ["n", formatNumber(one.served), words.answers], ["n", formatNumber(one.failures), words.failures],
    ];
    return withError(cells, one.last_error, kind === "away");
  });
  return [head, make("tbody", { role: "rowgroup" }, ...rows)];
}

function makeSimulators() {
  const words = text();
  const head = makeHead([["name", words.process], ["n", words.counts], ["n", words.ends]]);
  const rows = known.pool.simulators.processes.flatMap((one) => {
    const name = one.pid === null ? words.notRunning : words.processOf(one.pid);
    const cells = [["name", name], ["n", formatNumber(one.episodes), words.counts], ["n", formatNumber(one.ends), words.ends]];
    return withError(cells, one.last_error, one.pid === null);
  });
  return [head, make("tbody", { role: "rowgroup" }, ...rows)];
}

/** Build a row, and below it its last error if there is one. One that is over is no alarm. */
function withError(cells, error, isAlarm) {
  const row = makeRow(cells);
  if (!error) return [row];
  row.className = "has-error";
  const said = make("td", { role: "cell", colspan: cells.length, class: isAlarm ? "alarm" : "soft", dir: "auto" }, text().lastError(error));
  return [row, make("tr", { role: "row" }, said)];
}

// Success rates: a table for each policy and simulator, and the failures, which count as no episode of the policy.
const SVG = "http://www.w3.org/2000/svg";
const MANY = 200; // episodes from which on a rate has a decimal

const toggled = new Map(); // whether the tasks of a group are shown, where a person has said so

function showRates() {
  const { totals } = known.episodes;
  const groups = listGroups();
  at("results-none").hidden = totals.length > 0;
  at("results-hint").hidden = !groups.length;
  keepChildren(at("groups"), groups, buildGroup, (group) => group.key);
  [...at("groups").children].forEach((article, place) => fillGroup(article, groups[place], place));
  replaceIfChanged("kinds", totals.map((one) => one.failed), makeKinds);
  at("failures").hidden = !totals.some((one) => Object.keys(one.failed).length);
}

/** The policies with their simulators that have played, the present one first. */
function listGroups() {
  const groups = new Map();
  const find = (one) => groups.get(JSON.stringify([one.policy, one.simulator]));
  for (const one of known.episodes.totals.filter((total) => total.played)) {
    const key = JSON.stringify([one.policy, one.simulator]);
    if (!groups.has(key)) groups.set(key, { key, policy: one.policy, simulator: one.simulator, suites: [] });
    groups.get(key).suites.push({ total: one, tasks: [] });
  }
  for (const one of known.episodes.rates) find(one)?.suites.find(({ total }) => total.suite === one.suite)?.tasks.push(one);
  const versions = Object.entries(known.pool.simulators.versions).sort(([a], [b]) => (a < b ? -1 : 1)).map((pair) => pair.join(" ")).join(", ");
  for (const group of groups.values()) group.isCurrent = group.policy === (known.pool.policy_name ?? "") && group.simulator === versions;
  return [...groups.values()].sort((a, b) => b.isCurrent - a.isCurrent || a.policy.localeCompare(b.policy, "en", { numeric: true }));
}

function buildGroup(group) {
  const words = text();
  const head = makeHead([["name", words.task], ["n rate", words.rate], ["bar", ""], ["interval", words.interval], ["n", words.counts], ["failed", words.failed]]);
  const toggle = make("button", { type: "button", class: "plain toggle" });
  const title = make("h3", {}, make("bdi", {}, group.policy || words.policyUnknown), " ", make("span", { class: "current" }, ""));
  const table = make("table", { role: "table" }, head, make("tbody", { role: "rowgroup" }));
  const article = make("article", { class: "group" }, title, make("p", { class: "hint", dir: "auto" }, group.simulator), table, toggle);
  toggle.addEventListener("click", () => {
    toggled.set(group.key, toggle.getAttribute("aria-expanded") !== "true");
    showRates();
  });
  return article;
}

/** Bring a group up to date: a row for each suite and, if they are shown, its tasks. */
function fillGroup(article, group, place) {
  const words = text();
  const isOpen = toggled.get(group.key) ?? place === 0;
  const count = group.suites.reduce((sum, one) => sum + one.tasks.length, 0);
  const rows = group.suites.flatMap(({ total, tasks }) => [{ total, tasks: tasks.filter((one) => one.played).length }, ...(isOpen ? tasks : [])]);
  keepChildren(article.querySelector("tbody"), rows, (row) => (row.total ? makeTotalRow(row.total, row.tasks) : makeRateRow(words.taskNumber(row.task_id), row)));
  const toggle = article.querySelector(".toggle");
  toggle.setAttribute("aria-expanded", String(isOpen));
  toggle.textContent = isOpen ? words.hideTasks : words.showTasks(count);
  article.querySelector(".current").textContent = group.isCurrent ? words.current : "";
}

function makeTotalRow(total, tasks) {
  const row = makeRateRow(text().allTasks(total.suite, tasks), total);
  row.classList.add("total");
  return row;
}

function makeRateRow(name, row) {
  const words = text();
  const digits = row.played >= MANY ? 1 : 0;
  const percent = (share) => `${formatNumber(100 * share, digits)} %`;
  const isPlayed = row.rate !== null;
  return makeRow([
    ["name", name],
    ["n rate", isPlayed ? percent(row.rate) : ""],
    ["bar", isPlayed ? drawInterval(row.rate, row.interval) : ""],
    ["interval", isPlayed ? words.to(formatNumber(100 * row.interval[0], digits), percent(row.interval[1])) : make("span", { class: "soft" }, words.noRate)],
    ["n", words.ofEpisodes(formatNumber(row.solved), formatNumber(row.played))],
    ["failed", Object.entries(row.failed).map(([kind, n]) => words.failedKind(formatNumber(n), kind)).join(", ")],
  ]);
}

/** Draw a rate as a bar from 0 to 1, with its interval on it. The numbers stand beside it. */
function drawInterval(rate, [low, high]) {
  const share = (value) => `${100 * value}%`;
  const parts = [
    { class: "track", x: 0, y: 3, width: "100%", height: 8 },
    { class: "value", x: 0, y: 3, width: share(rate), height: 8 },
    { class: "range", x: share(low), y: 6, width: share(high - low), height: 2 },
    { class: "range", x: share(low), y: 2, width: 2, height: 10, transform: "translate(-1 0)" },
    { class: "range", x: share(high), y: 2, width: 2, height: 10, transform: "translate(-1 0)" },
  ];
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("aria-hidden", "true");
  for (const attributes of parts) {
    const part = document.createElementNS(SVG, "rect");
    for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
    drawing.append(part);
  }
  return drawing;
}

function makeKinds() {
  const words = text();
  const counts = new Map();
  for (const one of known.episodes.totals) for (const [kind, n] of Object.entries(one.failed)) counts.set(kind, (counts.get(kind) ?? 0) + n);
  const head = makeHead([["name", words.kind], ["n", words.count], ["todo", words.todo]]);
  const rows = [...counts].sort(([, a], [, b]) => b - a).map(([kind, n]) => makeRow([["name", kind], ["n", formatNumber(n)], ["todo", words.kinds[kind] ?? words.kindOther]]));
  return [head, make("tbody", { role: "rowgroup" }, ...rows)];
}

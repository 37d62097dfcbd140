// The form and its result.
const PANEL = "panel";

let running = null; // the AbortController of the request at work
let result = null; // {answers, seconds} or {failure}

function say(message, isAlarm = false) {
  write("said", message);
  at("said").className = isAlarm ? "alarm" : "";
}

function noteChange() {
  if (result) at("stale").hidden = false;
}

/** A field that is being changed is no longer wrong; sending checks it again. */
function forgetProblem(event) {
  const problem = at(`${event.target.id.replace("-list", "")}-problem`);
  if (!problem) return;
  problem.textContent = "";
  event.target.ariaInvalid = "false";
}

/** Show judges and categories to choose from. What was chosen stays chosen. */
function showChoices() {
  if (!known.judges) return;
  const names = Object.keys(known.judges.judges);
  const before = at("judge").value;
  const options = names.map((name) => make("option", { value: name }, name));
  if (names.length > 1) options.push(make("option", { value: PANEL }, text().panel));
  at("judge").replaceChildren(...options);
  at("judge").value = names.includes(before) || (before === PANEL && names.length > 1) ? before : known.judges.default;
  showJudge();
  for (const side of SIDES) showImage(side);
}

function listAsked() {
  return at("judge").value === PANEL ? Object.keys(known.judges.judges) : [at("judge").value];
}

function showJudge() {
  const asked = listAsked();
  if (at("judge").value === PANEL) write("judge-hint", text().panelHint(asked.length));
  else {
    const { adapter, model, protocol } = known.judges.judges[asked[0]];
    write("judge-hint", text().judgeHint(adapter, model, `${protocol.name} ${protocol.version}`));
  }
  showCategories(asked);
}

/** Let choose from the categories that all of these judges have; or let write any, if they take any. */
function showCategories(asked) {
  const lists = asked.map((name) => known.judges.categories[name]).filter(Boolean);
  const common = lists.length ? lists.reduce((some, more) => some.filter((name) => more.includes(name))) : [];
  const usual = known.judges.default_category ?? "";
  const before = readCategory() || usual;
  at("category-list").hidden = !common.length;
  at("category").hidden = common.length > 0;
  document.querySelector(".field label[for^=category]").htmlFor = common.length ? "category-list" : "category";
  at("category-list").replaceChildren(make("option", { value: "" }, text().categoryChoose), ...common.map(makeCategory));
  at("category-list").value = common.includes(before) ? before : "";
  at("category").value ||= common.length ? "" : before;
  write("category-hint", common.length ? "" : lists.length ? text().categoryNone : text().categoryFree(usual));
}

function makeCategory(name) {
  const meaning = text().categories[name];
  return make("option", { value: name }, meaning ? `${name} (${meaning})` : name);
}

function showSuggestions() {
  const used = new Set(known.pool.recent.map((one) => one.category).filter(Boolean));
  replaceIfChanged("categories", [...used].sort(), () => [...used].sort().map((name) => make("option", { value: name })));
}

function readCategory() {
  return at("category-list").hidden ? at("category").value.trim() : at("category-list").value;
}

/** Return the first field that has to be changed, and say what is wrong with each. */
function findProblem() {
  const problems = {
    source: findImageProblem(images.source),
    edited: findImageProblem(images.edited) || findSizeProblem(),
    instruction: findTextProblem(at("instruction").value),
    category: at("category-list").hidden || readCategory() ? "" : text().categoryMissing,
  };
  const fields = { source: "source-file", edited: "edited-file", instruction: "instruction", category: "category-list" };
  for (const [name, problem] of Object.entries(problems)) {
    write(`${name}-problem`, problem);
    at(fields[name]).ariaInvalid = String(Boolean(problem));
  }
  const first = Object.keys(problems).find((name) => problems[name]);
  return first && at(fields[first]);
}

/** Say why a request with both images is too large; "" if it is not. */
function findSizeProblem() {
  const { body_bytes: most } = known.judges.limits;
  const both = SIDES.reduce((sum, side) => sum + (images[side]?.file.size ?? 0), 0);
  // base64 has four bytes for three; a character of the instruction has six at most
  return both * (4 / 3) + 6 * at("instruction").value.length + 4096 > most ? text().bothTooLarge(formatBytes(most)) : "";
}

function findTextProblem(written) {
  const { text: most } = known.judges.limits;
  if (!written.trim()) return text().noInstruction;
  return [...written].length > most ? text().longInstruction(formatNumber(most)) : "";
}

function encode(file) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result); // a data URL, which the server takes
    reader.onerror = () => fail(reader.error);
    reader.readAsDataURL(file);
  });
}

async function makeRequest() {
  const item = { instruction: at("instruction").value, category: readCategory() || null };
  for (const side of SIDES) item[side] = await encode(images[side].file);
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ items: [item], judge: at("judge").value }) };
}

async function send(event) {
  event.preventDefault();
  if (running || !known.judges) return;
  const wrong = findProblem();
  if (wrong) return say("") ?? wrong.focus();
  running = new AbortController();
  showRunning();
  try {
    result = await score(at("judge").value);
  } catch (error) {
    if (!running.signal.aborted) result = { failure: { title: "goneTitle", message: String(error.message ?? error), todo: () => text().goneTodo } };
  }
  const wasCancelled = running.signal.aborted;
  running = null;
  showRunning();
  if (wasCancelled) return say(text().cancelled);
  at("stale").hidden = true;
  showResult();
  if (result?.answers) at("answer").scrollIntoView({ block: "nearest" });
  poll();
}

/** Ask the server, and return what it answered; null if it wants a token. Throws if nothing answers. */
async function score(judge) {
  const began = performance.now();
  const request = await makeRequest();
  const answer = await ask("/v1/score", { ...request, signal: running.signal });
  if (answer.status === 401) return needToken() ?? null;
  if (!answer.ok) return { failure: { status: answer.status, message: await readError(answer), todo: explainRefusal(answer) } };
  const [item] = (await answer.json()).items;
  return { answers: item.judges ?? { [item.judge ?? judge]: item }, seconds: (performance.now() - began) / 1000 };
}

function explainRefusal(answer) {
  const seconds = Number(answer.headers.get("Retry-After"));
  return () => {
    if (seconds) return text().again(formatNumber(seconds));
    return answer.status < 500 ? text().fixRequest : text().readLog;
  };
}

function showRunning() {
  at("send").disabled = Boolean(running);
  at("cancel").hidden = !running;
  if (running) say(text().asking);
}

function showResult() {
  at("answer").hidden = !result;
  if (!result) return say("");
  if (result.failure) return showFailure(result.failure);
  const answers = Object.entries(result.answers);
  at("answers").replaceChildren(...answers.map(([judge, answer]) => showAnswer(judge, answer)));
  const said = answers.map(([judge, one]) => (one.score === null ? text().saidNone(judge) : text().said(judge, formatNumber(one.score, 2))));
  say(said.join(text().space));
}

function showFailure({ title, status, message, todo }) {
  const heading = title ? text()[title] : text().refusedTitle(status);
  const facts = makeFacts([[text().why, message], [text().todo, todo()]]);
  at("answers").replaceChildren(make("article", { class: "failed" }, make("h3", {}, heading), make("dl", { class: "facts" }, ...facts)));
  say(heading, true);
}

function showAnswer(judge, answer) {
  return answer.score === null ? showNoScore(judge, answer) : showScore(judge, answer);
}

function showNoScore(judge, { state, error }) {
  const kind = error?.kind ?? "";
  const todo = state === "judge_unreadable" ? text().unreadableTodo : (text().todoByKind[kind] ?? text().readLog);
  const facts = [
    [text().state, make("span", { class: "alarm" }, [text().states[state] ?? state, kind].filter(Boolean).join(text().colon))],
    [text().why, error?.message ?? ""],
    [text().todo, todo],
  ];
  const head = make("header", {}, make("h3", {}, judge), make("p", { class: "alarm" }, text().none));
  return make("article", { class: "failed" }, head, make("dl", { class: "facts" }, ...makeFacts(facts.filter(([, value]) => value))));
}

function showScore(judge, answer) {
  const words = text();
  const number = make("p", { class: "number" }, make("strong", {}, formatNumber(answer.score, 2)), ` ${words.of10}`);
  const facts = [
    [words.reward, formatNumber(answer.reward, 4, 2)],
    [words.from, answer.cached ? words.fromStore : words.fromJudge],
    [words.time, words.seconds(formatNumber(result.seconds, 2))],
    [words.mass, answer.mass === null ? "" : formatNumber(answer.mass, 3)],
    [words.entropy, answer.entropy === null ? "" : formatNumber(answer.entropy, 3)],
    [words.key, answer.judge_key ? make("code", {}, answer.judge_key) : ""],
  ];
  const moved = known.pool?.canary[judge]?.moved ? [make("p", { class: "notice severe" }, words.movedNotice)] : [];
  return make(
    "article", {}, make("header", {}, make("h3", {}, judge), number), makeBar(answer.score, 10), ...moved,
    showCriteria(answer.scores), make("dl", { class: "facts" }, ...makeFacts(facts.filter(([, value]) => value !== ""))),
  );
}

function showCriteria(scores) {
  const rows = Object.entries(scores).map(([name, value]) => {
    const number = value === null ? text().none : formatNumber(value, 2);
    const bar = value === null ? "" : makeBar(value, 10);
    return make("tr", {}, make("th", { scope: "row", dir: "auto" }, name), make("td", { class: "bar" }, bar), make("td", { class: "n" }, number));
  });
  const head = make("tr", {}, make("th", { scope: "col" }, text().criterion), make("td", {}), make("th", { scope: "col", class: "n" }, text().score));
  return make("table", { class: "criteria" }, make("thead", {}, head), make("tbody", {}, ...rows));
}

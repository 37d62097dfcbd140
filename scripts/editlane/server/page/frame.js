// The frame of a page: asks for the server's state every two seconds and for the token if it needs one. What is shown of
// the state is the page's: it defines lookFurther, summarisePool, showPool, showTexts and forgetKnown.
const POLL = 2000;
const POLL_HIDDEN = 15000;
const PATIENCE = 10000;

const known = { pool: null, goneSince: null, trouble: "", needsToken: false };
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
  const pool = await readAnswer("/pool_status");
  if (pool) {
    known.pool = pool;
    await lookFurther(); // while `goneSince` still says whether it may be another server now
  }
  known.goneSince = null;
}

/** Return what is answered at a path, or null after noting why there is nothing. Throws if nothing answers. */
async function readAnswer(path) {
  const answer = await ask(path, { signal: AbortSignal.timeout(PATIENCE) });
  if (answer.status === 401) {
    needToken();
    return null;
  }
  known.trouble = answer.ok ? "" : text().trouble(answer.status, await readError(answer));
  return answer.ok ? answer.json() : null;
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
  known.pool = null;
  forgetKnown();
  poll();
}

/** The state in words, and the colour of its lamp. */
function summarise() {
  if (known.needsToken) return [text().waitingToken, "wait"];
  if (known.goneSince) return [text().gone(formatTime(known.goneSince)), "alarm"];
  if (known.trouble) return [known.trouble, "alarm"];
  if (!known.pool) return [text().connecting, "wait"];
  if (known.pool.draining) return [text().draining, "wait"];
  return summarisePool();
}

function showState() {
  const [words, colour] = summarise();
  write("server-state", words);
  at("server").className = colour;
  at("token-form").hidden = !known.needsToken;
  at("main").hidden = known.needsToken || !known.pool;
  at("main").classList.toggle("old", Boolean(known.goneSince));
  at("forget").hidden = !recall(TOKEN);
  if (known.pool) showPool();
}

const shownBefore = new Map();
/** Build the content again only if its data are new, so that a selection or the focus in it stays. */
function replaceIfChanged(id, data, build) {
  const now = lang + JSON.stringify(data);
  if (shownBefore.get(id) === now) return;
  shownBefore.set(id, now);
  at(id).replaceChildren(...build());
}

const madeOf = new WeakMap();
/** Give an element a child for each item, and keep those of items that are as before: nothing flickers. */
function keepChildren(parent, items, build, name = JSON.stringify) {
  const before = new Map([...parent.children].map((child) => [madeOf.get(child), child]));
  const children = items.map((item) => {
    const key = lang + name(item);
    const child = before.get(key) ?? build(item);
    before.delete(key); // two items may be the same
    madeOf.set(child, key);
    return child;
  });
  const kept = new Set(children);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  children.forEach((child, place) => parent.children[place] === child || parent.insertBefore(child, parent.children[place] ?? null));
}

function switchLanguage() {
  lang = lang === "en" ? "zh" : "en";
  remember(LANGUAGE, lang);
  showAll();
}

function showAll() {
  writeStaticTexts();
  showTexts();
  showState();
}

/** Begin: listen, show, and look at the server for the first time. */
function start() {
  at("language").addEventListener("click", switchLanguage);
  at("token-form").addEventListener("submit", giveToken);
  at("forget").addEventListener("click", forgetToken);
  document.addEventListener("visibilitychange", () => document.hidden || known.needsToken || poll());
  showAll();
  poll();
}

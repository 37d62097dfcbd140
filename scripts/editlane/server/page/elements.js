// What the other files share: texts, numbers, elements, requests.
const at = (id) => document.getElementById(id);
const memory = new Map(); // for a browser that keeps nothing

const LANGUAGE = "editlane-language";
const TOKEN = "editlane-token";
let lang = recall(LANGUAGE) || (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
const text = () => TEXTS[lang];

function recall(name) {
  try {
    return sessionStorage.getItem(name) ?? "";
  } catch {
    return memory.get(name) ?? "";
  }
}

/** Keep a value until the tab is closed; "" forgets it. */
function remember(name, value) {
  memory.set(name, value);
  try {
    if (value) sessionStorage.setItem(name, value);
    else sessionStorage.removeItem(name);
  } catch {
    // `memory` has it
  }
}

/** Show characters that would be invisible, or turn the direction of the text around them, by their numbers. */
function escapeHidden(content) {
  return String(content).replace(/(?!\n)[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (one) => {
    const number = one.codePointAt(0).toString(16);
    return number.length > 2 ? `\\u${number}` : `\\x${number.padStart(2, "0")}`;
  });
}

function write(id, content) {
  const shown = escapeHidden(content);
  if (at(id).textContent !== shown) at(id).textContent = shown; // a live region would repeat what it says
}

/** Build an element. What is no element becomes text, so nothing from the server is read as HTML. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) if (value !== null) element.setAttribute(name, value);
  element.append(...children.map((child) => (child instanceof Node ? child : escapeHidden(child))));
  return element;
}

function makeFacts(pairs) {
  return pairs.map(([name, ...values]) => make("div", {}, make("dt", {}, name), make("dd", {}, ...values)));
}

/** Build the row of a table. Roles are said, because narrow pages lay rows out as blocks; labels are shown there. */
function makeRow(cells) {
  return make("tr", { role: "row" }, ...cells.map(([name, content, label]) => make("td", { role: "cell", class: name, dir: "auto", "data-label": label ?? null }, content)));
}

function makeHead(names) {
  const cells = names.map(([name, content]) => make("th", { scope: "col", role: "columnheader", class: name }, content));
  return make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...cells));
}

/** Build a bar that shows a share; the number stands beside it. */
function makeBar(value, most) {
  return make("progress", { value, max: Math.max(most, 1), "aria-hidden": "true" });
}

const formats = new Map();
function formatNumber(value, digits = 0, always = digits) {
  const key = `${lang} ${digits} ${always}`;
  if (!formats.has(key)) {
    formats.set(key, new Intl.NumberFormat(text().locale, { minimumFractionDigits: always, maximumFractionDigits: digits }));
  }
  return formats.get(key).format(value);
}

function formatSigned(value) {
  return (value < 0 ? "−" : "+") + formatNumber(Math.abs(value), 2);
}

function formatBytes(bytes) {
  const [unit, size] = bytes === 0 || bytes >= 1e6 ? ["MB", 1e6] : bytes >= 1e3 ? ["kB", 1e3] : ["B", 1];
  return `${formatNumber(bytes / size, bytes / size < 10 ? 1 : 0, 0)} ${unit}`;
}

function formatTime(date) {
  const clock = new Intl.DateTimeFormat(text().locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(date);
  if (date.toDateString() === new Date().toDateString()) return clock;
  return `${new Intl.DateTimeFormat(text().locale, { month: "short", day: "numeric" }).format(date)} ${clock}`;
}

/** Send a request with the token. Throws if nothing answers. */
function ask(path, options = {}) {
  const token = recall(TOKEN);
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  return fetch(path, { ...options, headers, cache: "no-store" });
}

/** Return the message of an answer that is an error. */
async function readError(answer) {
  try {
    return (await answer.json()).error ?? answer.statusText;
  } catch {
    return answer.statusText;
  }
}

/** Call `act` with each element that has this data attribute, and the attribute's value. */
function forEachWith(name, act) {
  for (const element of document.querySelectorAll(`[data-${name}]`)) act(element, element.dataset[name]);
}

function writeStaticTexts() {
  document.documentElement.lang = text().locale;
  document.title = text().title;
  write("language", text().other);
  at("language").lang = lang === "en" ? "zh-CN" : "en";
  forEachWith("text", (element, name) => (element.textContent = text()[name]));
}

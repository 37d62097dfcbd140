"use strict";
// Each text that differs has one for `score`, a rating of one edit, and one for `vote`, a vote on two.
const TEXTS = {
  en: {
    sides: { source: "Before", edit: "After", a: "A", b: "B" },
    reference: (n) => `Reference (image ${n})`,
    enlargeReference: (n) => `Enlarge reference image ${n}`,
    question: {
      score: "How well was the instruction carried out?",
      vote: "Which picture carries out the instruction better?",
    },
    lowest: "0: not at all, or nothing changed",
    highest: "9: fully, and it looks real",
    score: (n) => `Rate ${n} of 9`,
    votes: { A: "A is better", B: "B is better", tie: "Both good", both_bad: "Both bad" },
    enlarge: {
      source: "Enlarge the picture before the edit",
      edit: "Enlarge the picture after the edit",
      a: "Enlarge picture A",
      b: "Enlarge picture B",
    },
    zoomed: {
      source: { score: "Before · Z or Esc closes", vote: "Before · Z or Esc closes" },
      edit: { score: "After · Z shows before, Esc closes" },
      a: { vote: "A · Z shows B, Esc closes" },
      b: { vote: "B · Z shows before, Esc closes" },
    },
    keys: {
      score: "0–9 rate · ← back · → skip · Z enlarge",
      vote: "A, B better · T both good · X both bad · ← back · → skip · Z enlarge",
    },
    back: "← Back",
    skip: "Skip →",
    count: { score: (done, all) => `${done} of ${all} rated`, vote: (done, all) => `${done} of ${all} votes` },
    progress: { score: "Rated so far", vote: "Votes so far" },
    place: { score: (place, all) => `Edit ${place} of ${all}.`, vote: (place, all) => `Pair ${place} of ${all}.` },
    saved: (answer) => `Saved: ${answer}.`,
    given: { score: (answer) => `You gave it ${answer}.`, vote: (answer) => `Your vote: ${answer}.` },
    lost: "This picture cannot be read. Skip it.",
    failed: (why) => `Not saved: ${why}`,
    gone: "no answer. Is the program still running?",
    unreachable: "No answer. Is the program still running? Start it again and open the new address.",
    trouble: (why) => why,
    finished: { score: "All rated. Thank you.", vote: "All pairs done. Thank you." },
    left: { score: (n) => `${n} not rated yet`, vote: (n) => `${n} without a vote` },
    where: {
      score: (file) => `Every rating is saved in ${file}. You can close this page, or go back to change a rating.`,
      vote: (file) => `Every vote is saved in ${file}. You can close this page, or go back to change a vote.`,
    },
    missing: "Go to the first of them",
  },
  zh: {
    sides: { source: "编辑前", edit: "编辑后", a: "A", b: "B" },
    reference: (n) => `参考图（图 ${n}）`,
    enlargeReference: (n) => `放大参考图 ${n}`,
    question: { score: "指令完成得怎么样？", vote: "哪张图把指令完成得更好？" },
    lowest: "0：完全没有做到，或者没有变化",
    highest: "9：完全做到，而且真实可信",
    score: (n) => `打 ${n} 分，满分 9 分`,
    votes: { A: "A 更好", B: "B 更好", tie: "都好", both_bad: "都不好" },
    enlarge: { source: "放大编辑前的图", edit: "放大编辑后的图", a: "放大 A 图", b: "放大 B 图" },
    zoomed: {
      source: { score: "编辑前 · 按 Z 或 Esc 关闭", vote: "编辑前 · 按 Z 或 Esc 关闭" },
      edit: { score: "编辑后 · 按 Z 看编辑前，按 Esc 关闭" },
      a: { vote: "A · 按 Z 看 B，按 Esc 关闭" },
      b: { vote: "B · 按 Z 看编辑前，按 Esc 关闭" },
    },
    keys: {
      score: "0–9 打分 · ← 返回 · → 跳过 · Z 放大",
      vote: "A、B 更好 · T 都好 · X 都不好 · ← 返回 · → 跳过 · Z 放大",
    },
    back: "← 返回",
    skip: "跳过 →",
    count: { score: (done, all) => `已评 ${done} / ${all}`, vote: (done, all) => `已投 ${done} / ${all}` },
    progress: { score: "已评数量", vote: "已投数量" },
    place: {
      score: (place, all) => `第 ${place} 个，共 ${all} 个。`,
      vote: (place, all) => `第 ${place} 对，共 ${all} 对。`,
    },
    saved: (answer) => `已保存：${answer}。`,
    given: { score: (answer) => `您打了 ${answer} 分。`, vote: (answer) => `您选了：${answer}。` },
    lost: "这张图读不出来，请跳过。",
    failed: (why) => `没有保存：${why}`,
    gone: "没有回应。程序还在运行吗？",
    unreachable: "没有回应。程序还在运行吗？请重新启动，并打开新的地址。",
    trouble: (why) => `文件读写出错，请看运行程序的终端。程序的原话：${why}`,
    finished: { score: "全部评完，谢谢！", vote: "全部投完，谢谢！" },
    left: { score: (n) => `还有 ${n} 个没有评`, vote: (n) => `还有 ${n} 对没有投` },
    where: {
      score: (file) => `所有评分都已保存在 ${file}。可以关闭本页，也可以返回修改。`,
      vote: (file) => `所有投票都已保存在 ${file}。可以关闭本页，也可以返回修改。`,
    },
    missing: "去第一个没有评的",
  },
};
const SIDES_OF = { score: ["source", "edit"], vote: ["source", "a", "b"] };
const ZOOMS = {
  score: { undefined: "edit", edit: "source", source: "" },
  vote: { undefined: "a", a: "b", b: "source", source: "" },
};
const VOTE_KEYS = { a: "A", b: "B", t: "tie", x: "both_bad" };
const at = (id) => document.getElementById(id);

let text = TEXTS[navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en"];
let kind = "score";
let answers = [];
let sides = SIDES_OF.score;
let tasks = [];
let place = 0; // tasks.length: the last page
let ready = false; // all pictures of this task are seen
const pictures = new Map(); // address to a promise of its blob's address

function write(id, content) {
  at(id).textContent = content;
}

function say(message, alarm = false) {
  write("status", message);
  at("status").classList.toggle("alarm", alarm);
}

/** What an answer is called in a message. */
const label = (answer) => (kind === "vote" ? text.votes[answer] : String(answer));

async function start() {
  setLanguage();
  let state;
  try {
    const answer = await fetch("tasks");
    if (!answer.ok) return say(text.trouble(await answer.text()), true);
    state = await answer.json();
  } catch {
    return say(text.unreachable, true);
  }
  ({ kind, answers, tasks } = state);
  sides = SIDES_OF[kind];
  text = TEXTS[state.language] ?? text;
  document.body.dataset.kind = kind;
  setLanguage();
  sides.forEach(addSide);
  answers.forEach(addAnswer);
  at("ends").hidden = kind === "vote";
  write("done-text", text.where[kind](state.file));
  show(nextMissing(0));
}

function setLanguage() {
  document.documentElement.lang = text === TEXTS.zh ? "zh-CN" : "en";
  for (const id of ["lowest", "highest", "back", "skip"]) write(id, text[id]);
  for (const id of ["question", "keys"]) write(id, text[id][kind]);
  write("to-missing", text.missing);
  at("progress").ariaLabel = text.progress[kind];
}

function addSide(side) {
  const figure = at("side").content.firstElementChild.cloneNode(true);
  figure.id = side;
  const button = figure.querySelector(".zoom");
  button.ariaLabel = text.enlarge[side];
  button.dataset.lost = text.lost;
  button.addEventListener("click", () => zoom(document.body.dataset.zoom ? "" : side));
  at("pair").append(figure);
}

/** Add the place of a further image of the item, counted from 2; it is enlarged by a click. */
function addReference(n) {
  const figure = at("side").content.firstElementChild.cloneNode(true);
  figure.querySelector("figcaption").textContent = text.reference(n);
  const button = figure.querySelector(".zoom");
  button.ariaLabel = text.enlargeReference(n);
  button.dataset.lost = text.lost;
  button.addEventListener("click", () => figure.classList.toggle("large"));
  at("references").append(figure);
  return figure;
}

function addAnswer(answer) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label(answer);
  button.dataset.answer = answer;
  if (kind === "score") button.ariaLabel = text.score(answer);
  button.addEventListener("click", () => rate(answer));
  at("scores").append(button);
}

/** The first task without a rating from this one on, else the first one before it, else the last page. */
function nextMissing(from) {
  const missing = (task) => task.score === null;
  const after = tasks.findIndex((task, index) => index >= from && missing(task));
  const any = after >= 0 ? after : tasks.findIndex(missing);
  return any >= 0 ? any : tasks.length;
}

async function show(next, message = "") {
  place = next;
  ready = false;
  zoom("");
  const rated = tasks.filter((task) => task.score !== null).length;
  at("progress").max = tasks.length;
  at("progress").value = rated;
  write("count", text.count[kind](rated, tasks.length));
  at("back").disabled = place === 0;
  at("skip").disabled = place >= tasks.length;
  at("task").hidden = place >= tasks.length;
  at("done").hidden = place < tasks.length;
  if (place >= tasks.length) return finish(tasks.length - rated, message);

  const task = tasks[place];
  write("instruction", task.instruction);
  at("instruction").lang = task.language;
  at("instruction").scrollTop = 0;
  mark(task.score);
  const given = task.score === null ? "" : text.given[kind](label(task.score));
  say([message, text.place[kind](place + 1, tasks.length), given].join(" ").trim());
  enable(false);
  at("references").replaceChildren();
  at("references").hidden = !task.references.length;
  const references = task.references.map((address, index) => [addReference(index + 2), address]);
  const shown = [...sides.map((side) => [at(side), task[side]]), ...references];
  const seen = await Promise.all(shown.map(([figure, address]) => load(figure, address, next)));
  if (place !== next) return;
  keepNear();
  ready = seen.every(Boolean);
  enable(ready);
}

function finish(missing, message) {
  write("done-title", missing ? text.left[kind](missing) : text.finished[kind]);
  at("to-missing").hidden = !missing;
  say(message);
}

function mark(score) {
  for (const button of at("scores").children) button.ariaPressed = String(button.dataset.answer === String(score));
}

function enable(on) {
  for (const button of at("scores").children) button.disabled = !on;
}

/** Show one picture of a task; whether that worked. The rater must have seen all before a key counts. */
async function load(figure, address, of) {
  const button = figure.querySelector(".zoom");
  const image = button.querySelector("img");
  button.classList.add("waiting");
  button.classList.remove("lost");
  try {
    const found = await picture(address);
    if (place !== of) return false;
    image.src = found;
    await image.decode();
  } catch {
    if (place === of) button.classList.add("lost");
    return false;
  }
  if (place === of) button.classList.remove("waiting");
  return true;
}

function picture(address) {
  if (!pictures.has(address)) {
    const fetched = fetch(address).then(async (answer) => {
      if (!answer.ok) throw new Error(answer.statusText);
      return URL.createObjectURL(await answer.blob());
    });
    fetched.catch(() => pictures.delete(address));
    pictures.set(address, fetched);
  }
  return pictures.get(address);
}

/** Fetch the next pictures, keep those of the neighbours, give the others back. */
function keepNear() {
  const near = new Set();
  for (const index of [place - 1, place, nextMissing(place + 1), place + 1]) {
    const task = tasks[index];
    for (const address of task ? [...sides.map((side) => task[side]), ...task.references] : []) near.add(address);
  }
  for (const [address, fetched] of pictures) {
    if (near.has(address)) continue;
    pictures.delete(address);
    fetched.then(URL.revokeObjectURL, () => {});
  }
  for (const address of near) picture(address).catch(() => {});
}

async function rate(score) {
  if (!ready || place >= tasks.length) return;
  ready = false;
  const rated = place;
  mark(score);
  try {
    const answer = await fetch("rating", { method: "POST", body: JSON.stringify({ task: rated, score }) });
    if (!answer.ok) throw new Error(text.trouble(await answer.text()));
  } catch (error) {
    mark(tasks[rated].score);
    say(text.failed(error instanceof TypeError ? text.gone : error.message), true);
    ready = place === rated;
    return;
  }
  tasks[rated].score = score;
  if (place === rated) show(nextMissing(rated + 1), text.saved(label(score)));
}

function zoom(side) {
  for (const figure of at("references").children) figure.classList.remove("large");
  if (side) document.body.dataset.zoom = side;
  else delete document.body.dataset.zoom;
  for (const each of sides) {
    at(each).querySelector("figcaption").textContent = each === side ? text.zoomed[side][kind] : text.sides[each];
  }
}

const back = () => place > 0 && show(place - 1);
const skip = () => place < tasks.length && show(place + 1);
at("back").addEventListener("click", back);
at("skip").addEventListener("click", skip);
at("to-missing").addEventListener("click", () => show(nextMissing(0)));
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.toLowerCase();
  if (kind === "score" && /^[0-9]$/.test(key)) rate(Number(key));
  else if (kind === "vote" && key in VOTE_KEYS) rate(VOTE_KEYS[key]);
  else if (event.key === "ArrowLeft" || event.key === "Backspace") back();
  else if (event.key === "ArrowRight") skip();
  else if (key === "z") place < tasks.length && zoom(ZOOMS[kind][document.body.dataset.zoom]);
  else if (event.key === "Escape") zoom("");
  else return;
  event.preventDefault();
});

start();

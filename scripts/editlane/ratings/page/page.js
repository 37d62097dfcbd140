"use strict";
const TEXTS = {
  en: {
    source: "Before",
    edit: "After",
    question: "How well was the instruction carried out?",
    lowest: "0: not at all, or nothing changed",
    highest: "9: fully, and it looks real",
    score: (n) => `Rate ${n} of 9`,
    enlarge: { source: "Enlarge the picture before the edit", edit: "Enlarge the picture after the edit" },
    zoomed: { source: "Before · Z or Esc closes", edit: "After · Z shows before, Esc closes" },
    keys: "0–9 rate · ← back · → skip · Z enlarge",
    back: "← Back",
    skip: "Skip →",
    count: (rated, all) => `${rated} of ${all} rated`,
    progress: "Rated so far",
    place: (place, all) => `Edit ${place} of ${all}.`,
    saved: (score) => `Saved ${score}.`,
    given: (score) => `You gave it ${score}.`,
    lost: "This picture cannot be read. Skip it.",
    failed: (why) => `Not saved: ${why}`,
    gone: "no answer. Is the program still running?",
    unreachable: "No answer. Is the program still running? Start it again and open the new address.",
    finished: "All rated. Thank you.",
    left: (n) => `${n} not rated yet`,
    where: (file) => `Every rating is saved in ${file}. You can close this page, or go back to change a rating.`,
    missing: "Go to the first of them",
  },
  zh: {
    source: "编辑前",
    edit: "编辑后",
    question: "指令完成得怎么样？",
    lowest: "0：完全没有做到，或者没有变化",
    highest: "9：完全做到，而且真实可信",
    score: (n) => `打 ${n} 分，满分 9 分`,
    enlarge: { source: "放大编辑前的图", edit: "放大编辑后的图" },
    zoomed: { source: "编辑前 · 按 Z 或 Esc 关闭", edit: "编辑后 · 按 Z 看编辑前，按 Esc 关闭" },
    keys: "0–9 打分 · ← 返回 · → 跳过 · Z 放大",
    back: "← 返回",
    skip: "跳过 →",
    count: (rated, all) => `已评 ${rated} / ${all}`,
    progress: "已评数量",
    place: (place, all) => `第 ${place} 个，共 ${all} 个。`,
    saved: (score) => `已保存：${score} 分。`,
    given: (score) => `您打了 ${score} 分。`,
    lost: "这张图读不出来，请跳过。",
    failed: (why) => `没有保存：${why}`,
    gone: "没有回应。程序还在运行吗？",
    unreachable: "没有回应。程序还在运行吗？请重新启动，并打开新的地址。",
    finished: "全部评完，谢谢！",
    left: (n) => `还有 ${n} 个没有评`,
    where: (file) => `所有评分都已保存在 ${file}。可以关闭本页，也可以返回修改。`,
    missing: "去第一个没有评的",
  },
};
const lang = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
const text = TEXTS[lang];
const SIDES = ["source", "edit"];
const at = (id) => document.getElementById(id);

let tasks = [];
let place = 0; // tasks.length: the last page
let ready = false; // both pictures of this task are seen
const pictures = new Map(); // address to a promise of its blob's address

function write(id, content) {
  at(id).textContent = content;
}

function say(message, alarm = false) {
  write("status", message);
  at("status").classList.toggle("alarm", alarm);
}

async function start() {
  document.documentElement.lang = lang === "zh" ? "zh-CN" : "en";
  for (const id of ["question", "lowest", "highest", "keys", "back", "skip"]) write(id, text[id]);
  for (const side of SIDES) {
    const button = at(side).querySelector(".zoom");
    button.ariaLabel = text.enlarge[side];
    button.dataset.lost = text.lost;
    button.addEventListener("click", () => zoom(document.body.dataset.zoom ? "" : side));
  }
  at("progress").ariaLabel = text.progress;
  let state;
  try {
    const answer = await fetch("tasks");
    if (!answer.ok) return say(await answer.text(), true);
    state = await answer.json();
  } catch {
    return say(text.unreachable, true);
  }
  tasks = state.tasks;
  write("done-text", text.where(state.file));
  write("to-missing", text.missing);
  for (let score = 0; score <= state.highest; score++) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = score;
    button.ariaLabel = text.score(score);
    button.addEventListener("click", () => rate(score));
    at("scores").append(button);
  }
  show(nextMissing(0));
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
  write("count", text.count(rated, tasks.length));
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
  say([message, text.place(place + 1, tasks.length), task.score === null ? "" : text.given(task.score)].join(" ").trim());
  enable(false);
  const seen = await Promise.all(SIDES.map((side) => load(side, task, next)));
  if (place !== next) return;
  keepNear();
  ready = seen.every(Boolean);
  enable(ready);
}

function finish(missing, message) {
  write("done-title", missing ? text.left(missing) : text.finished);
  at("to-missing").hidden = !missing;
  say(message);
}

function mark(score) {
  for (const button of at("scores").children) button.ariaPressed = String(Number(button.textContent) === score);
}

function enable(on) {
  for (const button of at("scores").children) button.disabled = !on;
}

/** Show one picture of a task; whether that worked. The rater must have seen both before a key counts. */
async function load(side, task, of) {
  const button = at(side).querySelector(".zoom");
  const image = button.querySelector("img");
  button.classList.add("waiting");
  button.classList.remove("lost");
  try {
    const address = await picture(task[side]);
    if (place !== of) return false;
    image.src = address;
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
    for (const side of SIDES) if (tasks[index]) near.add(tasks[index][side]);
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
    if (!answer.ok) throw new Error(await answer.text());
  } catch (error) {
    mark(tasks[rated].score);
    say(text.failed(error instanceof TypeError ? text.gone : error.message), true);
    ready = place === rated;
    return;
  }
  tasks[rated].score = score;
  if (place === rated) show(nextMissing(rated + 1), text.saved(score));
}

function zoom(side) {
  if (side) document.body.dataset.zoom = side;
  else delete document.body.dataset.zoom;
  for (const each of SIDES) at(each).querySelector("figcaption").textContent = each === side ? text.zoomed[side] : text[each];
}

const back = () => place > 0 && show(place - 1);
const skip = () => place < tasks.length && show(place + 1);
at("back").addEventListener("click", back);
at("skip").addEventListener("click", skip);
at("to-missing").addEventListener("click", () => show(nextMissing(0)));
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const zooms = { undefined: "edit", edit: "source", source: "" };
  if (/^[0-9]$/.test(event.key)) rate(Number(event.key));
  else if (event.key === "ArrowLeft" || event.key === "Backspace") back();
  else if (event.key === "ArrowRight") skip();
  else if (event.key === "z" || event.key === "Z") place < tasks.length && zoom(zooms[document.body.dataset.zoom]);
  else if (event.key === "Escape") zoom("");
  else return;
  event.preventDefault();
});

start();

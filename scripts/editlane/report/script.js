"use strict";
const cards = [...document.querySelectorAll(".item")];
const list = document.getElementById("cards");
const form = document.getElementById("filters");
const dialog = document.getElementById("large");

for (const image of document.querySelectorAll("img[data-same]")) {
  image.src = document.getElementById(image.dataset.same).src;
}

const entries = cards.map((card) => ({
  card,
  category: card.dataset.category,
  states: card.dataset.states.split(" "),
  scores: card.dataset.scores.split(",").map((text) => (text === "" ? null : Number(text))),
  text: card.textContent.normalize("NFKC").toLowerCase(),
}));

function filter() {
  const { category, state, text } = form.elements;
  const words = text.value.normalize("NFKC").toLowerCase().split(/\s+/);
  let shown = 0;
  for (const entry of entries) {
    const fits =
      (!category.value || entry.category === category.value) &&
      (!state.value || entry.states.includes(state.value)) &&
      words.every((word) => entry.text.includes(word));
    entry.card.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = `${shown} of ${entries.length} items`;
}

function sort() {
  const { sort, order } = form.elements;
  order.disabled = sort.value === "";
  const sorted = [...entries];
  if (sort.value !== "") {
    const direction = Number(order.value);
    const score = (entry) => entry.scores[Number(sort.value)];
    // An item without a score stands last in both directions.
    sorted.sort((a, b) => (score(a) === null) - (score(b) === null) || direction * (score(a) - score(b)));
  }
  list.append(...sorted.map((entry) => entry.card));
}

function enlarge(button) {
  const card = button.closest(".item");
  const source = card.querySelector("figure:first-child .zoom");
  const shown = new Set([source, button].filter(Boolean));
  dialog.querySelector(".pair").replaceChildren(...[...shown].map(figure));
  const title = document.getElementById("large-title");
  title.textContent = card.querySelector("h3").textContent;
  title.lang = card.querySelector("h3").lang;
  dialog.opener = button;
  if (!dialog.open) dialog.showModal();
}

function figure(button) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const image = button.querySelector("img").cloneNode();
  image.removeAttribute("id");
  caption.textContent = image.alt;
  figure.append(image, caption);
  if (button.dataset.full) {
    const link = document.createElement("a");
    link.href = button.dataset.full;
    link.textContent = "full size, in the run's folder";
    caption.append(" · ", link);
  }
  figure.append(...[...button.closest("figure").querySelectorAll(".verdict")].map((verdict) => verdict.cloneNode(true)));
  return figure;
}

function step(by) {
  const buttons = [...list.querySelectorAll(".item:not([hidden]) .zoom")];
  const next = buttons[buttons.indexOf(dialog.opener) + by];
  if (next) enlarge(next);
}

list.addEventListener("click", (event) => {
  const button = event.target.closest(".zoom");
  if (button) enlarge(button);
});
dialog.addEventListener("click", (event) => {
  const name = event.target.name;
  if (name === "close" || event.target === dialog) dialog.close();
  if (name === "previous") step(-1);
  if (name === "next") step(1);
});
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
dialog.addEventListener("close", () => dialog.opener.focus());
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => {
  if (["sort", "order"].includes(event.target.name)) sort();
  else filter();
});
// A printed page shows everything: pictures that were not scrolled to are loaded first.
addEventListener("beforeprint", () => document.querySelectorAll("img").forEach((image) => (image.loading = "eager")));

form.hidden = false;
sort();
filter();

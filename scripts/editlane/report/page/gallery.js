"use strict";
(async () => {
  const { byId, texts, fill, load, begin, element, said, mark, keyOf, pictureOf, referencesOf, absence, slider } = editlane;
  const [form, pager, list, dialog] = ["filters", "pager", "cards", "large"].map(byId);
  const say = (text) => (byId("shown").textContent = text);
  const normal = (text) => text.normalize("NFKC").toLowerCase();

  let data;
  try {
    data = await begin();
  } catch {
    pager.hidden = false;
    say(texts.absent);
    return;
  }
  const { editors, judges, unchanged, cellOf, cellsOf, stateOf, chunkOf } = data;
  const hasFailed = (state) => state !== "scored" && state !== "missing";
  const everyChunk = () => Promise.all([...new Set(data.ids.map((_, item) => chunkOf(item)))].map(load));

  function chosenEditors() {
    const chosen = form.elements.editor?.value ?? "";
    return chosen === "" ? [...editors.keys()] : [Number(chosen)];
  }

  // What the items are sorted by.

  const present = (values) => values.filter((value) => value !== null);
  const greatest = (values) => (present(values).length ? Math.max(...present(values)) : null);
  const range = (values) => (present(values).length > 1 ? greatest(values) - Math.min(...present(values)) : null);
  const mean = (values) => (present(values).length ? present(values).reduce((a, b) => a + b) / present(values).length : null);
  const takesEditors = (sort) => /^(score|criterion)/.test(sort);

  // The scores by a criterion: cells, then items.
  async function criterionScores(number) {
    if (!data.uris) return (await load(`criterion-${number}`)).values;
    const chunks = await everyChunk();
    return data.score.map((_, cell) => chunks.flatMap((chunk) => chunk.parts[number][cell]));
  }

  // A function from an item to a number, or to null where it has none; null for the order of the items.
  async function sortKey() {
    const [kind, number] = form.elements.sort.value.split("-");
    const judge = Number(form.elements.judge?.value ?? 0);
    const [of, minus] = ["of", "minus"].map((name) => form.elements[name]?.value ?? "");
    const chosen = chosenEditors();
    const column = kind === "criterion" ? await criterionScores(Number(number)) : data.score;
    const by = (editor, item) => column[cellOf(Number(editor), judge)][item];
    const one = (item) => (of === "" ? mean(editors.map((_, editor) => by(editor, item))) : by(of, item));
    const less = (item) => (one(item) === null || by(minus, item) === null ? null : one(item) - by(minus, item));
    const score = minus === "" ? one : less;
    return {
      score,
      criterion: score,
      judges: (item) => greatest(chosen.map((editor) => range(cellsOf(editor).map((cell) => data.score[cell][item])))),
      editors: (item) => range(editors.map((_, editor) => by(editor, item))),
      uncertainty: (item) => greatest(chosen.flatMap(cellsOf).map((cell) => data.entropy[cell][item])),
    }[kind] ?? null;
  }

  // What a card says before its value.
  function sortName() {
    const { sort, of, minus, judge } = form.elements;
    const name = sort.selectedOptions[0].text;
    const editor = (select) => (select && select.value !== "" ? editors[Number(select.value)] : "");
    const pair = takesEditors(sort.value) ? [editor(of) || (editors.length > 1 ? texts.mean : ""), editor(minus)] : [];
    const by = judge && (takesEditors(sort.value) || sort.value === "editors") ? judges[Number(judge.value)] : "";
    return [name, pair.filter(Boolean).join(" − "), by].filter(Boolean).join(" · ");
  }

  let searched = null;
  async function searchTexts() {
    const found = data.ids.map((id, item) => [id, data.instructions[item]]);
    // Where the cards' texts lie beside the page, they are too many to be read for a search.
    for (const [item, words] of data.uris ? found.entries() : []) {
      const chunk = await load(chunkOf(item));
      const place = item % data.chunk;
      const told = [...chunk.reply, ...chunk.why].map((texts) => texts[place]);
      words.push(...chunk.tags[place], chunk.difficulty[place], ...told);
    }
    return found.map((words) => normal(words.join("\n")));
  }

  async function select(key) {
    const { category, state, text } = form.elements;
    const words = normal(text.value).split(/\s+/).filter(Boolean);
    if (words.length) searched ??= await searchTexts();
    const chosen = chosenEditors();
    const cells = chosen.flatMap(cellsOf);
    const inState = (item) => {
      if (state.value === "") return true;
      if (state.value === "unchanged") return chosen.some((editor) => unchanged[editor].has(item));
      if (state.value === "failed") return cells.some((cell) => hasFailed(stateOf(cell, item)));
      return cells.some((cell) => stateOf(cell, item) === state.value);
    };
    const fits = (item) =>
      (category.value === "" || data.category[item] === Number(category.value)) &&
      inState(item) &&
      words.every((word) => searched[item].includes(word));
    const items = [...data.ids.keys()].filter(fits);
    if (!key) return items;
    const keys = data.ids.map((_, item) => key(item));
    const direction = Number(form.elements.order.value);
    // An item without a value stands last in both directions; equal ones stay in item order.
    const difference = (a, b) => (a === null) - (b === null) || direction * (a - b);
    return items.sort((a, b) => difference(keys[a], keys[b]));
  }

  // The page of cards.

  let order = [];
  let key = null;
  let page = 0;
  let turns = 0;
  const size = () => Number(form.elements.size.value);
  const pageCount = () => Math.max(1, Math.ceil(order.length / size()));

  function showControls() {
    const { sort, order, of, minus, judge } = form.elements;
    order.disabled = sort.value === "";
    for (const control of [of, minus]) if (control) control.parentElement.hidden = !takesEditors(sort.value);
    if (judge) judge.parentElement.hidden = !takesEditors(sort.value) && sort.value !== "editors";
  }

  async function refresh(wanted = 0) {
    showControls();
    const mine = ++turns;
    const [found, selected] = await sortKey().then(async (one) => [one, await select(one)]);
    if (mine !== turns) return;
    [key, order] = [found, selected];
    await show(wanted);
  }

  // Draws a page; false where a later call has overtaken this one, or where the cards' texts cannot be read.
  async function show(wanted) {
    const mine = ++turns;
    page = Math.min(Math.max(wanted, 0), pageCount() - 1);
    const items = order.slice(page * size(), (page + 1) * size());
    list.ariaBusy = "true";
    let chunks;
    try {
      const names = [...new Set(items.map(chunkOf))];
      chunks = new Map(await Promise.all(names.map(async (name) => [name, await load(name)])));
    } catch {
      say(texts.absent);
      return false;
    }
    if (mine !== turns) return false;
    const name = key && sortName();
    list.replaceChildren(...items.map((item) => card(item, chunks.get(chunkOf(item)), name)));
    list.ariaBusy = "false";
    showCounts(items.length);
    return true;
  }

  function showCounts(shown) {
    const [found, all, first] = [order.length, data.ids.length, page * size() + 1];
    const [kind, number] = found === 0 ? ["none", all] : found < all ? ["fitting", found] : ["shown", all];
    const text = texts[number === 1 ? `${kind}_one` : kind];
    const counts = Object.entries({ first, last: first + shown - 1, found, all });
    const written = counts.map(([name, count]) => [name, count.toLocaleString(document.documentElement.lang)]);
    say(fill(text, Object.fromEntries(written)));
    const [previous, next, input] = ["previous", "next", "page"].map((name) => pager.querySelector(`[name=${name}]`));
    byId("pages").textContent = input.max = pageCount();
    input.value = page + 1;
    previous.disabled = page === 0;
    next.disabled = page === pageCount() - 1;
  }

  async function turnTo(wanted) {
    const shown = await show(wanted);
    if (list.getBoundingClientRect().top < 0) list.scrollIntoView();
    keepAddress();
    return shown;
  }

  async function turnBy(by) {
    return page + by >= 0 && page + by < pageCount() && turnTo(page + by);
  }

  // The address keeps what is chosen, as #gallery?category=...&sort=...: it can be shared, and survives a reload.

  const controls = () => [...form.elements].filter((control) => control.name);
  const keyOfOption = (option) => option.dataset.key ?? option.value;
  const chosenKey = (control) => (control.tagName === "SELECT" ? keyOfOption(control.selectedOptions[0]) : control.value);
  const firstChosen = (select) => select.querySelector("option[selected]") ?? select.options[0];
  const isDefault = (control) =>
    control.tagName === "SELECT" ? firstChosen(control).selected : control.value === control.defaultValue;

  function keepAddress() {
    const found = new URLSearchParams();
    for (const control of controls()) if (!isDefault(control) && !control.disabled) found.set(control.name, chosenKey(control));
    if (page > 0) found.set("page", page + 1);
    history.replaceState(null, "", found.size ? `#gallery?${found}` : "#gallery");
  }

  async function readAddress(hash) {
    const wanted = new URLSearchParams(hash.slice("#gallery?".length));
    form.reset();
    for (const control of controls()) {
      const value = wanted.get(control.name);
      if (value === null) continue;
      if (control.tagName !== "SELECT") control.value = value;
      else for (const option of control.options) if (keyOfOption(option) === value) option.selected = true;
    }
    await refresh(Number(wanted.get("page") ?? 1) - 1 || 0);
    byId("gallery").scrollIntoView();
  }

  // A link to #item-<id> leads to the page with the item; filters that hide it are taken back.
  async function follow(hash) {
    if (hash.startsWith("#gallery?")) return readAddress(hash);
    const item = hash.startsWith("#item-") ? data.ids.indexOf(decoded(hash.slice("#item-".length))) : -1;
    if (item === -1) return;
    if (!order.includes(item)) {
      form.reset();
      await refresh();
    }
    await show(Math.floor(order.indexOf(item) / size()));
    focusCard(byId(`item-${data.ids[item]}`));
  }

  function focusCard(card) {
    card?.scrollIntoView();
    card?.focus({ preventScroll: true });
  }

  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a percent sign that is none of an encoding
    }
  }

  // One card.

  function card(item, chunk, name) {
    const place = item % data.chunk;
    const chosen = chosenEditors();
    const states = chosen.flatMap(cellsOf).map((cell) => stateOf(cell, item));
    const value = key ? key(item) : null;
    const [n, all] = chunk.turn[place] ?? [];
    const turn = n && fill(texts.turn, { n, all });
    const facts = [data.ids[item], turn, chunk.difficulty[place], ...chunk.tags[place]].filter(Boolean);
    const line = element(
      "p",
      {},
      said("b", data.categories[data.category[item]]),
      ...facts.map((fact) => said("span", fact)),
      states.some(hasFailed) ? mark(texts.failed) : null,
      chosen.some((editor) => unchanged[editor].has(item)) ? mark(texts.unchanged) : null,
      value === null ? null : said("span", `${name} ${value.toFixed(2).replace("-", "−")}`, { className: "value" }),
    );
    const title = said("h3", data.instructions[item], { lang: chunk.language[place] });
    const row = element("div", { className: "row" }, sourceFigure(item, chunk, place));
    row.style.setProperty("--ratio", chunk.ratio[place]);
    row.append(...referencesOf(data, chunk, place).map((one) => referenceFigure(item, chunk, place, one)));
    row.append(...chosen.map((editor) => editFigure(item, chunk, place, editor)));
    const properties = { className: "item", id: `item-${data.ids[item]}`, tabIndex: -1 };
    return element("article", properties, element("header", {}, title, line), row);
  }

  function sourceFigure(item, chunk, place) {
    const { source_unreadable: unreadable } = texts.states;
    const alt = fill(texts.source_of, { id: data.ids[item] });
    const caption = element("figcaption", { textContent: texts.source });
    return element("figure", {}, frame(chunk, place, 0, alt, { none: unreadable, unreadable }), caption);
  }

  function referenceFigure(item, chunk, place, { n, picture }) {
    const alt = fill(texts.reference_of, { n, id: data.ids[item] });
    const caption = element("figcaption", { textContent: fill(texts.reference, { n }) });
    return element("figure", {}, frame(chunk, place, picture, alt, texts), caption);
  }

  function editFigure(item, chunk, place, editor) {
    const alt = fill(texts.edit_of, { id: data.ids[item], editor: editors[editor] });
    const caption = element("figcaption", {}, keyOf(data, editor), editors[editor]);
    const [n] = chunk.turn[place] ?? [];
    const alike = n > 1 ? fill(texts.unchanged_turn, { n: n - 1 }) : texts.unchanged; // a later turn edits the former edit
    if (unchanged[editor].has(item)) caption.append(" ", mark(alike));
    const verdicts = judges.map((_, judge) => verdict(item, chunk, place, cellOf(editor, judge), judge));
    const instead = absence(data, item, editor);
    return element("figure", {}, frame(chunk, place, editor + 1, alt, instead), caption, ...verdicts);
  }

  // A picture, or one of `instead` in its place.
  function frame(chunk, place, picture, alt, instead) {
    const found = pictureOf(data, chunk, place, picture);
    const box = element("div", { className: "frame" });
    const explain = (text) => box.replaceChildren(element("div", { className: "none", textContent: text }));
    if (found.absent) explain(instead[found.absent]);
    else {
      const image = element("img", { alt, loading: "lazy", decoding: "async", src: found.src });
      image.addEventListener("error", () => explain(instead.unreadable));
      box.append(element("button", { type: "button", className: "zoom" }, image));
      if (found.full) box.firstChild.dataset.full = found.full;
    }
    return box;
  }

  function verdict(item, chunk, place, cell, judge) {
    const score = data.score[cell][item];
    const criteria = data.criteria.map((name, at) => [name.replaceAll("_", " "), chunk.parts[at][cell][place]]);
    const parts = [...criteria, [texts.entropy, data.entropy[cell][item]]].filter(([, value]) => value !== null);
    const [why, reply] = [chunk.why[cell][place], chunk.reply[cell][place]];
    const repeated = judge > 0 && why === chunk.why[cell - 1][place];
    const rejected = data.rejected.includes(judge) ? mark(` (${texts.rejected})`) : null;
    const by = element("span", {}, said("span", judges.length > 1 ? judges[judge] : texts.score), rejected);
    const head = element("p", { className: "head" }, by, " ");
    head.append(score === null ? mark(texts.states[stateOf(cell, item)]) : said("strong", score.toFixed(2)));
    const numbers = parts.flatMap(([name, value]) => [said("span", `${name} ${value.toFixed(2)}`), " "]);
    return element(
      "div",
      { className: "verdict" },
      head,
      numbers.length ? element("p", { className: "parts" }, ...numbers) : null,
      why && !repeated ? said("p", why) : null,
      reply ? said("q", reply) : null,
    );
  }

  // The enlarged pictures.

  let origin = null; // the frame of the picture; its button goes when the picture turns out to be unreadable
  let sliding = false;
  function enlarge(button) {
    origin = button.closest(".frame");
    const item = button.closest(".item");
    const [from, title] = [item.querySelector("h3"), byId("large-title")];
    const shown = [...new Set([item.querySelector("figure:first-child .zoom"), button])].filter(Boolean);
    title.textContent = from.textContent;
    title.lang = from.lang;
    const toggle = dialog.querySelector("[name=slide]");
    toggle.ariaPressed = String(sliding);
    toggle.disabled = shown.length < 2;
    const figures = sliding && shown.length > 1 ? [overlaid(...shown)] : shown.map(enlarged);
    dialog.querySelector(".pair").replaceChildren(...figures);
    if (!dialog.open) dialog.showModal();
  }

  function enlarged(button) {
    const image = button.querySelector("img").cloneNode();
    return element("figure", {}, image, captionOf(button, image.alt), ...verdictsOf(button));
  }

  function overlaid(source, edit) {
    const [before, after] = [source, edit].map((button) => button.querySelector("img"));
    const box = slider(before.src, after.src, [before.alt, after.alt]);
    box.style.setProperty("--ratio", before.naturalWidth / before.naturalHeight || 1);
    return element("figure", {}, box, captionOf(edit, after.alt), ...verdictsOf(edit));
  }

  function captionOf(button, text) {
    const caption = element("figcaption", { textContent: text });
    const { full } = button.dataset;
    if (full) caption.append(" · ", element("a", { href: full, textContent: texts.full_size }));
    return caption;
  }

  const verdictsOf = (button) => [...button.closest("figure").querySelectorAll(".verdict")].map((node) => node.cloneNode(true));

  async function step(by) {
    const frames = [...list.querySelectorAll(".frame")];
    let next = frames.indexOf(origin) + by;
    while (frames[next] && !frames[next].querySelector(".zoom")) next += by;
    if (frames[next]) enlarge(frames[next].querySelector(".zoom"));
    else if (await turnBy(by)) {
      const buttons = list.querySelectorAll(".zoom");
      if (buttons.length) enlarge(buttons[by > 0 ? 0 : buttons.length - 1]);
    }
  }

  // What a reader does.

  const byName = { previous: -1, next: 1 };
  const byKey = { ArrowLeft: -1, ArrowRight: 1 };
  const isPlain = (event) => !event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey;

  // The next card in reading order: from the one in focus, else from the first one that is in view.
  async function moveBy(by) {
    const cards = [...list.querySelectorAll(".item")];
    const here = cards.indexOf(document.activeElement.closest(".item"));
    const seen = cards.findIndex((one) => one.getBoundingClientRect().bottom > 80);
    const next = here === -1 ? (by > 0 ? Math.max(seen, 0) : seen - 1) : here + by;
    if (cards[next]) focusCard(cards[next]);
    else if (await turnBy(by)) focusCard(by > 0 ? list.firstElementChild : list.lastElementChild);
  }

  document.addEventListener("keydown", (event) => {
    if (!isPlain(event) || dialog.open || event.target.closest("input, select, textarea")) return;
    if (event.key === "j" || event.key === "k") moveBy(event.key === "j" ? 1 : -1);
    else if (event.key === "/") form.elements.text.focus();
    else if (event.key === "Enter" && event.target.matches(".item")) {
      const zoom = event.target.querySelector("figure + figure .zoom") ?? event.target.querySelector(".zoom");
      if (zoom) enlarge(zoom);
    } else return;
    event.preventDefault();
  });
  list.addEventListener("click", (event) => {
    const button = event.target.closest(".zoom");
    if (button) enlarge(button);
  });
  list.addEventListener("keydown", async (event) => {
    if (event.key in byKey && isPlain(event) && (await turnBy(byKey[event.key]))) list.focus({ preventScroll: true });
  });
  function toggleSlider() {
    sliding = !sliding;
    enlarge(origin.querySelector(".zoom"));
  }
  dialog.addEventListener("click", (event) => {
    const { name } = event.target;
    if (name === "close" || event.target === dialog) dialog.close();
    if (name === "slide") toggleSlider();
    if (name in byName) step(byName[name]);
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key in byKey && event.target.type !== "range") step(byKey[event.key]);
    if (event.key === "s" && isPlain(event)) toggleSlider();
  });
  dialog.addEventListener("close", () => { // comes after the next key, which may have entered a field
    if (!document.activeElement?.closest("input, select, textarea")) origin.querySelector(".zoom")?.focus();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", async (event) => {
    const { sort, order, of, minus } = form.elements;
    // One looks for low scores, and for great differences, disagreement and uncertainty.
    if ([sort, minus].includes(event.target)) order.value = takesEditors(sort.value) && !minus?.value ? "1" : "-1";
    if (event.target === minus && minus.value !== "" && of.value === "") of.value = minus.value === "0" ? "1" : "0";
    if (event.target.name === "size") return; // the pager turns to its first page
    await refresh();
    keepAddress();
  });
  byId("all-items").addEventListener("click", async () => {
    form.reset();
    await refresh();
    keepAddress();
  });
  pager.addEventListener("click", (event) => {
    if (event.target.name in byName) turnBy(byName[event.target.name]);
  });
  pager.addEventListener("change", (event) => turnTo(event.target.name === "page" ? Number(event.target.value) - 1 : 0));
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#item-"]');
    if (link && link.hash === location.hash) follow(link.hash); // no other event tells of it
  });
  addEventListener("hashchange", () => follow(location.hash));
  // Pictures that were not scrolled to are printed, too.
  addEventListener("beforeprint", () => list.querySelectorAll("img").forEach((image) => (image.loading = "eager")));

  form.hidden = pager.hidden = false;
  await refresh();
  await follow(location.hash);
})();

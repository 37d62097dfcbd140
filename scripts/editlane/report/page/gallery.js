"use strict";
(async () => {
  const byId = (id) => document.getElementById(id);
  const texts = JSON.parse(byId("gallery-texts").textContent);
  const [form, pager, list, dialog] = ["filters", "pager", "cards", "large"].map(byId);
  const say = (text) => (byId("shown").textContent = text);
  const fill = (text, values) => text.replace(/{(\w+)}/g, (_, name) => values[name]);
  const normal = (text) => text.normalize("NFKC").toLowerCase();

  // Data comes in blocks: in the page, or beside it, each as a script, since a page from the disk cannot fetch files.

  const blocks = new Map();
  const arrived = new Map();
  window.editlaneGallery = (name, block) => arrived.get(name)(block);

  function load(name) {
    if (!blocks.has(name)) {
      const inPage = byId(`gallery-${name}`);
      blocks.set(name, inPage ? Promise.resolve(JSON.parse(inPage.textContent)) : loadBeside(name));
    }
    return blocks.get(name);
  }

  function loadBeside(name) {
    return new Promise((resolve, reject) => {
      const script = element("script", { src: `gallery/${name}.js` });
      arrived.set(name, resolve);
      script.onload = () => script.remove();
      script.onerror = () => {
        blocks.delete(name);
        reject(new Error(`cannot read ${script.src}`));
      };
      document.head.append(script);
    });
  }

  let index;
  try {
    index = await load("index");
  } catch {
    pager.hidden = false;
    say(texts.absent);
    return;
  }
  const { editors, judges } = index;
  const pictures = byId("gallery-pictures") ? (await load("pictures")).uris : null;
  const unchanged = index.unchanged.map((items) => new Set(items));
  const cellOf = (editor, judge) => editor * judges.length + judge;
  const cellsOf = (editor) => judges.map((_, judge) => cellOf(editor, judge));
  const stateOf = (cell, item) => index.states[index.state[cell][item]];
  const hasFailed = (state) => state !== "scored" && state !== "missing";
  const chunkOf = (item) => `items-${Math.floor(item / index.chunk)}`;

  function chosenEditors() {
    const chosen = form.elements.editor?.value ?? "";
    return chosen === "" ? [...editors.keys()] : [Number(chosen)];
  }

  // Which items are shown, and in which order.

  const present = (values) => values.filter((value) => value !== null);
  const greatest = (values) => (present(values).length ? Math.max(...present(values)) : null);
  const range = (values) => (present(values).length > 1 ? greatest(values) - Math.min(...present(values)) : null);

  // What the items are sorted by: a function from an item to a number, or to null where it has none.
  function sortKey() {
    const [kind, number] = form.elements.sort.value.split("-");
    const chosen = chosenEditors();
    const score = (cell, item) => index.score[cell][item];
    return {
      score: (item) => score(Number(number), item),
      judges: (item) => greatest(chosen.map((editor) => range(cellsOf(editor).map((cell) => score(cell, item))))),
      editors: (item) => range(editors.map((_, editor) => score(cellOf(editor, Number(number)), item))),
      uncertainty: (item) => greatest(chosen.flatMap(cellsOf).map((cell) => index.entropy[cell][item])),
    }[kind];
  }

  let searched = null;
  async function searchTexts() {
    const found = index.ids.map((id, item) => [id, index.instructions[item]]);
    // Where the cards' texts lie beside the page, they are too many to be read for a search.
    for (const [item, words] of pictures ? found.entries() : []) {
      const chunk = await load(chunkOf(item));
      const place = item % index.chunk;
      const said = [...chunk.reply, ...chunk.why].map((texts) => texts[place]);
      words.push(...chunk.tags[place], chunk.difficulty[place], ...said);
    }
    return found.map((words) => normal(words.join("\n")));
  }

  async function select() {
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
      (category.value === "" || index.category[item] === Number(category.value)) &&
      inState(item) &&
      words.every((word) => searched[item].includes(word));
    const items = [...index.ids.keys()].filter(fits);
    const key = sortKey();
    if (!key) return items;
    const keys = index.ids.map((_, item) => key(item));
    const direction = Number(form.elements.order.value);
    // An item without a value stands last in both directions; equal ones stay in item order.
    const difference = (a, b) => (a === null) - (b === null) || direction * (a - b);
    return items.sort((a, b) => difference(keys[a], keys[b]));
  }

  // The page of cards.

  let order = [];
  let page = 0;
  let turns = 0;
  const size = () => Number(form.elements.size.value);
  const pageCount = () => Math.max(1, Math.ceil(order.length / size()));

  async function refresh() {
    form.elements.order.disabled = form.elements.sort.value === "";
    const mine = ++turns;
    const selected = await select();
    if (mine !== turns) return;
    order = selected;
    await show(0);
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
    const key = sortKey();
    list.replaceChildren(...items.map((item) => card(item, chunks.get(chunkOf(item)), key)));
    list.ariaBusy = "false";
    showCounts(items.length);
    return true;
  }

  function showCounts(shown) {
    const [found, all, first] = [order.length, index.ids.length, page * size() + 1];
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
    return shown;
  }

  async function turnBy(by) {
    return page + by >= 0 && page + by < pageCount() && turnTo(page + by);
  }

  // A link to #item-<id> leads to the page with the item; filters that hide it are taken back.
  async function follow(hash) {
    const item = hash.startsWith("#item-") ? index.ids.indexOf(decoded(hash.slice("#item-".length))) : -1;
    if (item === -1) return;
    if (!order.includes(item)) {
      form.reset();
      await refresh();
    }
    await show(Math.floor(order.indexOf(item) / size()));
    const card = byId(`item-${index.ids[item]}`);
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

  function element(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children.filter((child) => child !== null));
    return node;
  }

  // A text of the data; Chinese is marked, so that it gets Chinese glyphs.
  function said(tag, text, properties = {}) {
    return element(tag, { textContent: text, ...(/[\u3400-\u9fff]/.test(text) && { lang: "zh" }), ...properties });
  }

  const mark = (text) => element("em", { className: "tag", textContent: text });

  function card(item, chunk, key) {
    const place = item % index.chunk;
    const chosen = chosenEditors();
    const states = chosen.flatMap(cellsOf).map((cell) => stateOf(cell, item));
    const value = key ? key(item) : null;
    const facts = [index.ids[item], chunk.difficulty[place], ...chunk.tags[place]].filter(Boolean);
    const line = element(
      "p",
      {},
      said("b", index.categories[index.category[item]]),
      ...facts.map((fact) => said("span", fact)),
      states.some(hasFailed) ? mark(texts.failed) : null,
      chosen.some((editor) => unchanged[editor].has(item)) ? mark(texts.unchanged) : null,
      value === null ? null : said("span", `${form.elements.sort.selectedOptions[0].text} ${value.toFixed(2)}`),
    );
    const title = said("h3", index.instructions[item], { lang: chunk.language[place] });
    const row = element("div", { className: "row" }, sourceFigure(item, chunk, place));
    row.style.setProperty("--ratio", chunk.ratio[place]);
    row.append(...chosen.map((editor) => editFigure(item, chunk, place, editor)));
    const properties = { className: "item", id: `item-${index.ids[item]}`, tabIndex: -1 };
    return element("article", properties, element("header", {}, title, line), row);
  }

  function sourceFigure(item, chunk, place) {
    const { source_unreadable: unreadable } = texts.states;
    const alt = fill(texts.source_of, { id: index.ids[item] });
    const caption = element("figcaption", { textContent: texts.source });
    return element("figure", {}, frame(chunk, place, 0, alt, { none: unreadable, unreadable }), caption);
  }

  function editFigure(item, chunk, place, editor) {
    const state = stateOf(cellOf(editor, 0), item);
    const none = state === "missing" ? texts.no_edit : texts.states[state];
    const alt = fill(texts.edit_of, { id: index.ids[item], editor: editors[editor] });
    const key = element("i", { className: "key" });
    key.style.setProperty("--c", `var(--e${editor % 8})`);
    const caption = element("figcaption", {}, key, editors[editor]);
    if (unchanged[editor].has(item)) caption.append(" ", mark(texts.unchanged));
    const verdicts = judges.map((_, judge) => verdict(item, chunk, place, cellOf(editor, judge), judge));
    return element("figure", {}, frame(chunk, place, editor + 1, alt, { ...texts, none }), caption, ...verdicts);
  }

  // A picture (0 is the source, then the editors), or one of `instead` in its place.
  function frame(chunk, place, picture, alt, instead) {
    const path = chunk.paths[picture][place];
    const shown = pictures ? chunk.shown[picture][place] : path;
    const box = element("div", { className: "frame" });
    const explain = (text) => box.replaceChildren(element("div", { className: "none", textContent: text }));
    if (shown === null) explain(instead.none);
    else if (pictures && typeof shown === "string") explain(instead[shown]);
    else {
      const file = index.folder && [index.folder, ...path.split("/").map(encodeURIComponent)].join("/");
      const image = element("img", { alt, loading: "lazy", decoding: "async", src: pictures ? pictures[shown] : file });
      image.addEventListener("error", () => explain(instead.unreadable));
      box.append(element("button", { type: "button", className: "zoom" }, image));
      if (file) box.firstChild.dataset.full = file;
    }
    return box;
  }

  function verdict(item, chunk, place, cell, judge) {
    const score = index.score[cell][item];
    const criteria = index.criteria.map((name, at) => [name.replaceAll("_", " "), chunk.parts[at][cell][place]]);
    const parts = [...criteria, [texts.entropy, index.entropy[cell][item]]].filter(([, value]) => value !== null);
    const [why, reply] = [chunk.why[cell][place], chunk.reply[cell][place]];
    const repeated = judge > 0 && why === chunk.why[cell - 1][place];
    const head = element("p", { className: "head" }, said("span", judges.length > 1 ? judges[judge] : texts.score), " ");
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
  function enlarge(button) {
    origin = button.closest(".frame");
    const item = button.closest(".item");
    const [from, title] = [item.querySelector("h3"), byId("large-title")];
    const shown = new Set([item.querySelector("figure:first-child .zoom"), button]);
    title.textContent = from.textContent;
    title.lang = from.lang;
    dialog.querySelector(".pair").replaceChildren(...[...shown].filter(Boolean).map(enlarged));
    if (!dialog.open) dialog.showModal();
  }

  function enlarged(button) {
    const image = button.querySelector("img").cloneNode();
    const caption = element("figcaption", { textContent: image.alt });
    const { full } = button.dataset;
    if (full) caption.append(" · ", element("a", { href: full, textContent: texts.full_size }));
    const verdicts = [...button.closest("figure").querySelectorAll(".verdict")];
    return element("figure", {}, image, caption, ...verdicts.map((node) => node.cloneNode(true)));
  }

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
  list.addEventListener("click", (event) => {
    const button = event.target.closest(".zoom");
    if (button) enlarge(button);
  });
  list.addEventListener("keydown", async (event) => {
    const plain = event.key in byKey && !event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    if (plain && (await turnBy(byKey[event.key]))) list.focus({ preventScroll: true });
  });
  dialog.addEventListener("click", (event) => {
    const { name } = event.target;
    if (name === "close" || event.target === dialog) dialog.close();
    if (name in byName) step(byName[name]);
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key in byKey) step(byKey[event.key]);
  });
  dialog.addEventListener("close", () => origin.querySelector(".zoom")?.focus());
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    const { sort, order } = form.elements;
    // One looks for low scores, and for great disagreement and uncertainty.
    if (event.target === sort) order.value = /^score/.test(sort.value) ? "1" : "-1";
    refresh();
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

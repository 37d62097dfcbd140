"use strict";
// The pictures that come first: one item of each kind, all its edits side by side, one of them over its source.
(async () => {
  const { byId, texts, fill, load, begin, element, said, keyOf, pictureOf, referencesOf, absence, slider } = editlane;
  let data;
  try {
    data = await begin();
  } catch {
    return; // the gallery says it
  }
  const { judge: lead, between } = data.highlights;

  function stage(box) {
    const items = data.highlights[box.dataset.kind];
    box.hidden = items.length === 0;
    if (box.hidden) return null;
    let place = 0;
    const counter = box.querySelector("output");
    const show = async (wanted) => {
      place = (wanted + items.length) % items.length;
      const chunk = await load(data.chunkOf(items[place]));
      box.querySelector(".stage").replaceChildren(...draw(items[place], chunk, box.dataset.kind));
      counter.textContent = fill(texts.place, { n: place + 1, all: items.length });
    };
    box.querySelector(".turn").hidden = items.length === 1;
    box.addEventListener("click", (event) => {
      const by = { previous: -1, next: 1 }[event.target.name];
      if (by) show(place + by);
    });
    return show(0);
  }

  function draw(item, chunk, kind) {
    const place = item % data.chunk;
    const title = said("h4", data.instructions[item], { lang: chunk.language[place] });
    const link = element("a", { href: `#item-${encodeURIComponent(data.ids[item])}`, textContent: texts.in_gallery });
    const facts = element("p", { className: "facts-line" }, said("b", data.categories[data.category[item]]));
    facts.append(said("span", data.ids[item]), link);
    const view = element("figure", { className: "view" });
    view.style.setProperty("--ratio", chunk.ratio[place]);
    const strip = element("div", { className: "strip" });
    const buttons = data.editors.map((_, editor) => thumbnail(item, chunk, place, editor));
    strip.append(...buttons);
    const choose = (editor) => {
      buttons.forEach((button, at) => (button.ariaPressed = String(at === editor)));
      view.replaceChildren(...compare(item, chunk, place, editor));
    };
    buttons.forEach((button, editor) => button.addEventListener("click", () => choose(editor)));
    choose(chosenFirst(item, kind));
    const beside = element("div", { className: "beside" }, view, strip);
    return [element("header", {}, title, facts), references(item, chunk, place), beside].filter(Boolean);
  }

  function references(item, chunk, place) {
    const found = referencesOf(data, chunk, place);
    if (!found.length) return null;
    const figures = found.map(({ n, picture }) => {
      const { src, absent } = pictureOf(data, chunk, place, picture);
      const alt = fill(texts.reference_of, { n, id: data.ids[item] });
      const shown = src ? element("img", { src, alt, decoding: "async" }) : none(texts[absent]);
      return element("figure", {}, shown, element("figcaption", { textContent: fill(texts.reference, { n }) }));
    });
    return element("div", { className: "references" }, ...figures);
  }

  // The best edit of a best item, the worst of a worst one; of a disputed one the edit that judges differ most about.
  function chosenFirst(item, kind) {
    const scores = data.editors.map((_, editor) => data.score[data.cellOf(editor, lead)][item]);
    const ranges = data.editors.map((_, editor) => {
      const cells = data.cellsOf(editor).filter((_, at) => data.highlights.compared.includes(at));
      const found = cells.map((cell) => data.score[cell][item]).filter((score) => score !== null);
      return Math.max(...found) - Math.min(...found);
    });
    const values = kind === "disputed" && between === "judges" ? ranges : scores;
    const sign = kind === "worst" ? -1 : 1;
    const keys = values.map((value) => (value === null || !Number.isFinite(value) ? -Infinity : sign * value));
    return keys.indexOf(Math.max(...keys));
  }

  function compare(item, chunk, place, editor) {
    const [source, edit] = [pictureOf(data, chunk, place, 0), pictureOf(data, chunk, place, editor + 1)];
    const alts = [fill(texts.source_of, { id: data.ids[item] })];
    alts.push(fill(texts.edit_of, { id: data.ids[item], editor: data.editors[editor] }));
    const caption = element("figcaption", {}, keyOf(data, editor), said("b", data.editors[editor]));
    caption.append(...scoresOf(item, editor));
    if (source.src && edit.src) return [slider(source.src, edit.src, alts), caption];
    const words = source.src ? absence(data, item, editor)[edit.absent] : texts.states.source_unreadable;
    const only = source.src ? element("img", { src: source.src, alt: alts[0] }) : null;
    return [element("div", { className: "frame" }, only ?? none(words)), only ? said("p", words) : null, caption].filter(Boolean);
  }

  const none = (words) => element("div", { className: "none", textContent: words });

  function scoresOf(item, editor) {
    const shown = data.judges.map((judge, at) => [judge, at]).filter(([, at]) => !data.rejected.includes(at) || at === lead);
    return shown.map(([judge, at]) => {
      const cell = data.cellOf(editor, at);
      const score = data.score[cell][item];
      const text = score === null ? texts.states[data.stateOf(cell, item)] : score.toFixed(2);
      return said("span", data.judges.length > 1 ? `${judge} ${text}` : text, { className: score === null ? "tag" : "score" });
    });
  }

  function thumbnail(item, chunk, place, editor) {
    const found = pictureOf(data, chunk, place, editor + 1);
    const name = element("span", { className: "name" }, keyOf(data, editor), said("span", data.editors[editor]));
    const cell = data.cellOf(editor, lead);
    const score = data.score[cell][item];
    const value = score === null ? null : element("b", { textContent: score.toFixed(2) });
    const image = found.src ? element("img", { src: found.src, alt: "", decoding: "async" }) : none(absence(data, item, editor)[found.absent]);
    image.style.setProperty("--ratio", chunk.ratio[place]);
    return element("button", { type: "button" }, image, name, value);
  }

  await Promise.all([...document.querySelectorAll("#pictures .pick")].map(stage));
  const busy = byId("pictures");
  busy.ariaBusy = "false";
  busy.classList.add("drawn");
})();

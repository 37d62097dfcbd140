"use strict";
// What the pictures and the gallery share: the data in blocks, elements, pictures and their slider.
const editlane = (() => {
  const byId = (id) => document.getElementById(id);
  const texts = JSON.parse(byId("gallery-texts").textContent);
  const fill = (text, values) => text.replace(/{(\w+)}/g, (_, name) => values[name]);

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

  // The index of all items with what is derived from it; rejected where it cannot be read.
  async function begin() {
    const index = await load("index");
    const uris = byId("gallery-pictures") ? (await load("pictures")).uris : null;
    const { editors, judges } = index;
    const cellOf = (editor, judge) => editor * judges.length + judge;
    return {
      ...index,
      uris,
      unchanged: index.unchanged.map((items) => new Set(items)),
      cellOf,
      cellsOf: (editor) => judges.map((_, judge) => cellOf(editor, judge)),
      stateOf: (cell, item) => index.states[index.state[cell][item]],
      chunkOf: (item) => `items-${Math.floor(item / index.chunk)}`,
      colourOf: (editor) => `var(--e${editor % 8})`,
    };
  }

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

  function keyOf(data, editor) {
    const key = element("i", { className: "key" });
    key.style.setProperty("--c", data.colourOf(editor));
    return key;
  }

  // The further images of an item, counted from 2: they come after the source and the edits of all editors.
  function referencesOf(data, chunk, place) {
    const first = 1 + data.editors.length;
    const paths = chunk.paths.slice(first).map((row) => row[place]);
    return paths.flatMap((path, at) => (path === null ? [] : [{ n: at + 2, picture: first + at }]));
  }

  // A picture (0 is the source, then the editors): its address and that of its file, or the word for why it is not shown.
  function pictureOf(data, chunk, place, picture) {
    const path = chunk.paths[picture][place];
    const shown = data.uris ? chunk.shown[picture][place] : path;
    if (shown === null) return { absent: "none" };
    if (data.uris && typeof shown === "string") return { absent: shown };
    const full = data.folder && [data.folder, ...path.split("/").map(encodeURIComponent)].join("/");
    return { src: data.uris ? data.uris[shown] : full, full };
  }

  // Why there is no edit of an item: the words for each reason.
  function absence(data, item, editor) {
    const state = data.stateOf(data.cellOf(editor, 0), item);
    return { ...texts, none: state === "missing" ? texts.no_edit : texts.states[state] };
  }

  // Two pictures over each other; what is left of a line, moved by mouse, touch or arrow keys, is the first.
  function slider(before, after, alts) {
    const [under, over] = [before, after].map((src, place) => element("img", { src, alt: alts[place], decoding: "async" }));
    under.className = "before";
    over.className = "after";
    const range = element("input", { type: "range", min: 0, max: 100, value: 50, ariaLabel: texts.slider });
    const label = (name, text) => element("span", { className: name, textContent: text, ariaHidden: "true" });
    const ends = [label("end left", texts.source), label("end right", texts.edit)];
    const box = element("div", { className: "slider" }, under, over, label("line", ""), ...ends, range);
    const move = (value) => box.style.setProperty("--at", `${value}%`);
    const follow = (event) => {
      const { left, width } = box.getBoundingClientRect();
      range.value = (100 * (event.clientX - left)) / width;
      move(range.value);
    };
    range.addEventListener("input", () => move(range.value));
    range.addEventListener("pointerdown", (event) => {
      range.setPointerCapture(event.pointerId);
      follow(event);
    });
    range.addEventListener("pointermove", (event) => event.buttons && follow(event));
    move(50);
    return box;
  }

  return { byId, texts, fill, load, begin, element, said, mark, keyOf, pictureOf, referencesOf, absence, slider };
})();

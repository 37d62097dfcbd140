"use strict";
// Every table sorts by the column head that is pressed, and is there to take away as CSV and LaTeX. All of it is made
// from the table as it stands in the page, so a page that was mailed alone can do it, too.
{
  const words = document.getElementById("table-words").dataset;
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  // ---- sorting: within each group of rows, because a group is a category or a judge ----

  // The numbers of a cell such as "6.02 [5.70, 6.31]", "12 / 50", "▲ +0.80" or "< 0.001"; none if a word comes first.
  function readNumbers(text) {
    const found = text.replaceAll("−", "-").replace(/^[<>≈▲▼±\s]+/, "");
    if (!/^[-+]?\d/.test(found)) return null;
    const less = /^\s*</.test(text) ? 1e-9 : 0;
    return [...found.matchAll(/(?:^|[^\d.])([-+]?\d+(?:\.\d+)?)|^([-+]?\d+(?:\.\d+)?)/g)].map((one) => Number(one[1] ?? one[2]) - less);
  }

  function compareNumbers(a, b) {
    for (let place = 0; place < Math.min(a.length, b.length); place++) {
      if (a[place] !== b[place]) return a[place] - b[place];
    }
    return a.length - b.length;
  }

  // The cell of a column, counted from the row's name; the name of its group is no part of the row.
  const cellsOf = (row) => [...row.cells].filter((cell) => cell.scope !== "rowgroup");

  // A column of charts has no text to sort by or to take away.
  const isChart = (cell) => cell.matches(".axis, .drawn");

  function sortBy(table, column, direction, original) {
    const texts = (row) => cellsOf(row)[column]?.textContent.trim() ?? "";
    const every = [...original.values()].flat().map(texts).filter((text) => text && text !== "–");
    const numeric = every.some(readNumbers) && every.filter(readNumbers).length >= every.length / 2;
    for (const [body, rows] of original) {
      const group = body.querySelector('th[scope="rowgroup"]');
      const keys = new Map(rows.map((row) => [row, numeric ? readNumbers(texts(row)) : texts(row) || null]));
      const there = rows.filter((row) => keys.get(row) !== null && texts(row) !== "–");
      const missing = rows.filter((row) => !there.includes(row));
      const compare = numeric ? compareNumbers : (a, b) => a.localeCompare(b, document.documentElement.lang, { numeric: true });
      if (direction) there.sort((a, b) => direction * compare(keys.get(a), keys.get(b)));
      const order = direction ? [...there, ...missing] : rows;
      if (group) order[0].prepend(group);
      body.append(...order);
    }
    return numeric;
  }

  function makeSortable(table) {
    const original = new Map([...table.tBodies].map((body) => [body, [...body.rows]]));
    if (![...original.values()].some((rows) => rows.length > 1)) return;
    const heads = [...table.tHead.rows[0].cells].slice(table.querySelector('th[scope="rowgroup"]') ? 1 : 0);
    for (const [column, head] of heads.entries()) {
      if (isChart(head) || !head.textContent.trim()) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const first = head.dataset.first;
        let next = first ? (now === null ? first : now === first ? (first === "ascending" ? "descending" : "ascending") : null) : null;
        if (!first) { // numbers begin with the highest, names with A
          head.dataset.first = sortBy(table, column, 1, original) ? "descending" : "ascending";
          next = head.dataset.first;
        }
        for (const other of heads) other.removeAttribute("aria-sort");
        if (next) head.setAttribute("aria-sort", next);
        sortBy(table, column, next === null ? 0 : next === "ascending" ? 1 : -1, original);
      });
    }
  }

  // ---- export: the same texts as those of report/tables/, which exports/csv_text.py and exports/latex.py write ----

  const clean = (text) => text.replace(/\s+/g, " ").trim();

  function readTable(table) {
    const texts = (cells) => cells.filter((cell) => !isChart(cell)).map((cell) => clean(cell.textContent));
    const head = texts([...table.tHead.rows[0].cells]);
    const groups = [...table.tBodies].map((body) => {
      const group = body.querySelector('th[scope="rowgroup"]');
      const names = group ? [clean(group.textContent)] : [];
      return [...body.rows].map((row) => [...names, ...texts(cellsOf(row))]);
    });
    return { head, groups, named: table.classList.contains("two") };
  }

  function toCsv({ head, groups }) {
    const cell = (text) => {
      if (text === "–") return "";
      if (/^[-+−]?\d+(\.\d+)?%?$/.test(text)) return text.replace("−", "-");
      const safe = /^[=+\-@＝＋－＠]/.test(text) ? `'${text}` : text;
      return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    return [head, ...groups.flat()].map((row) => row.map(cell).join(",") + "\r\n").join("");
  }

  const LATEX = new Map(Object.entries({
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "`": "\\textasciigrave{}",
    '"': "\\textquotedbl{}", "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}",
    "[": "{[}", "]": "{]}", "*": "{*}", "−": "$-$", "±": "$\\pm$", "×": "$\\times$", "·": "$\\cdot$",
    "°": "$^\\circ$", "–": "--", "—": "---", "…": "\\ldots{}", "▲": "$\\triangle$", "▼": "$\\triangledown$",
    "≈": "$\\approx$", "“": "``", "”": "''", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
  }));

  function toLatex(title, { head, groups, named }, numeric) {
    const text = (cell) => cell.replace(/-(?=-)/g, "-\0").replace(/[^]/gu, (letter) => LATEX.get(letter) ?? letter).replaceAll("\0", "{}");
    const line = (row) => `${row.map(text).join(" & ")} \\\\`;
    const names = named ? 2 : 1;
    const columns = "l".repeat(names) + (numeric ? "r" : "l").repeat(head.length - names);
    const lines = [
      `% ${title}`,
      "% Needs \\usepackage{booktabs}; symbols need amssymb and textcomp, Chinese needs ctex.",
      `\\begin{tabular}{${columns}}`, "\\toprule", line(head),
    ];
    for (const rows of groups.filter((one) => one.length)) {
      lines.push("\\midrule", ...rows.map((row, place) => line(named && place ? ["", ...row.slice(1)] : row)));
    }
    return [...lines, "\\bottomrule", "\\end{tabular}"].join("\n") + "\n";
  }

  function save(name, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" })); // the mark tells Excel of UTF-8
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  function copy(text) { // a page from the disk has no navigator.clipboard everywhere
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    return copied ? Promise.resolve() : navigator.clipboard.writeText(text);
  }

  function offerExports(table) {
    const region = table.closest(".scroll") ?? table;
    const label = document.getElementById(table.getAttribute("aria-labelledby"));
    const title = clean((label ?? table).textContent).replace(label?.tagName === "SUMMARY" ? / \(\d+\)$/ : /$^/, "");
    const name = table.getAttribute("aria-labelledby") ?? "table";
    const bar = document.createElement("p");
    bar.className = "exports";
    const add = (what, act) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = what;
      button.setAttribute("aria-label", fill(words.of, { what, table: title }));
      button.addEventListener("click", () => act(button));
      bar.append(button);
    };
    add(words.csv, () => save(`${name}.csv`, toCsv(readTable(table))));
    add(words.latex, async (button) => {
      await copy(toLatex(title, readTable(table), table.classList.contains("numeric")));
      button.textContent = `${words.latex} – ${words.copied}`;
      setTimeout(() => { button.textContent = words.latex; }, 2000);
      button.focus();
    });
    region.after(bar);
  }

  for (const table of document.querySelectorAll("main table[aria-labelledby]")) {
    makeSortable(table);
    offerExports(table);
  }
  globalThis.editlaneTables = { readTable, toCsv, toLatex };
}

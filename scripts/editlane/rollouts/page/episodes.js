// The last episodes, and the player of their videos.
const LONGEST_LINE = 140;

function showRecent() {
  const { recent } = known.episodes;
  at("last-none").hidden = recent.length > 0;
  const table = at("recent");
  const words = text();
  replaceIfChanged("recent", recent.length > 0, () => {
    if (!recent.length) return [];
    const names = [["time", words.when], ["name", words.episode], ["n seed", words.seed], ["n init", words.initState], ["prompt", words.told], ["result", words.result], ["n steps", words.steps], ["video", words.video]];
    return [makeHead(names), make("tbody", { role: "rowgroup" })];
  });
  if (recent.length) keepChildren(table.querySelector("tbody"), recent, makeEpisodeRow);
  table.classList.toggle("filmed", recent.some((one) => one.video));
}

function makeEpisodeRow(one) {
  const words = text();
  return makeRow([
    ["time", formatTime(new Date(one.time * 1000))],
    ["name", `${one.suite} ${formatTask(one)}`],
    ["n seed", String(one.seed), words.seed],
    ["n init", String(one.init_state), words.initState],
    ["prompt", one.prompt ? fold(one.prompt) : make("span", { class: "soft" }, words.ownWords)],
    ["result", describeResult(one)],
    ["n steps", one.steps === null ? "" : formatNumber(one.steps), words.steps],
    ["video", makeVideoLink(one)],
  ]);
}

const formatTask = (one) => text().taskNumber(one.task_id);

/** A long text begins with its first line's worth and can be opened. */
function fold(content) {
  const short = shorten(content, LONGEST_LINE);
  if (short === content) return content;
  return make("details", {}, make("summary", {}, short), content);
}

function nameResult(one) {
  if (one.solved === null) return text().noResult(one.error_kind);
  return one.solved ? text().solved : text().unsolved;
}

function describeResult(one) {
  if (one.solved !== null) return make("span", { class: one.solved ? "good" : "" }, nameResult(one));
  return make("div", {}, make("span", { class: "alarm" }, nameResult(one)), make("div", { class: "soft", dir: "auto" }, fold(one.error ?? "")));
}

/** A link to the episode's video. The server's own is fetched with the token, which no other address gets. */
function makeVideoLink(one) {
  const address = URL.canParse(one.video ?? "", location.href) && one.video ? new URL(one.video, location.href) : null;
  if (!address || !["http:", "https:"].includes(address.protocol)) return "";
  const link = make("a", { href: address.href, rel: "noreferrer" }, text().watch);
  if (address.origin === location.origin) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      watch(one, address);
    });
  }
  return link;
}

let film = ""; // the address of the video's data
let watched = null;

async function watch(one, address) {
  forgetFilm();
  watched = one;
  write("player-title", `${one.suite} ${formatTask(one)}${text().colon}${nameResult(one)}`);
  write("player-prompt", one.prompt ?? "");
  write("player-said", text().loadingVideo);
  if (!at("player").open) at("player").showModal();
  try {
    const answer = await ask(address.href);
    const content = answer.ok ? await answer.blob() : null;
    if (watched !== one) return; // closed, or another one by now
    if (!content) return write("player-said", answer.status === 404 ? text().videoGone : text().videoTrouble(answer.status));
    showFilm(content, address.pathname.split("/").pop());
  } catch {
    if (watched === one) write("player-said", text().serverGone);
  }
}

function showFilm(content, name) {
  film = URL.createObjectURL(content);
  at("video").src = film;
  at("video").hidden = false;
  at("player-save").href = film;
  at("player-save").download = name;
  at("player-save").hidden = false;
  write("player-said", "");
  at("video").play().catch(() => {}); // a browser may want the person to begin
}

function forgetFilm() {
  watched = null;
  at("video").removeAttribute("src");
  at("video").load();
  at("video").hidden = at("player-save").hidden = true;
  at("player-save").removeAttribute("href");
  if (film) URL.revokeObjectURL(film);
  film = "";
}

function noteUnplayable() {
  if (!film) return;
  at("video").hidden = true;
  write("player-said", text().videoUnplayable);
}

function listenForVideos() {
  at("player-close").addEventListener("click", () => at("player").close());
  at("player").addEventListener("close", () => at("player").open || forgetFilm()); // told late: it may be open again
  at("video").addEventListener("error", noteUnplayable);
}

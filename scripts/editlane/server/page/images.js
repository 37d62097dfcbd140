// The two images of an edit: dropped, chosen or pasted, shown, and checked against the server's limits.
const SIDES = ["source", "edited"];
const images = { source: null, edited: null };

const zone = (side) => document.querySelector(`.image[data-side="${side}"]`);

/** Take a file as the image of a side. It is shown once the browser has read it. */
async function take(side, file) {
  const image = { file, address: URL.createObjectURL(file), width: 0, height: 0, state: "reading" };
  put(side, image);
  const read = new Image(); // not the one on the page, which may show another file by then
  read.src = image.address;
  try {
    await read.decode();
    Object.assign(image, { width: read.naturalWidth, height: read.naturalHeight, state: "shown" });
  } catch {
    image.state = "hidden";
  }
  for (const one of SIDES) if (images[one] === image) showImage(one);
}

function put(side, image) {
  const before = images[side];
  images[side] = image;
  if (before && !Object.values(images).includes(before)) URL.revokeObjectURL(before.address);
  const picture = zone(side).querySelector("img");
  if (image) picture.src = image.address;
  else picture.removeAttribute("src");
  showImage(side);
  noteChange();
}

function swap() {
  const { source, edited } = images;
  images.source = images.edited = null; // `put` gives back what no side has
  images.source = edited;
  put("edited", source);
  put("source", edited);
}

function showImage(side) {
  at("swap").hidden = !images.source && !images.edited;
  const image = images[side];
  const picture = zone(side).querySelector("img");
  const isShown = image !== null && image.state !== "hidden";
  picture.hidden = !isShown;
  picture.alt = isShown ? text().shown[side] : "";
  const invite = zone(side).querySelector(".invite");
  invite.hidden = isShown;
  invite.textContent = image ? text().hidden : text().invite;
  zone(side).classList.toggle("filled", image !== null);
  const pixels = image?.width ? `${formatNumber(image.width)}\u00a0×\u00a0${formatNumber(image.height)}` : "";
  write(`${side}-fact`, image ? text().fact(image.file.name, formatBytes(image.file.size), pixels) : "");
  write(`${side}-problem`, image ? findImageProblem(image) : "");
}

/** Say why the server would not take this image; "" if it would. */
function findImageProblem(image) {
  const limits = known.judges?.limits;
  if (image === null) return text().missing;
  if (image.file.size === 0) return text().empty;
  if (limits && image.file.size > limits.image_bytes) return text().tooManyBytes(formatBytes(limits.image_bytes));
  if (limits && image.width * image.height > limits.image_pixels) return text().tooManyPixels(formatNumber(limits.image_pixels));
  return "";
}

/** Take what was dropped or pasted: one file for this side, two for both. */
function takeAll(side, files) {
  const wrong = files.find((file) => file.type && !file.type.startsWith("image/"));
  if (wrong) return say(text().noImage(wrong.name), true);
  const sides = files.length > 1 ? SIDES : [side];
  sides.forEach((one, place) => take(one, files[place]));
  say(sides.map((one, place) => text().took(text()[one], files[place].name)).join(" · "));
}

/** The side that an image without a place goes to: where the focus is, else the first empty one, else the edit. */
function chooseSide() {
  const focused = document.activeElement?.closest?.(".image")?.dataset.side;
  return focused ?? SIDES.find((side) => images[side] === null) ?? "edited";
}

function paste(event) {
  const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
  if (!files.length || at("main").hidden) return;
  event.preventDefault();
  takeAll(chooseSide(), files);
}

function drop(event) {
  event.preventDefault(); // else the browser leaves the page for the file
  markDropping(null);
  if (at("main").hidden) return;
  const files = [...(event.dataTransfer?.files ?? [])];
  const side = event.target.closest?.(".image")?.dataset.side ?? chooseSide();
  if (files.length) takeAll(side, files);
  else if (event.dataTransfer?.types.includes("text/uri-list")) say(text().link, true);
}

function dragOver(event) {
  event.preventDefault();
  markDropping(event.target.closest?.(".image") ?? null);
}

function markDropping(over) {
  for (const side of SIDES) zone(side).classList.toggle("dropping", zone(side) === over);
}

function listenForImages() {
  addEventListener("paste", paste);
  addEventListener("drop", drop);
  addEventListener("dragover", dragOver);
  addEventListener("dragleave", (event) => event.relatedTarget ?? markDropping(null));
  for (const side of SIDES) {
    at(`${side}-file`).addEventListener("change", (event) => {
      const files = [...event.target.files];
      event.target.value = ""; // the same file can be chosen again
      if (files.length) takeAll(side, files);
    });
  }
  at("swap").addEventListener("click", swap);
}

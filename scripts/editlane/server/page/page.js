// Start: the texts of the form, and its listeners.
function showTexts() {
  for (const side of SIDES) at(`${side}-file`).ariaLabel = text().fileLabel[side];
  showChoices();
  showResult();
  for (const side of SIDES) showImage(side);
}

function listen() {
  listenForImages();
  at("form").addEventListener("submit", send);
  at("form").addEventListener("input", noteChange);
  at("form").addEventListener("input", forgetProblem);
  at("judge").addEventListener("change", showJudge);
  at("cancel").addEventListener("click", () => running?.abort());
  at("instruction").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("form").requestSubmit();
  });
}

listen();
start();

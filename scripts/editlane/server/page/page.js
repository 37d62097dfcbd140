// Start: texts, listeners, the first look at the server.
function showAll() {
  writeStaticTexts();
  showChoices();
  showResult();
  showState();
  for (const side of SIDES) showImage(side);
}

function switchLanguage() {
  lang = lang === "en" ? "zh" : "en";
  remember(LANGUAGE, lang);
  showAll();
}

function listen() {
  listenForImages();
  at("language").addEventListener("click", switchLanguage);
  at("token-form").addEventListener("submit", giveToken);
  at("forget").addEventListener("click", forgetToken);
  at("form").addEventListener("submit", send);
  at("form").addEventListener("input", noteChange);
  at("form").addEventListener("input", forgetProblem);
  at("judge").addEventListener("change", showJudge);
  at("cancel").addEventListener("click", () => running?.abort());
  at("instruction").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("form").requestSubmit();
  });
  document.addEventListener("visibilitychange", () => document.hidden || known.needsToken || poll());
}

listen();
showAll();
poll();

// Start: what is asked besides the state of the pool, and what is shown.
known.episodes = null;
let ended = -1; // episodes that had ended when they were asked for

async function lookFurther() {
  if (known.episodes && !known.goneSince && ended === known.pool.ended_episodes) return;
  const episodes = await readAnswer("/v1/episodes");
  if (!episodes) return;
  known.episodes = episodes;
  ended = known.pool.ended_episodes;
}

function forgetKnown() {
  known.episodes = null;
}

function showTexts() {
  const token = recall(TOKEN) ? " -H 'Authorization: Bearer TOKEN'" : "";
  write("curl", `curl ${location.origin}/score${token} -H 'Content-Type: application/json' -d '{"responses": [""], "metas": [{"task_id": 0}]}'`);
}

function showPool() {
  showWhatIsUp();
  if (!known.episodes) return;
  showTexts();
  showRates();
  showRecent();
}

listenForVideos();
start();

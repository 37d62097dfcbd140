"use strict";
// A printed page shows everything: what is folded is opened, and closed again afterwards.
{
  const folded = [];
  addEventListener("beforeprint", () => {
    folded.push(...document.querySelectorAll("details:not([open])"));
    for (const details of folded) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of folded.splice(0)) details.open = false;
  });
}
// A link to what is folded opens it: the section itself, or all that is around its target.
{
  const unfold = (hash) => {
    let id = hash.slice(1).split("?")[0];
    try {
      id = decodeURIComponent(id);
    } catch {
      return; // a percent sign that is none of an encoding
    }
    const target = document.getElementById(id);
    if (!target) return;
    const inside = target.querySelector(":scope > details.section");
    if (inside) inside.open = true;
    for (let at = target.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
    if (!hash.includes("?")) target.scrollIntoView();
  };
  // Whoever opens a section and reloads the page, or sends its address, finds it open.
  document.addEventListener("click", (event) => {
    const details = event.target.closest("details.section > summary")?.parentElement;
    if (details && !details.open) history.replaceState(null, "", `#${details.parentElement.id}`);
  });
  const menu = document.querySelector("details.menu");
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.hash === location.hash) unfold(link.hash); // no other event tells of it
    if (menu && (link || !menu.contains(event.target))) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && menu?.open) {
      menu.open = false;
      menu.firstElementChild.focus();
    }
  });
  addEventListener("hashchange", () => unfold(location.hash));
  if (location.hash) unfold(location.hash);
}

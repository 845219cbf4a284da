// The page: clicks, keys, links, files to save, light and dark.
const root = document.documentElement;

chips.forEach((chip) => chip.addEventListener("click", () => press(chip)));
search.addEventListener("input", update);
[sort, trust].forEach((select) => select.addEventListener("change", update));
colour.addEventListener("change", recolour);
byId("reset").addEventListener("click", showAll);
search.form.addEventListener("submit", (event) => event.preventDefault());

// Light and dark.
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
const remember = (theme) => { try { localStorage.setItem("cepscope-theme", theme); } catch { /* not allowed here */ } };
const recall = () => { try { return localStorage.getItem("cepscope-theme"); } catch { return null; } };
const switchTheme = () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  remember(root.dataset.theme);
};
if (["light", "dark"].includes(recall())) root.dataset.theme = recall();
byId("theme").addEventListener("click", switchTheme);

// Files to save: what the card shows, under the unit's name.
const saved = {
  sound: (unit) => [unit.querySelector("audio").src, "wav"],
  arrays: (unit) => [unit.dataset.arrays, "npz"],
  pattern: (unit) => [unit.querySelector(".mfcc img").src, "png"],
  spectrogram: (unit) => [unit.querySelector(".sound img").src, "png"],
};
const save = (unit, kind) => {
  whole(unit);
  const [address, suffix] = saved[kind](unit);
  const link = document.createElement("a");
  link.href = address;
  link.download = `${unit.id}-${kind === "arrays" ? "mfcc" : kind}.${suffix}`;
  if (!address.startsWith("data:")) link.target = "_blank"; // of local files browsers save none: they show them
  link.click();
};

// Links: a unit that the choice hides is shown.
const arrive = (unit) => {
  if (!unit) return;
  if (unit.hidden || unit.closest(".layer").hidden) showAll();
  go(unit);
};
addEventListener("hashchange", () => arrive(unitOf(location)));

document.addEventListener("click", (event) => {
  const at = event.target;
  const unit = at.closest("article.unit");
  const button = at.closest("button");
  const link = unitOf(at.closest('a[href^="#"]'));
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    arrive(link);
  } else if (button && unit) {
    if (button.matches(".tap")) playUnit(unit);
    else if (button.matches(".open")) toggleWide(unit);
    else if (button.dataset.clip) playClip(button);
    else if (button.dataset.voice) playVoice(unit, button.dataset.voice);
    else if (button.dataset.save) save(unit, button.dataset.save);
  } else if (button && button.matches(".tour")) playAll(button.closest(".layer"));
});

// What the pointer is on answers to keys, until the keys move elsewhere.
let pointed = null;
let last = "";
document.addEventListener("pointermove", ({ target, screenX, screenY }) => {
  if (last === (last = `${screenX} ${screenY}`)) return; // the page scrolled beneath it
  pointed = target.closest("article.unit") || unitOf(target.closest("a.thumb"));
});
["mouseover", "focusin"].forEach((event) => {
  byId("map").addEventListener(event, ({ target }) => tell(target.closest("a.thumb")));
});

// Keys.
const help = byId("help");
const askHelp = () => { if (!help.open) help.showModal(); };
byId("keys").addEventListener("click", askHelp);
const escape = () => {
  if (now || tour) {
    stop();
    endTour();
  } else if (wide) toggleWide(wide);
};
const always = { "/": () => search.focus(), "?": askHelp, d: switchTheme, Escape: escape };
const moves = {
  ArrowLeft: () => go(beside(visible(), chosen, -1)),
  ArrowRight: () => go(beside(visible(), chosen, 1)),
  j: () => nextLayer(1),
  k: () => nextLayer(-1),
};
const inUnit = {
  ArrowUp: () => go(across(visible(), chosen, -1)),
  ArrowDown: () => go(across(visible(), chosen, 1)),
  Enter: () => toggleWide(chosen),
};
const inMap = (thumb) => {
  const list = visibleThumbs();
  const to = (found) => {
    if (!found) return;
    roam(found);
    found.focus();
  };
  return {
    ArrowLeft: () => to(beside(list, thumb, -1)),
    ArrowRight: () => to(beside(list, thumb, 1)),
    ArrowUp: () => to(across(list, thumb, -1)),
    ArrowDown: () => to(across(list, thumb, 1)),
  };
};
const sounding = (unit) => ({
  " ": () => playUnit(unit),
  a: () => playVoice(unit, "a"),
  b: () => playVoice(unit, "b"),
  c: () => playVoice(unit, "c"),
  x: () => playOther(unit),
  p: () => playAll(unit.closest(".layer"), unit),
  s: () => save(unit, "sound"),
});
const numbered = (unit, key) => {
  whole(unit);
  const clip = all("[data-clip]", unit)[Number(key) - 1];
  return clip ? () => playClip(clip) : null;
};
const actOf = (key, at) => {
  const thumb = at.closest("a.thumb");
  const inside = chosen && chosen.contains(at);
  const pressing = at.closest("button, summary, a:not(.thumb), [role=group][tabindex]");
  if (pressing && !inside && key.startsWith("Arrow")) return pressing.matches("[tabindex]") ? null : moves[key];
  if (thumb && inMap(thumb)[key]) return inMap(thumb)[key];
  if (inside && inUnit[key] && !(key === "Enter" && pressing)) return inUnit[key];
  if (always[key] || moves[key]) return always[key] || moves[key];
  const unit = pointed || unitOf(thumb) || (inside ? chosen : null);
  if (!unit || (pressing && key === " ")) return null;
  return /^[1-9]$/.test(key) ? numbered(unit, key) : sounding(unit)[key];
};
document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  const typing = target.matches("input, select, textarea, audio") && key !== "Escape";
  if (event.ctrlKey || event.metaKey || event.altKey || typing || help.open) return;
  if (key === "Tab" || moves[key] || key.startsWith("Arrow")) pointed = null;
  const act = actOf(key, target);
  if (!act) return;
  event.preventDefault();
  act();
});

update(); // a browser may keep the choices of an earlier visit
recolour();
if (units.length) units[0].tabIndex = 0;
arrive(unitOf(location));

"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const units = all("article.unit");
  const layers = all("section.layer");
  const home = new Map(units.map((unit, place) => [unit, place]));
  const addresses = JSON.parse(byId("clips").textContent);
  const clips = new Map(); // clip id -> Audio, made when first played

  // One sound at a time: whatever starts, the sound before it stops. Events arrive late: the one of a pause may
  // come when the same sound plays again, hence the look at `paused`.
  let now = null; // { audio, unit, button }
  let frame = 0;

  const follow = () => {
    if (!now) return;
    const { audio, unit, button } = now;
    if (!button && audio.duration) {
      const share = `${(100 * audio.currentTime) / audio.duration}%`;
      all(".playhead", unit).forEach((line) => { line.style.left = share; });
    }
    frame = requestAnimationFrame(follow);
  };
  const ended = (audio) => {
    if (!now || now.audio !== audio) return;
    cancelAnimationFrame(frame);
    now.unit.classList.remove("playing");
    now.button?.setAttribute("aria-pressed", "false");
    now = null;
  };
  const started = (audio, unit, button) => {
    if (now && now.audio !== audio) stop();
    else if (now) ended(audio);
    now = { audio, unit, button };
    if (button) button.setAttribute("aria-pressed", "true");
    else unit.classList.add("playing");
    follow();
  };
  const stop = () => {
    if (!now) return;
    const { audio } = now;
    ended(audio);
    audio.pause();
    audio.currentTime = 0;
  };
  const start = (audio) => {
    audio.currentTime = 0;
    audio.play().catch(() => ended(audio));
  };
  const playUnit = (unit) => {
    const audio = unit.querySelector("audio");
    if (audio.paused) start(audio);
    else stop();
  };
  const playClip = (button) => {
    if (now && now.button === button) { stop(); return; }
    const id = button.dataset.clip;
    if (!clips.has(id)) {
      const made = new Audio(addresses[id]);
      ["pause", "ended"].forEach((event) => made.addEventListener(event, () => made.paused && ended(made)));
      clips.set(id, made);
    }
    const audio = clips.get(id);
    stop();
    started(audio, button.closest(".unit"), button);
    start(audio);
  };
  units.forEach((unit) => {
    const audio = unit.querySelector("audio");
    audio.addEventListener("play", () => started(audio, unit, null));
    ["pause", "ended"].forEach((event) => audio.addEventListener(event, () => audio.paused && ended(audio)));
    unit.querySelector(".tap").addEventListener("click", () => playUnit(unit));
    all("button[data-clip]", unit).forEach((button) => button.addEventListener("click", () => playClip(button)));
    unit.addEventListener("focusin", () => choose(unit));
  });

  // The chosen unit: the one that Tab reaches and that the arrow keys start from.
  let chosen = null;
  const choose = (unit) => {
    if (chosen === unit) return;
    if (chosen) chosen.tabIndex = -1;
    chosen = unit;
    unit.tabIndex = 0;
    try { history.replaceState(null, "", `#${unit.id}`); } catch { /* some viewers forbid it for local files */ }
  };
  const visible = () => layers.filter((layer) => !layer.hidden)
    .flatMap((layer) => all("article.unit", layer)).filter((unit) => !unit.hidden);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const go = (unit) => {
    if (!unit) return;
    unit.focus({ preventScroll: true });
    unit.scrollIntoView({ block: "nearest", behavior: calm.matches ? "auto" : "smooth" });
  };
  const beside = (step) => {
    const shown = visible();
    const place = shown.indexOf(chosen);
    go(place < 0 ? shown[0] : shown[place + step]);
  };
  const across = (step) => { // the nearest unit of the row above or below
    const from = chosen.getBoundingClientRect();
    const rows = visible().map((unit) => [unit, unit.getBoundingClientRect()])
      .filter(([, box]) => step * (box.top - from.top) > 1);
    if (!rows.length) return;
    const edge = rows.map(([, box]) => box.top).reduce((a, b) => (step * (a - b) < 0 ? a : b));
    const row = rows.filter(([, box]) => Math.abs(box.top - edge) <= 1);
    go(row.reduce((a, b) => (Math.abs(a[1].left - from.left) <= Math.abs(b[1].left - from.left) ? a : b))[0]);
  };
  const nextLayer = (step) => {
    const shown = layers.filter((layer) => all("article.unit:not([hidden])", layer).length && !layer.hidden);
    const place = shown.findIndex((layer) => chosen && layer.contains(chosen));
    const layer = place < 0 ? shown[0] : shown[place + step];
    if (layer) go(all("article.unit", layer).find((unit) => !unit.hidden));
  };

  // Which units are shown, and in what order.
  const chips = all("[data-show]");
  const search = byId("search");
  const sort = byId("sort");
  const trust = byId("trust");
  const higherFirst = (key) => key !== "mfcc_relative_error";
  const value = (unit, key) => {
    const text = unit.getAttribute(`data-${key}`);
    if (text === "") return Infinity; // not measured: last
    return higherFirst(key) ? -Number(text) : Number(text);
  };
  const update = () => {
    const layer = chips.find((chip) => chip.getAttribute("aria-pressed") === "true").dataset.show;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    units.forEach((unit) => {
      const fits = (!layer || unit.dataset.layer === layer) && (!trust.value || unit.dataset.doubtful === trust.value)
        && words.every((word) => unit.dataset.search.includes(word));
      unit.hidden = !fits;
      count += fits;
      if (!fits && now && now.unit === unit) stop();
    });
    layers.forEach((section) => {
      const cards = all("article.unit", section);
      const key = sort.value;
      cards.sort((a, b) => (key && value(a, key) - value(b, key)) || home.get(a) - home.get(b));
      const grid = section.querySelector(".grid");
      if (cards.some((card, place) => grid.children[place] !== card)) grid.append(...cards);
      section.hidden = cards.every((card) => card.hidden);
    });
    byId("count").textContent = count === 1 ? "1 unit" : `${count} units`;
    document.querySelector(".nothing").hidden = count > 0;
  };
  const press = (chip) => {
    chips.forEach((other) => other.setAttribute("aria-pressed", String(other === chip)));
    update();
  };
  const showAll = () => {
    search.value = "";
    trust.value = "";
    press(chips[0]);
  };
  chips.forEach((chip) => chip.addEventListener("click", () => press(chip)));
  search.addEventListener("input", update);
  [sort, trust].forEach((select) => select.addEventListener("change", update));
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

  // Keys.
  const help = byId("help");
  const askHelp = () => { if (!help.open) help.showModal(); };
  byId("keys").addEventListener("click", askHelp);
  const keys = {
    ArrowLeft: () => beside(-1),
    ArrowRight: () => beside(1),
    j: () => nextLayer(1),
    k: () => nextLayer(-1),
    "/": () => search.focus(),
    "?": askHelp,
    d: switchTheme,
    Escape: stop,
  };
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    const typing = at.matches("input, select, textarea, audio") && event.key !== "Escape";
    if (event.ctrlKey || event.metaKey || event.altKey || typing || help.open) return;
    const inside = chosen && chosen.contains(at);
    const pressing = at.closest("button, a, [role=group][tabindex]");
    let act = keys[event.key];
    if (inside && ["ArrowUp", "ArrowDown"].includes(event.key)) act = () => across(event.key === "ArrowUp" ? -1 : 1);
    if (inside && /^[1-9]$/.test(event.key)) {
      const clip = all("button[data-clip]", chosen)[Number(event.key) - 1];
      if (clip) act = () => playClip(clip);
    }
    if (inside && !pressing && [" ", "Enter"].includes(event.key)) act = () => playUnit(chosen);
    if (!act || (pressing && !inside && event.key.startsWith("Arrow") && pressing.matches("[tabindex]"))) return;
    event.preventDefault();
    act();
  });

  // Deep links: a unit that the choice above hides is shown.
  const arrive = () => {
    const target = byId(decodeURIComponent(location.hash.slice(1)));
    if (!target || !units.includes(target)) return;
    if (target.hidden || target.closest(".layer").hidden) showAll();
    go(target);
  };
  addEventListener("hashchange", arrive);
  update(); // a browser may keep the choice of an earlier visit
  if (units.length) units[0].tabIndex = 0;
  arrive();
})();

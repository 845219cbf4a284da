// Units: which are shown, in what order, which one is chosen, which is enlarged; the map of them.
const units = all("article.unit");
const layers = all("section.layer");
const home = new Map(units.map((unit, place) => [unit, place]));
const thumbs = new Map(all("a.thumb").map((thumb) => [thumb.hash.slice(1), thumb]));
const thumbOf = (unit) => thumbs.get(unit.id);
const unitOf = (link) => { // that a link within the page leads to
  const target = link && link.hash ? byId(link.hash.slice(1)) : null;
  return target && target.matches("article.unit") ? target : null;
};

// On large pages the body of a card waits as text, which is quick to read, and the map's pictures without an address,
// until they come near: a thousand requests at once would keep the page from opening.
const whole = (unit) => {
  const rest = unit.querySelector(":scope > script");
  if (!rest) return;
  rest.insertAdjacentHTML("afterend", rest.textContent);
  rest.remove();
  unit.classList.remove("later");
};
const show = (picture) => {
  picture.src = picture.dataset.later;
  picture.removeAttribute("data-later");
};
const wait = (selector, act, rootMargin) => {
  const watch = new IntersectionObserver((seen) => seen.filter((one) => one.isIntersecting).forEach(({ target }) => {
    act(target);
    watch.unobserve(target);
  }), { rootMargin });
  all(selector).forEach((one) => watch.observe(one));
};
wait(".unit.later", whole, "100% 0%");
wait("[data-later]", show, "10% 0%");
addEventListener("beforeprint", () => {
  units.forEach(whole);
  all("[data-later]").forEach(show);
});

// The chosen unit: the one that Tab reaches and that the arrow keys start from. One may be enlarged.
let chosen = null;
let wide = null;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const choose = (unit) => {
  if (chosen === unit) return;
  if (chosen) chosen.tabIndex = -1;
  chosen = unit;
  unit.tabIndex = 0;
  whole(unit);
  try { history.replaceState(null, "", `#${unit.id}`); } catch { /* some viewers forbid it for local files */ }
};
const enlarge = (unit) => { // null: none
  if (wide) {
    wide.classList.remove("wide");
    wide.parentElement.classList.remove("dense");
    wide.querySelector(".open").setAttribute("aria-expanded", "false");
  }
  wide = unit;
  if (!unit) return;
  whole(unit);
  unit.classList.add("wide");
  unit.parentElement.classList.add("dense");
  unit.querySelector(".open").setAttribute("aria-expanded", "true");
};
const go = (unit) => {
  if (!unit) return;
  if (wide && wide !== unit) enlarge(unit);
  unit.focus({ preventScroll: true });
  unit.scrollIntoView({ block: "nearest", behavior: calm.matches ? "auto" : "smooth" });
};
const toggleWide = (unit) => {
  enlarge(wide === unit ? null : unit);
  go(unit);
};
const visible = () => layers.filter((layer) => !layer.hidden)
  .flatMap((layer) => all("article.unit", layer)).filter((unit) => !unit.hidden);
const visibleThumbs = () => all("a.thumb").filter((thumb) => !thumb.parentElement.hidden);
const beside = (list, from, step) => {
  const place = list.indexOf(from);
  return place < 0 ? list[0] : list[place + step];
};
const across = (list, from, step) => { // the nearest of the row above or below
  const { top, left } = from.getBoundingClientRect();
  const rows = list.map((one) => [one, one.getBoundingClientRect()]).filter(([, box]) => step * (box.top - top) > 1);
  if (!rows.length) return null;
  const edge = rows.map(([, box]) => box.top).reduce((a, b) => (step * (a - b) < 0 ? a : b));
  const row = rows.filter(([, box]) => Math.abs(box.top - edge) <= 1);
  return row.reduce((a, b) => (Math.abs(a[1].left - left) <= Math.abs(b[1].left - left) ? a : b))[0];
};
const nextLayer = (step) => {
  const shown = layers.filter((layer) => all("article.unit:not([hidden])", layer).length && !layer.hidden);
  const place = shown.findIndex((layer) => chosen && layer.contains(chosen));
  const layer = place < 0 ? shown[0] : shown[place + step];
  if (layer) go(all("article.unit", layer).find((unit) => !unit.hidden));
};
document.addEventListener("focusin", ({ target }) => {
  const unit = target.closest("article.unit");
  if (unit) choose(unit);
});

// Which units are shown, and in what order; the map keeps pace.
const chips = all("[data-show]");
const search = byId("search");
const sort = byId("sort");
const trust = byId("trust");
const lowerFirst = ["mfcc_relative_error", "rank"];
const value = (unit, key) => {
  const text = unit.getAttribute(`data-${key}`);
  if (text === "") return Infinity; // not measured: last
  return lowerFirst.includes(key) ? Number(text) : -Number(text);
};
const reorder = (parent, children) => {
  if (children.some((child, place) => parent.children[place] !== child)) parent.append(...children);
};
const update = () => {
  const layer = chips.find((chip) => chip.getAttribute("aria-pressed") === "true").dataset.show;
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  units.forEach((unit) => {
    const fits = (!layer || unit.dataset.layer === layer) && (!trust.value || unit.dataset.doubtful === trust.value)
      && words.every((word) => unit.dataset.search.includes(word));
    unit.hidden = !fits;
    thumbOf(unit).parentElement.hidden = !fits;
    count += fits;
    if (!fits && now && now.unit === unit) stop();
  });
  const key = sort.value;
  layers.forEach((section) => {
    const cards = all("article.unit", section);
    const order = new Map(cards.map((card) => [card, key ? value(card, key) : 0]));
    cards.sort((a, b) => (order.get(a) < order.get(b) ? -1 : Number(order.get(a) > order.get(b))) || home.get(a) - home.get(b));
    reorder(section.querySelector(".grid"), cards);
    const row = document.querySelector(`[data-of="${section.id}"]`);
    reorder(row, cards.map((card) => thumbOf(card).parentElement));
    section.hidden = row.parentElement.hidden = cards.every((card) => card.hidden);
  });
  byId("count").textContent = count === 1 ? "1 unit" : `${count} units`;
  document.querySelector(".nothing").hidden = count > 0;
  roam(visibleThumbs()[0]);
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

// The map: one stop for Tab, arrows within; colours by the score that is asked for.
const colour = byId("colour");
let roaming = null;
const roam = (thumb) => {
  if (roaming) roaming.tabIndex = -1;
  roaming = thumb || null;
  if (roaming) roaming.tabIndex = 0;
};
const recolour = () => {
  const place = colour.selectedIndex;
  const { low, high } = colour.selectedOptions[0].dataset;
  thumbs.forEach((thumb) => {
    thumb.classList.remove(...[...thumb.classList].filter((name) => /^q.$/.test(name)));
    thumb.classList.add(`q${thumb.dataset.colours.split(" ")[place]}`);
  });
  [byId("scale").firstElementChild.textContent, byId("scale").lastElementChild.textContent] = [low, high];
};
const tell = (thumb) => {
  const unit = thumb && unitOf(thumb);
  const key = colour.value;
  const text = unit ? unit.getAttribute(`data-${key}`) : "";
  const name = unit ? thumb.firstElementChild.alt : "";
  byId("here").textContent = unit ? `${name}: ${text ? Number(text).toFixed(2).replace("-", "−") : "–"}` : "";
};

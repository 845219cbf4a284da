// Sounds: one at a time, playheads, the three voices of a unit, all of a layer in a row.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);
const addresses = JSON.parse(byId("clips").textContent);
const clips = new Map(); // clip id -> Audio, made when first played
const PAUSE = 300; // ms between two sounds of a tour

// Whatever starts, the sound before it stops. Events arrive late: the one of a pause may come when the same sound
// plays again, hence the looks at `paused`.
let now = null; // { audio, unit, marks, heads, begin, length, until, then }
let frame = 0;

const follow = () => {
  if (!now) return;
  const { audio, heads, begin, until } = now;
  const length = now.length || audio.duration;
  if (length) heads.forEach((line) => { line.style.left = `${(100 * (audio.currentTime - begin)) / length}%`; });
  if (until && audio.currentTime >= until) stop();
  else frame = requestAnimationFrame(follow);
};
const mark = (on) => {
  const [place, ...buttons] = now.marks;
  place.classList.toggle("playing", on);
  buttons.forEach((button) => button.setAttribute("aria-pressed", String(on)));
  all(`a[href="#${now.unit.id}"].thumb`).forEach((thumb) => thumb.classList.toggle("heard", on));
};
const ended = (audio) => {
  if (!now || now.audio !== audio) return;
  cancelAnimationFrame(frame);
  mark(false);
  const { then } = now;
  now = null;
  if (then && audio.ended) then();
  else if (then) endTour();
};
const started = (sound) => {
  if (now && now.audio !== sound.audio) stop();
  else if (now) ended(sound.audio);
  if (tour && !sound.then) endTour();
  now = { begin: 0, length: 0, until: 0, then: null, ...sound };
  mark(true);
  follow();
};
const stop = () => {
  if (!now) return;
  const { audio } = now;
  ended(audio);
  audio.pause();
  audio.currentTime = 0;
};
const start = (audio, from = 0) => {
  const own = now;
  audio.currentTime = Math.max(from, 0);
  audio.play().catch(() => now === own && ended(audio)); // one that was stopped before it began is told late
};

const voice = (unit, name) => unit.querySelector(`[data-voice="${name}"]`);
const ofUnit = (unit, then = null) => ({
  audio: unit.querySelector("audio"),
  unit,
  marks: [unit, ...all('[data-voice="a"]', unit)],
  heads: all(".plot .playhead", unit),
  then,
});
const playUnit = (unit, then = null) => {
  whole(unit);
  unit.last = "a";
  const sound = ofUnit(unit, then);
  if (now && now.audio === sound.audio && !then) { stop(); return; }
  started(sound);
  start(sound.audio);
};
const playClip = (button, part = false) => { // the whole clip, or what the network sees of it
  const unit = button.closest(".unit");
  const pressed = voice(unit, part ? "b" : "c");
  if (now && now.marks[0] === button && now.marks.includes(pressed)) { stop(); return; }
  const id = button.dataset.clip;
  if (!clips.has(id)) {
    const made = new Audio(addresses[id]);
    ["pause", "ended"].forEach((event) => made.addEventListener(event, () => made.paused && ended(made)));
    clips.set(id, made);
  }
  unit.real = button;
  unit.last = "b";
  const audio = clips.get(id);
  const begin = Number(button.dataset.begin);
  const length = Number(button.dataset.length);
  const heads = all(".playhead", button);
  stop();
  started({ audio, unit, marks: [button, button, pressed], heads, begin, length, until: part ? begin + length : 0 });
  start(audio, part ? begin : 0);
};
const playVoice = (unit, name) => {
  whole(unit);
  const real = unit.real || unit.querySelector("[data-clip]");
  if (name === "a") playUnit(unit);
  else if (real) playClip(real, name === "b");
};
const playOther = (unit) => playVoice(unit, unit.last === "a" ? "b" : "a"); // of pattern and real clip

// All of a layer in a row, from one unit on.
let tour = null; // { button, waiting }
const endTour = () => {
  if (!tour) return;
  clearTimeout(tour.waiting);
  tour.button.setAttribute("aria-pressed", "false");
  tour = null;
};
const playFrom = (list, button) => {
  const own = { button, waiting: 0 };
  const next = (place) => {
    if (tour !== own) return;
    if (place >= list.length) { endTour(); return; }
    go(list[place]);
    playUnit(list[place], () => { own.waiting = setTimeout(next, PAUSE, place + 1); });
  };
  stop();
  endTour();
  tour = own;
  button.setAttribute("aria-pressed", "true");
  next(0);
};
const playAll = (layer, from = null) => {
  const button = layer.querySelector(".tour");
  if (tour && tour.button === button) { stop(); endTour(); return; }
  const list = visible().filter((unit) => layer.contains(unit));
  playFrom(list.slice(Math.max(list.indexOf(from), 0)), button);
};

// The browsers' own controls count as well.
document.addEventListener("play", ({ target }) => {
  if (!target.paused && (!now || now.audio !== target)) started(ofUnit(target.closest(".unit")));
}, true);
["pause", "ended"].forEach((event) => {
  document.addEventListener(event, ({ target }) => target.paused && ended(target), true);
});

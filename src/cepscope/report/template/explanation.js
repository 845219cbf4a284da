"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const recording = byId("recording");
  const { name } = recording.dataset;
  const seconds = Number(recording.dataset.seconds);
  const play = recording.querySelector(".play");
  const slider = recording.querySelector("input");
  const clock = recording.querySelector(".clock");
  const over = recording.querySelector(".over");
  const playhead = over.querySelector(".playhead");
  const moments = all("#moments button");
  const say = (text) => { byId("now").textContent = text; };

  // The recording is one sound, or of a long one some excerpts; all know where they begin.
  const parts = all("audio.heard").map((audio) => ({
    audio, begin: Number(audio.dataset.begin), end: Number(audio.dataset.begin) + Number(audio.dataset.length),
  }));
  const away = (part, time) => Math.max(part.begin - time, time - part.end, 0);
  let part = parts[0]; // the one that the place in time lies in
  let until = Infinity; // where to stop, if a moment is played and not all
  let from = 0;
  let side = null; // the figure whose moment is played
  let own = null; // a unit's sound that is played, and its figure
  let frame = 0;

  const now = () => Math.min(part.begin + part.audio.currentTime, seconds);
  const show = () => {
    const time = now();
    playhead.style.left = `${(100 * time) / seconds}%`;
    slider.value = time;
    clock.textContent = `${time.toFixed(2)} / ${seconds.toFixed(2)} s`;
    moments.forEach((one) => {
      const near = Math.abs(Number(one.dataset.time) - time) < 0.02;
      if (near) one.setAttribute("aria-current", "true");
      else one.removeAttribute("aria-current");
    });
    if (side) {
      const tap = side.querySelector(".tap");
      const [start, stop] = [Number(tap.dataset.start), Number(tap.dataset.stop)];
      side.querySelector(".playhead").style.left = `${(100 * (time - start)) / (stop - start)}%`;
    }
    if (own && own.audio.duration) {
      own.figure.querySelector(".playhead").style.left = `${(100 * own.audio.currentTime) / own.audio.duration}%`;
    }
  };
  const paint = () => {
    const sounds = !part.audio.paused;
    recording.classList.toggle("playing", sounds);
    play.setAttribute("aria-label", `${sounds ? "Pause" : "Play"} ${name}`);
    all("figure.side").forEach((figure) => {
      figure.classList.toggle("playing", (sounds && figure === side) || Boolean(own && own.figure === figure && !own.audio.paused));
    });
    show();
  };
  const follow = () => {
    cancelAnimationFrame(frame);
    if (part.audio.paused && !(own && !own.audio.paused)) return;
    if (now() >= until) {
      if (byId("loop").getAttribute("aria-pressed") === "true") seek(from);
      else part.audio.pause();
    }
    show();
    frame = requestAnimationFrame(follow);
  };
  const prepare = (audio) => {
    if (audio.preload === "auto") return;
    audio.preload = "auto";
    if (audio.paused) audio.load();
  };
  const hush = () => {
    if (!own) return;
    own.audio.pause();
    own.audio.currentTime = 0;
    own = null;
  };
  const whole = () => { until = Infinity; from = 0; side = null; };
  const seek = (time) => {
    const next = parts.reduce((best, one) => (away(one, time) < away(best, time) ? one : best));
    const sounds = !part.audio.paused;
    if (next !== part) {
      part.audio.pause();
      part = next;
      prepare(part.audio);
      if (sounds) part.audio.play().catch(paint);
    }
    part.audio.currentTime = Math.min(Math.max(time, part.begin), part.end) - part.begin;
    show();
  };
  const start = () => {
    hush();
    prepare(part.audio);
    part.audio.play().catch(paint);
  };
  const toggle = () => {
    if (part.audio.paused) {
      if (now() >= Math.min(until, part.end) - 0.01) seek(until < Infinity ? from : parts.length > 1 ? part.begin : 0);
      start();
    } else part.audio.pause();
  };
  const playFromTo = (begin, end, figure, text) => {
    whole();
    [from, until, side] = [begin, end, figure];
    seek(begin);
    say(text);
    start();
    paint();
  };
  const playOwn = (figure) => {
    const audio = figure.querySelector("audio.own");
    if (!audio) return;
    if (own && own.audio === audio && !audio.paused) { hush(); paint(); return; }
    hush();
    part.audio.pause();
    own = { audio, figure };
    prepare(audio);
    say(audio.getAttribute("aria-label"));
    audio.play().catch(paint);
  };

  parts.forEach(({ audio }) => {
    audio.controls = false; // without a script they are all there is
    audio.hidden = true;
    audio.addEventListener("play", () => {
      if (audio.paused) return;
      const mine = parts.find((one) => one.audio === audio);
      if (mine !== part) { part.audio.pause(); part = mine; whole(); }
      hush();
      paint();
      follow();
    });
    audio.addEventListener("pause", paint);
    audio.addEventListener("ended", () => {
      if (byId("loop").getAttribute("aria-pressed") === "true") { seek(until < Infinity ? from : part.begin); start(); }
      paint();
    });
  });
  all("audio.own").forEach((audio) => {
    audio.controls = false;
    audio.hidden = true;
    audio.addEventListener("play", () => {
      if (audio.paused) return;
      part.audio.pause();
      paint();
      follow();
    });
    ["pause", "ended"].forEach((event) => audio.addEventListener(event, paint));
  });

  play.addEventListener("click", () => { whole(); toggle(); });
  slider.addEventListener("input", () => { whole(); seek(Number(slider.value)); });
  const timeAt = (event) => {
    const box = over.getBoundingClientRect();
    return seconds * Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  };
  over.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    whole();
    seek(timeAt(event));
    over.setPointerCapture(event.pointerId);
  });
  over.addEventListener("pointermove", (event) => { if (event.buttons & 1) seek(timeAt(event)); });

  const playMoment = (button) => playFromTo(Number(button.dataset.start), Number(button.dataset.stop), null, button.getAttribute("aria-label"));
  moments.forEach((button) => button.addEventListener("click", () => playMoment(button)));
  const playSide = (figure) => {
    const tap = figure && figure.querySelector(".tap");
    if (!tap) return;
    if (figure.dataset.side === "b") playOwn(figure);
    else if (figure === side && !part.audio.paused) part.audio.pause();
    else playFromTo(Number(tap.dataset.start), Number(tap.dataset.stop), figure, tap.getAttribute("aria-label"));
  };
  all("figure.side").forEach((figure) => figure.querySelector(".tap")?.addEventListener("click", () => playSide(figure)));

  // Keys: of the recording anywhere, A and B for the unit that was chosen last.
  const units = all("article.unit");
  let at = units[0];
  const choose = (unit) => {
    if (at) at.tabIndex = -1;
    at = unit;
    unit.tabIndex = 0;
  };
  units.forEach((unit) => unit.addEventListener("focusin", () => choose(unit)));
  const beside = (step) => {
    const time = now();
    const later = moments.filter((one) => step * (Number(one.dataset.time) - time) > 0.02);
    const next = step > 0 ? later[0] : later[later.length - 1];
    if (!next) return;
    whole();
    seek(Number(next.dataset.time));
    say(next.getAttribute("aria-label").replace(/^Play /, ""));
  };
  const repeat = () => {
    const on = byId("loop").getAttribute("aria-pressed") !== "true";
    byId("loop").setAttribute("aria-pressed", String(on));
  };
  byId("loop").addEventListener("click", repeat);
  const keys = {
    " ": () => { whole(); toggle(); },
    ArrowLeft: () => beside(-1),
    ArrowRight: () => beside(1),
    a: () => at && playSide(at.querySelector("[data-side=a]")),
    b: () => at && playSide(at.querySelector("[data-side=b]")),
    r: repeat,
    Escape: () => { hush(); part.audio.pause(); whole(); seek(0); paint(); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const on = event.target;
    if (event.key === " " && on.closest("button, a")) return; // it presses that
    if (event.key.startsWith("Arrow") && on.closest("input, [role=group][tabindex]")) return; // it moves that
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  if (at) at.tabIndex = 0;
  paint();
})();

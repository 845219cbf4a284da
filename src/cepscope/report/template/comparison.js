"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  // A row has one place in time and one chosen sound; its audio elements only follow.
  const rows = all("article.item").map((element) => ({
    element,
    name: element.dataset.name,
    seconds: Number(element.dataset.seconds),
    audios: all("audio", element),
    choices: all("[data-choice]", element),
    tiles: all("[data-tile]", element),
    pictures: all("[data-seek]", element),
    playheads: all(".playhead", element).map((line) => ( // a sound may be shorter than its row
      { line, seconds: Number(line.closest("[data-seconds]").dataset.seconds) })),
    play: element.querySelector(".play"),
    slider: element.querySelector("input"),
    clock: element.querySelector(".clock"),
    chosen: 0,
  }));
  let at = rows[0]; // the row that keys go to
  let now = null; // the row that sounds, or sounded last: one at a time
  let frame = 0;

  const audioOf = (row) => row.audios[row.chosen];
  const show = (row) => {
    const time = Math.min(audioOf(row).currentTime, row.seconds);
    row.playheads.forEach(({ line, seconds }) => { line.style.left = `${(100 * Math.min(time, seconds)) / seconds}%`; });
    row.slider.value = time;
    row.clock.textContent = `${time.toFixed(2)} / ${row.seconds.toFixed(2)} s`;
    row.element.classList.toggle("started", time > 0);
  };
  const paint = (row) => {
    const sounds = !audioOf(row).paused;
    row.element.classList.toggle("playing", sounds);
    row.play.setAttribute("aria-label", `${sounds ? "Pause" : "Play"} ${row.name}`);
    row.choices.forEach((choice, i) => choice.setAttribute("aria-pressed", String(i === row.chosen)));
    row.tiles.forEach((tile, i) => {
      tile.classList.toggle("chosen", i === row.chosen);
      tile.classList.toggle("sounding", sounds && i === row.chosen);
    });
    show(row);
  };
  const follow = () => {
    cancelAnimationFrame(frame);
    if (!now || audioOf(now).paused) return;
    show(now);
    frame = requestAnimationFrame(follow);
  };
  const say = (row) => {
    const choice = row.choices[row.chosen]; // a row of one sound has none
    byId("now").textContent = choice ? `${row.name}: ${choice.lastChild.textContent}` : row.name;
  };

  // Sounds are decoded once their row is used, so that a switch finds them ready.
  const prepare = (row) => row.audios.forEach((audio) => {
    if (audio.preload === "auto") return;
    audio.preload = "auto";
    if (audio.paused) audio.load();
  });
  const stop = (row) => {
    audioOf(row).pause();
    audioOf(row).currentTime = 0;
    paint(row);
  };
  const start = (row) => {
    prepare(row);
    say(row);
    audioOf(row).play().catch(() => paint(row));
  };
  const toggle = (row) => {
    if (audioOf(row).paused) start(row);
    else audioOf(row).pause();
  };
  const choose = (row, i) => {
    if (i === row.chosen) { say(row); return; }
    prepare(row);
    const from = audioOf(row);
    const to = row.audios[i];
    const sounds = !from.paused;
    from.pause(); // first: the place in time then stands still
    to.currentTime = Math.min(from.currentTime, Number.isFinite(to.duration) ? to.duration : row.seconds);
    row.chosen = i;
    if (sounds) start(row);
    else say(row);
    paint(row);
    const tile = row.tiles[i];
    const view = tile.parentElement; // scrolled by hand: scrollIntoView would move the page as well
    const left = tile.offsetLeft - view.offsetLeft;
    if (left < view.scrollLeft || left + tile.offsetWidth > view.scrollLeft + view.clientWidth) view.scrollLeft = left;
  };

  rows.forEach((row) => {
    row.audios.forEach((audio, i) => {
      audio.controls = false; // without a script they are all there is
      audio.addEventListener("play", () => { // also by a key of the keyboard's own, or a headset's
        if (audio.paused) return;
        row.audios.forEach((other) => { if (other !== audio) other.pause(); });
        if (now && now !== row) stop(now);
        row.chosen = i;
        now = row;
        paint(row);
        follow();
      });
      audio.addEventListener("pause", () => { if (row.chosen === i) paint(row); });
      audio.addEventListener("ended", () => { if (row.chosen === i) stop(row); });
    });
    row.choices.forEach((choice, i) => choice.addEventListener("click", () => {
      if (i === row.chosen) toggle(row);
      else choose(row, i);
    }));
    row.tiles.forEach((tile, i) => tile.querySelector(".tap").addEventListener("click", () => {
      if (i === row.chosen) { toggle(row); return; }
      choose(row, i);
      if (audioOf(row).paused) start(row);
    }));
    row.play.addEventListener("click", () => toggle(row));
    const seek = (time) => {
      prepare(row);
      audioOf(row).currentTime = time;
      show(row);
    };
    row.slider.addEventListener("input", () => seek(Number(row.slider.value)));
    row.pictures.forEach((picture) => {
      const there = (event) => {
        const box = picture.getBoundingClientRect();
        seek(row.seconds * Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1));
      };
      picture.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        picture.setPointerCapture(event.pointerId);
        there(event);
      });
      picture.addEventListener("pointermove", (event) => { if (event.buttons & 1) there(event); });
    });
    row.element.addEventListener("focusin", () => {
      at.element.tabIndex = -1;
      at = row;
      row.element.tabIndex = 0;
      prepare(row);
    });
    paint(row);
  });

  const repeat = () => {
    const on = byId("loop").getAttribute("aria-pressed") !== "true";
    byId("loop").setAttribute("aria-pressed", String(on));
    rows.forEach((row) => row.audios.forEach((audio) => { audio.loop = on; }));
  };
  byId("loop").addEventListener("click", repeat);

  const go = (row) => {
    if (!row) return;
    row.element.focus({ preventScroll: true });
    row.element.scrollIntoView({ block: "nearest", behavior: calm.matches ? "auto" : "smooth" });
  };
  const beside = (step) => {
    const inside = at.element.contains(document.activeElement);
    go(inside ? rows[rows.indexOf(at) + step] : at);
  };
  const keys = {
    ArrowUp: () => beside(-1),
    ArrowDown: () => beside(1),
    " ": () => toggle(at),
    r: repeat,
    Escape: () => now && stop(now),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && event.target.closest("button, a")) return; // it presses that
    let act = keys[event.key];
    if (/^[1-9]$/.test(event.key)) {
      const i = at.choices.findIndex((choice) => Number(choice.dataset.choice) === Number(event.key) - 1);
      const onChoice = at.choices.includes(document.activeElement);
      if (i >= 0) act = () => { choose(at, i); if (onChoice) at.choices[i].focus(); };
    }
    if (!act) return;
    event.preventDefault();
    act();
  });
  at.element.tabIndex = 0;
  const target = rows.find((row) => location.hash === `#${row.element.id}`);
  if (target) go(target);
})();

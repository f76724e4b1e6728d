"use strict";
// The player: which clip is chosen, and everything that shows it.

const Listen = (() => {
  const chosen = { prompt: 0, seed: "0", condition: 0 };
  let line = [];
  let following = false; // whether the playhead moves
  let present = null; // the clip that is chosen; it sounds as soon as it is loaded
  const listeners = [];
  const canvas = byId("spectrogram");
  let steered = null; // the steered clip that was chosen last, for A/B
  let pairIsOurs = true; // until the reader chooses prompt or seed, each direction shows the pair that is played first
  const READOUT = ["tempo_bpm", "onset_rate_hz", "spectral_centroid_hz", "loudness_lufs", "kl_nats"];

  // Prompts and seeds with something to hear; all of them if there is nothing.
  const audible = DATA.clips.some((clip) => clip.audio) ? DATA.clips.filter((clip) => clip.audio) : DATA.clips;
  const prompts = [...new Set(audible.map((clip) => clip.prompt))].sort((one, other) => one - other);
  const seedsOf = (prompt) => [...new Set(audible.filter((clip) => clip.prompt === prompt).map((clip) => clip.seed))]
    .sort((one, other) => Number(one) - Number(other));
  const conditionsHere = () => (DATA.conditions.length ? DATA.conditions : [{ label: "unsteered", detail: "" }]);

  function fill(select, options, value) {
    select.replaceChildren(...options.map(([key, text]) => make("option", { value: key, textContent: text })));
    select.value = value;
  }

  // The clip of the new line that is nearest in strength, so that changing prompt or seed keeps alpha.
  function nearest(alpha) {
    const distance = (clip) => Math.abs(clip.alpha - alpha) + (clip.audio ? 0 : 1e-9);
    return line.reduce((best, clip) => (distance(clip) < distance(best) ? clip : best), line[0]);
  }

  function show(prompt, seed, condition, alpha) {
    const seeds = seedsOf(prompt);
    Object.assign(chosen, { prompt, seed: seeds.includes(seed) ? seed : seeds[0], condition });
    line = lineOf(chosen.prompt, chosen.seed, chosen.condition);
    fill(byId("seed"), seeds.map((one) => [one, one]), chosen.seed);
    byId("prompt").value = String(chosen.prompt);
    byId("condition").value = String(chosen.condition);
    const { negative = "", positive = "", detail = "" } = conditionsHere()[chosen.condition] ?? {};
    byId("negative").textContent = negative && `← ${negative}`;
    byId("positive").textContent = positive && `${positive} →`;
    byId("condition").title = detail;
    steered = null;
    const range = byId("alpha");
    Object.assign(range, { max: Math.max(0, line.length - 1), disabled: line.length < 2 });
    range.setAttribute("aria-label", "Strength alpha");
    byId("ticks").replaceChildren(...line.map((clip, index) => make("button", {
      type: "button", textContent: alphaText(clip.alpha), tabIndex: -1, onclick: () => move(index),
      className: clip.audio ? "" : "silent", title: clip.audio ? "" : "no audio",
    })));
    byId("ticks").classList.toggle("many", line.length > 9);
    return line.length ? select(nearest(alpha)) : nothing();
  }

  function nothing() {
    present = null;
    byId("status").textContent = "No clip of this prompt, seed and condition.";
    render();
    return Promise.resolve(false);
  }

  const move = (index) => (line[index] && line[index] !== present ? select(line[index]) : Promise.resolve(false));
  const step = (by) => move(Math.max(0, Math.min(line.length - 1, line.indexOf(present) + by)));

  // Between the unsteered clip, or what comes nearest, and the steered one that was heard last.
  function compare() {
    const zero = nearest(0);
    const other = line.includes(steered) ? steered : line.at(-1);
    return move(line.indexOf(present === zero ? other : zero));
  }

  async function select(clip) {
    present = clip;
    if (clip !== nearest(0)) steered = clip;
    render();
    byId("status").textContent = "";
    const slow = setTimeout(() => { if (present === clip) byId("status").textContent = "Loading the clip…"; }, 150);
    try {
      const done = await Player.choose(clip, line);
      if (done) {
        byId("status").textContent = "";
        preload();
      }
      return done;
    } catch (error) {
      if (present === clip) {
        byId("status").textContent = `Nothing to hear: ${error.message}.`;
        Player.pause();
        Spectrogram.draw(canvas, null, null);
      }
      return false;
    } finally {
      clearTimeout(slow);
    }
  }

  // The neighbours in strength: where the next step goes.
  function preload() {
    const index = line.indexOf(present);
    for (const clip of [line[index + 1], line[index - 1]]) {
      if (clip?.audio) ClipLoader.load(clip).then((buffer) => Spectrogram.prepare(clip, buffer)).catch(() => {});
    }
  }

  function readoutItem(measure, clip, zero) {
    const item = make("div", {}, make("dt", { textContent: measure.label }));
    item.append(make("dd", { textContent: withUnit(numberText(measureOf(clip, measure.key), measure.digits), measure.unit) }));
    const change = clip === zero ? null : changeOf(clip, zero, measure);
    const text = isNumber(change) ? withUnit(signedText(change, changeDigits(measure)), measure.changeUnit) : "\u00a0";
    if (measure.key !== "kl_nats") item.append(make("dd", { className: "change", textContent: text }));
    return item;
  }

  // What depends on the chosen clip.
  function render() {
    const index = Math.max(0, line.indexOf(present));
    const range = byId("alpha");
    range.value = String(index);
    const text = present ? alphaText(present.alpha) : "–";
    range.setAttribute("aria-valuetext", `alpha ${text}`);
    byId("alpha-value").textContent = text;
    byId("dock-alpha").textContent = `α ${text}`;
    range.style.setProperty("--share", line.length > 1 ? index / (line.length - 1) : 0.5);
    [...byId("ticks").children].forEach((tick, place) => tick.classList.toggle("present", place === index));
    const zero = present && unsteeredOf(present);
    byId("readout").replaceChildren(...(present ? READOUT : []).filter((key) => MEASURES.has(key))
      .map((key) => readoutItem(MEASURES.get(key), present, zero)));
    byId("first").textContent = firstText();
    byId("command").textContent = present?.command ?? "";
    const condition = conditionsHere()[chosen.condition]?.label ?? "";
    byId("dock-text").textContent = `${DATA.prompts[chosen.prompt]} · seed ${chosen.seed} · ${condition}`;
    byId("save").disabled = !present?.audio;
    byId("compare").disabled = line.length < 2;
    byId("compare").setAttribute("aria-pressed", String(Boolean(present) && present !== nearest(0)));
    listeners.forEach((listener) => listener());
  }

  // What depends on what sounds.
  function renderSound() {
    const { playing, clip, buffer, matched } = Player.state;
    for (const id of ["play", "dock-play"]) byId(id).classList.toggle("playing", playing);
    byId("play").setAttribute("aria-pressed", String(playing));
    byId("play-label").textContent = playing ? "Pause" : "Play";
    byId("position").max = String(Player.duration() || 1);
    byId("position").disabled = !buffer;
    if (clip === present) Spectrogram.draw(canvas, clip, buffer);
    canvas.setAttribute("aria-label", clip ? `Spectrogram of the clip at alpha ${alphaText(clip.alpha)}` : "Spectrogram, empty");
    const { decibels, short } = clip && matched ? matchingGain(clip, Player.state.line) : { decibels: 0, short: 0 };
    const below = short > 0.05 ? `, ${short.toFixed(1)} dB below the others` : "";
    byId("gain").textContent = clip ? (matched ? `${signedText(decibels, 1)} dB${below}` : "as generated") : "";
    if (!following) follow();
  }

  function follow() {
    const [now, whole] = [Player.position(), Player.duration()];
    byId("playhead").style.transform = `translateX(${whole ? (now / whole) * canvas.clientWidth : 0}px)`;
    const range = byId("position");
    if (!range.matches(":active")) range.value = String(now);
    const text = `${timeText(now)} / ${timeText(whole)}`;
    if (byId("time").textContent !== text) {
      byId("time").textContent = text;
      range.setAttribute("aria-valuetext", text);
    }
    following = Player.state.playing;
    if (following) requestAnimationFrame(follow);
  }

  async function copy() {
    const text = byId("command").textContent;
    let copied = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea", { value: text });
      document.body.append(area);
      area.select();
      copied = document.execCommand("copy"); // pages from a disk may lack the clipboard's own interface
      area.remove();
      byId("copy").focus();
    }
    byId("copied").textContent = copied ? "Copied." : "The browser did not allow it: select the text and copy it.";
    setTimeout(() => { byId("copied").textContent = ""; }, 2500);
  }

  async function save() {
    const clip = present;
    const buffer = await ClipLoader.load(clip);
    Save.wav(buffer, Save.nameOf(DATA.prompts[clip.prompt], `seed${clip.seed}`, conditionsHere()[chosen.condition]?.label, `alpha${clip.alpha}`));
  }

  // Why this pair is played first, while it is the one that is chosen.
  function firstText() {
    const { first, opens } = conditionsHere()[chosen.condition] ?? {};
    if (!first || pairsHere() < 2 || first.prompt !== chosen.prompt || first.seed !== chosen.seed) return "";
    return `Played first: of ${pairsHere()} pairs of prompt and seed, the one that follows the strength most steadily, `
      + `by its ${MEASURES.get(opens).name}. Other pairs follow it less.`;
  }
  const pairsHere = () => Math.max(0, ...Object.values(conditionsHere()[chosen.condition]?.agreement ?? {}).map(({ count }) => count));

  // Another direction, on the pair that is played first unless the reader has chosen one.
  function changeCondition(index) {
    const { first } = DATA.conditions[index] ?? {};
    const { prompt, seed } = pairIsOurs && first ? first : chosen;
    View.show(DATA.conditions[index]?.opens ?? View.measure);
    return show(prompt, seed, index, present?.alpha ?? 0);
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target;
    const isRange = target.matches?.("input[type=range]");
    if (target.matches?.("select, textarea, [role=region], pre") || (target.matches?.("input") && !isRange && event.key !== " ")) return;
    if (event.key === " " && !target.matches?.("button, a, summary, input:not([type=range])")) {
      event.preventDefault();
      Player.toggle();
    } else if ((event.key === "ArrowRight" || event.key === "ArrowLeft") && !isRange) {
      event.preventDefault();
      step(event.key === "ArrowRight" ? 1 : -1);
    } else if (event.key.toLowerCase() === "b") {
      compare();
    }
  }

  function start() {
    fill(byId("prompt"), prompts.map((index) => [String(index), DATA.prompts[index]]), String(prompts[0]));
    fill(byId("condition"), conditionsHere().map(({ label }, index) => [String(index), label]), "0");
    const alpha = () => present?.alpha ?? 0;
    const choose = (prompt, seed) => {
      pairIsOurs = false;
      return show(prompt, seed, chosen.condition, alpha());
    };
    byId("prompt").onchange = (event) => choose(Number(event.target.value), chosen.seed);
    byId("seed").onchange = (event) => choose(chosen.prompt, event.target.value);
    byId("condition").onchange = (event) => changeCondition(Number(event.target.value));
    byId("compare").onclick = compare;
    byId("alpha").oninput = (event) => move(Number(event.target.value));
    byId("play").onclick = byId("dock-play").onclick = () => Player.toggle();
    byId("dock-less").onclick = () => step(-1);
    byId("dock-more").onclick = () => step(1);
    byId("loop").onchange = (event) => Player.set("loop", event.target.checked);
    byId("matched").onchange = (event) => Player.set("matched", event.target.checked);
    byId("position").oninput = (event) => Player.seek(Number(event.target.value));
    canvas.onclick = (event) => Player.seek((event.offsetX / canvas.clientWidth) * Player.duration());
    byId("copy").onclick = copy;
    byId("save").onclick = save;
    document.addEventListener("keydown", onKey);
    Player.onChange(renderSound);
    Theme.onChange(renderSound);
    new ResizeObserver(() => renderSound()).observe(canvas);
    new IntersectionObserver(([entry]) => {
      byId("dock").hidden = entry.isIntersecting || entry.boundingClientRect.top > 0;
    }).observe(byId("player"));
    const condition = Math.max(0, DATA.conditions.findIndex(({ first }) => first));
    const { prompt, seed } = DATA.conditions[condition]?.first ?? audible[0];
    View.show(DATA.conditions[condition]?.opens ?? View.measure);
    return show(prompt, seed, condition, 0);
  }

  // Choose a clip from elsewhere on the page, and play it.
  async function play(prompt, seed, condition, alpha) {
    pairIsOurs = false;
    await show(prompt, seed, condition < 0 ? chosen.condition : condition, alpha);
    await Player.play();
  }

  return {
    start, show, play, step, move, chosen,
    get present() { return present; },
    get line() { return line; },
    onChange: (listener) => listeners.push(listener),
  };
})();

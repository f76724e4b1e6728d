"use strict";
// The player: which clip is chosen, and everything that shows it.

const Listen = (() => {
  const chosen = { prompt: 0, seed: "0", condition: 0 };
  let line = [];
  let following = false; // whether the playhead moves
  let present = null; // the clip that is chosen; it sounds as soon as it is loaded
  const listeners = [];
  const canvas = byId("spectrogram");
  const READOUT = ["tempo_bpm", "onset_rate_hz", "spectral_centroid_hz", "loudness_lufs", "true_peak_dbtp", "silence_share", "kl_nats"];

  const seedsOf = (prompt) => [...new Set(DATA.clips.filter((clip) => clip.prompt === prompt).map((clip) => clip.seed))]
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

  async function select(clip) {
    present = clip;
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
    byId("command").textContent = present?.command ?? "";
    const condition = conditionsHere()[chosen.condition]?.label ?? "";
    byId("dock-text").textContent = `${DATA.prompts[chosen.prompt]} · seed ${chosen.seed} · ${condition}`;
    byId("save").disabled = !present?.audio;
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
    const words = [DATA.prompts[clip.prompt], `seed${clip.seed}`, conditionsHere()[chosen.condition]?.label, `alpha${clip.alpha}`];
    const name = words.join("-").toLowerCase().replace(/[^a-z0-9.+-]+/g, "-").slice(0, 100);
    const url = URL.createObjectURL(await ClipLoader.file(clip));
    make("a", { href: url, download: `${name}.${DATA.codecType === "audio/flac" ? "flac" : "ogg"}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
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
    }
  }

  function start() {
    fill(byId("prompt"), DATA.prompts.map((text, index) => [String(index), text]), "0");
    fill(byId("condition"), conditionsHere().map(({ label }, index) => [String(index), label]), "0");
    const alpha = () => present?.alpha ?? 0;
    byId("prompt").onchange = (event) => show(Number(event.target.value), chosen.seed, chosen.condition, alpha());
    byId("seed").onchange = (event) => show(chosen.prompt, event.target.value, chosen.condition, alpha());
    byId("condition").onchange = (event) => show(chosen.prompt, chosen.seed, Number(event.target.value), alpha());
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
    const first = DATA.clips.find((clip) => clip.audio) ?? DATA.clips[0];
    return show(first.prompt, first.seed, Math.max(0, first.condition), 0);
  }

  // Choose a clip from elsewhere on the page, and play it.
  async function play(prompt, seed, condition, alpha) {
    await show(prompt, seed, condition < 0 ? chosen.condition : condition, alpha);
    await Player.play();
  }

  return {
    start, show, play, step, chosen,
    get present() { return present; },
    get line() { return line; },
    onChange: (listener) => listeners.push(listener),
  };
})();

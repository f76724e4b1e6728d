"use strict";
// Spectrograms, computed from the decoded clip: nothing to store or load, and in the colours of the theme.
// One scale for all clips, so that a brighter clip looks brighter. A worker computes them, so that sliders stay
// fluid; where the browser has none for a page from a disk, the page does it.

const Spectrogram = (() => {
  const SCALE = { rows: 160, columns: 900, lowestHz: 50, floorDb: -88, topDb: -18 };
  const KEEP = 60;
  const levels = new Map(); // clip's id -> its numbers, the oldest first
  let urgent = null; // the clip to be shown: { clip, buffer, done }
  const later = []; // others
  const image = make("canvas", { width: SCALE.columns, height: SCALE.rows });
  let painted = ""; // what is on `image`: "clip theme"
  let busy = false;
  let worker = null;

  // Colours from the quietest to the loudest: [position, red, green, blue]; lightness is monotonous.
  const STOPS = {
    light: [[0, 250, 248, 243], [0.3, 190, 214, 209], [0.6, 74, 146, 152], [0.82, 26, 80, 104], [1, 12, 26, 48]],
    dark: [[0, 21, 24, 30], [0.3, 31, 62, 78], [0.6, 44, 130, 134], [0.82, 150, 205, 170], [1, 255, 246, 214]],
  };

  function lookup(stops) {
    const table = new Uint8ClampedArray(256 * 3);
    for (let value = 0; value < 256; value += 1) {
      const place = value / 255;
      const upper = Math.max(1, stops.findIndex((stop) => stop[0] >= place));
      const [low, high] = [stops[upper - 1], stops[upper]];
      const share = (place - low[0]) / (high[0] - low[0]);
      for (let channel = 1; channel <= 3; channel += 1) {
        table[3 * value + channel - 1] = low[channel] + share * (high[channel] - low[channel]);
      }
    }
    return table;
  }

  function mono(buffer) {
    const samples = new Float32Array(buffer.length);
    for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
      const data = buffer.getChannelData(channel);
      for (let index = 0; index < data.length; index += 1) samples[index] += data[index] / buffer.numberOfChannels;
    }
    return samples;
  }

  function startWorker() {
    const program = `${spectrogramLevels}; onmessage = ({ data }) => postMessage(spectrogramLevels(data.samples, data.rate, data.scale));`;
    const url = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
    try {
      const made = new Worker(url);
      URL.revokeObjectURL(url);
      return made;
    } catch {
      return null;
    }
  }

  function compute(buffer) {
    const samples = mono(buffer);
    const here = () => spectrogramLevels(samples, buffer.sampleRate, SCALE);
    worker ??= startWorker() ?? "none";
    if (worker === "none") return Promise.resolve(here());
    return new Promise((resolve) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = () => { worker = "none"; resolve(here()); };
      worker.postMessage({ samples, rate: buffer.sampleRate, scale: SCALE });
    });
  }

  async function work() {
    const next = urgent ?? later.pop();
    if (busy || !next) return;
    if (next === urgent) urgent = null;
    const { clip, buffer, done } = next;
    if (!levels.has(clip.id)) {
      busy = true;
      levels.set(clip.id, await compute(buffer));
      if (levels.size > KEEP) levels.delete(levels.keys().next().value);
      busy = false;
    }
    done();
    work();
  }

  // Compute a clip's numbers when nothing else is to be done.
  function prepare(clip, buffer) {
    later.push({ clip, buffer, done: () => {} });
    if (later.length > 4) later.shift();
    work();
  }

  const heightOf = (frequency, nyquist) => Math.log(frequency / SCALE.lowestHz) / Math.log(nyquist / SCALE.lowestHz);

  // Paint a clip's numbers on `image`, in the colours of the theme.
  function paint(clip) {
    const key = `${clip.id} ${Theme.isDark()}`;
    if (painted === key) return;
    const table = lookup(STOPS[Theme.isDark() ? "dark" : "light"]);
    const pixels = new ImageData(SCALE.columns, SCALE.rows);
    const data = pixels.data;
    levels.get(clip.id).forEach((level, index) => {
      data[4 * index] = table[3 * level];
      data[4 * index + 1] = table[3 * level + 1];
      data[4 * index + 2] = table[3 * level + 2];
      data[4 * index + 3] = 255;
    });
    image.getContext("2d").putImageData(pixels, 0, 0);
    painted = key;
  }

  function label(context, text, x, y) {
    context.lineWidth = 3;
    context.strokeStyle = Theme.colour("--spectrogram");
    context.fillStyle = Theme.colour("--muted");
    context.strokeText(text, x, y);
    context.fillText(text, x, y);
  }

  // Draw a clip with a frequency scale, and a mark at its spectral centroid; without a clip, an empty field. What
  // is on the canvas stays until the clip's numbers are there.
  let latest = null;
  function draw(canvas, clip, buffer) {
    latest = clip;
    if (clip && buffer && !levels.has(clip.id)) {
      urgent = { clip, buffer, done: () => { if (latest === clip) draw(canvas, clip, buffer); } };
      work();
      return;
    }
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const size = { width: Math.round(width * ratio), height: Math.round(height * ratio) };
    if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = Theme.colour("--spectrogram");
    context.fillRect(0, 0, width, height);
    if (!clip || !buffer) return;
    context.imageSmoothingQuality = "high";
    paint(clip);
    context.drawImage(image, 0, 0, width, height);
    const nyquist = buffer.sampleRate / 2;
    context.font = "11px ui-monospace, monospace";
    context.textBaseline = "middle";
    for (const [frequency, text] of [[100, "100"], [300, "300"], [1000, "1k"], [3000, "3k"], [10000, "10k"]]) {
      if (frequency < nyquist * 0.9) label(context, text, 6, height * (1 - heightOf(frequency, nyquist)));
    }
    const centroid = measureOf(clip, "spectral_centroid_hz");
    if (isNumber(centroid) && centroid > SCALE.lowestHz && centroid < nyquist) {
      const y = height * (1 - heightOf(centroid, nyquist));
      context.fillStyle = Theme.colour("--accent");
      context.beginPath();
      context.moveTo(width, y - 6);
      context.lineTo(width - 9, y);
      context.lineTo(width, y + 6);
      context.fill();
    }
  }

  return { draw, prepare };
})();

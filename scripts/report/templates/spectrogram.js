"use strict";
// Spectrograms, computed from the decoded clip: nothing to store or load, and in the colours of the theme.
// One scale for all clips, so that a brighter clip looks brighter.

const Spectrogram = (() => {
  const ROWS = 160;
  const COLUMNS = 900;
  const LOWEST_HZ = 50;
  const FLOOR_DB = -88;
  const TOP_DB = -18;
  const KEEP = 40;
  const images = new Map(); // "clip theme" -> canvas

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

  // In-place radix-2 transform of real and imaginary parts, whose length is a power of two.
  function makeTransform(size) {
    const reversed = new Uint32Array(size);
    for (let index = 1; index < size; index += 1) reversed[index] = (reversed[index >> 1] >> 1) | (index & 1 ? size >> 1 : 0);
    const cosines = Float32Array.from({ length: size / 2 }, (_, index) => Math.cos((2 * Math.PI * index) / size));
    const sines = Float32Array.from({ length: size / 2 }, (_, index) => -Math.sin((2 * Math.PI * index) / size));
    return (real, imaginary) => {
      for (let index = 0; index < size; index += 1) {
        const other = reversed[index];
        if (other > index) {
          [real[index], real[other]] = [real[other], real[index]];
          [imaginary[index], imaginary[other]] = [imaginary[other], imaginary[index]];
        }
      }
      for (let half = 1; half < size; half *= 2) {
        const step = size / (2 * half);
        for (let start = 0; start < size; start += 2 * half) {
          for (let index = start, turn = 0; index < start + half; index += 1, turn += step) {
            const other = index + half;
            const re = real[other] * cosines[turn] - imaginary[other] * sines[turn];
            const im = real[other] * sines[turn] + imaginary[other] * cosines[turn];
            real[other] = real[index] - re;
            imaginary[other] = imaginary[index] - im;
            real[index] += re;
            imaginary[index] += im;
          }
        }
      }
    };
  }

  function mono(buffer) {
    const samples = new Float32Array(buffer.length);
    for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
      buffer.getChannelData(channel).forEach((value, index) => {
        samples[index] += value / buffer.numberOfChannels;
      });
    }
    return samples;
  }

  // Frequency at a height, 0 at the bottom and 1 at the top: logarithmic.
  const frequencyAt = (height, nyquist) => LOWEST_HZ * (nyquist / LOWEST_HZ) ** height;
  const heightOf = (frequency, nyquist) => Math.log(frequency / LOWEST_HZ) / Math.log(nyquist / LOWEST_HZ);

  function compute(buffer) {
    const size = 2 ** Math.round(Math.log2(0.06 * buffer.sampleRate));
    const transform = makeTransform(size);
    const window_ = Float32Array.from({ length: size }, (_, index) => 0.5 - 0.5 * Math.cos((2 * Math.PI * index) / size));
    const samples = mono(buffer);
    const nyquist = buffer.sampleRate / 2;
    const edges = Float32Array.from({ length: ROWS + 1 }, (_, row) => (frequencyAt(row / ROWS, nyquist) * size) / buffer.sampleRate);
    const levels = new Uint8Array(ROWS * COLUMNS);
    const [real, imaginary] = [new Float32Array(size), new Float32Array(size)];
    const power = new Float32Array(size / 2 + 1);
    const scale = 4 / size; // a sine of amplitude 1 is 0 dB under a Hann window
    for (let column = 0; column < COLUMNS; column += 1) {
      const start = Math.round(((column + 0.5) / COLUMNS) * samples.length - size / 2);
      for (let index = 0; index < size; index += 1) real[index] = (samples[start + index] ?? 0) * window_[index];
      imaginary.fill(0);
      transform(real, imaginary);
      for (let bin = 0; bin < power.length; bin += 1) power[bin] = (real[bin] ** 2 + imaginary[bin] ** 2) * scale * scale;
      for (let row = 0; row < ROWS; row += 1) {
        const [low, high] = [edges[row], edges[row + 1]];
        let most = 0;
        if (high - low < 1) {
          const [bin, share] = [Math.floor(low), low - Math.floor(low)];
          most = power[bin] * (1 - share) + (power[bin + 1] ?? 0) * share;
        } else {
          for (let bin = Math.ceil(low); bin < high && bin < power.length; bin += 1) most = Math.max(most, power[bin]);
        }
        const share = (10 * Math.log10(most + 1e-12) - FLOOR_DB) / (TOP_DB - FLOOR_DB);
        levels[(ROWS - 1 - row) * COLUMNS + column] = 255 * Math.max(0, Math.min(1, share));
      }
    }
    return levels;
  }

  function image(clip, buffer) {
    const key = `${clip.id} ${Theme.isDark()}`;
    let canvas = images.get(key);
    if (canvas) return canvas;
    const table = lookup(STOPS[Theme.isDark() ? "dark" : "light"]);
    const pixels = new ImageData(COLUMNS, ROWS);
    compute(buffer).forEach((level, index) => {
      pixels.data[4 * index] = table[3 * level];
      pixels.data[4 * index + 1] = table[3 * level + 1];
      pixels.data[4 * index + 2] = table[3 * level + 2];
      pixels.data[4 * index + 3] = 255;
    });
    canvas = make("canvas", { width: COLUMNS, height: ROWS });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    images.set(key, canvas);
    if (images.size > KEEP) images.delete(images.keys().next().value);
    return canvas;
  }

  function label(context, text, x, y) {
    context.lineWidth = 3;
    context.strokeStyle = Theme.colour("--spectrogram");
    context.fillStyle = Theme.colour("--muted");
    context.strokeText(text, x, y);
    context.fillText(text, x, y);
  }

  // Draw a clip with a frequency scale, and a mark at its spectral centroid; without a clip, an empty field.
  function draw(canvas, clip, buffer) {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.fillStyle = Theme.colour("--spectrogram");
    context.fillRect(0, 0, width, height);
    if (!clip || !buffer) return;
    context.imageSmoothingQuality = "high";
    context.drawImage(image(clip, buffer), 0, 0, width, height);
    const nyquist = buffer.sampleRate / 2;
    context.font = "11px ui-monospace, monospace";
    context.textBaseline = "middle";
    for (const [frequency, text] of [[100, "100"], [300, "300"], [1000, "1k"], [3000, "3k"], [10000, "10k"]]) {
      if (frequency < nyquist * 0.9) label(context, text, 6, height * (1 - heightOf(frequency, nyquist)));
    }
    const centroid = measureOf(clip, "spectral_centroid_hz");
    if (isNumber(centroid) && centroid > LOWEST_HZ && centroid < nyquist) {
      const y = height * (1 - heightOf(centroid, nyquist));
      context.fillStyle = Theme.colour("--accent");
      context.beginPath();
      context.moveTo(width, y - 6);
      context.lineTo(width - 9, y);
      context.lineTo(width, y + 6);
      context.fill();
    }
  }

  return { draw };
})();

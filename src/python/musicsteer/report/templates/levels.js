"use strict";
// The numbers of a spectrogram. The function stands by itself, because a worker runs it too.

// samples: mono, in -1 ... 1. Returns rows x columns, the highest frequency first, 0 (quiet) ... 255.
function spectrogramLevels(samples, rate, { rows, columns, lowestHz, floorDb, topDb }) {
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

  const size = 2 ** Math.round(Math.log2(0.06 * rate));
  const transform = makeTransform(size);
  const shape = Float32Array.from({ length: size }, (_, index) => 0.5 - 0.5 * Math.cos((2 * Math.PI * index) / size));
  const frequencyAt = (height) => lowestHz * (rate / 2 / lowestHz) ** height; // logarithmic
  const edges = Float32Array.from({ length: rows + 1 }, (_, row) => (frequencyAt(row / rows) * size) / rate);
  const levels = new Uint8Array(rows * columns);
  const [real, imaginary] = [new Float32Array(size), new Float32Array(size)];
  const power = new Float32Array(size / 2 + 2);
  const scale = (4 / size) ** 2; // a sine of amplitude 1 is 0 dB under a Hann window
  for (let column = 0; column < columns; column += 1) {
    const start = Math.round(((column + 0.5) / columns) * samples.length - size / 2);
    for (let index = 0; index < size; index += 1) {
      const place = start + index;
      real[index] = place >= 0 && place < samples.length ? samples[place] * shape[index] : 0;
    }
    imaginary.fill(0);
    transform(real, imaginary);
    for (let bin = 0; bin <= size / 2; bin += 1) power[bin] = (real[bin] * real[bin] + imaginary[bin] * imaginary[bin]) * scale;
    for (let row = 0; row < rows; row += 1) {
      const [low, high] = [edges[row], edges[row + 1]];
      let most = 0;
      if (high - low < 1) {
        const bin = Math.floor(low);
        most = power[bin] * (1 - low + bin) + power[bin + 1] * (low - bin);
      } else {
        for (let bin = Math.ceil(low); bin < high && bin <= size / 2; bin += 1) most = Math.max(most, power[bin]);
      }
      const share = (10 * Math.log10(most + 1e-12) - floorDb) / (topDb - floorDb);
      levels[(rows - 1 - row) * columns + column] = 255 * Math.max(0, Math.min(1, share));
    }
  }
  return levels;
}

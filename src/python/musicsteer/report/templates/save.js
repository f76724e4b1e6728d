"use strict";
// Files that the page hands out: tables as CSV, plots as SVG, clips as WAV.

const Save = (() => {
  function blob(content, name) {
    const url = URL.createObjectURL(content);
    make("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  const nameOf = (...words) => words.filter(Boolean).join("-").toLowerCase().replace(/[^a-z0-9.+-]+/g, "-").slice(0, 100);

  function csvCell(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "";
    const text = String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }
  const csvText = (rows) => rows.map((row) => `${row.map(csvCell).join(",")}\n`).join("");
  const csv = (rows, name) => blob(new Blob([csvText(rows)], { type: "text/csv" }), `${name}.csv`);

  // 16 bits where they hold every sample, as for clips that were generated with 16 bits; otherwise 24.
  function wavBytes(buffer) {
    const channels = Array.from({ length: buffer.numberOfChannels }, (_, index) => buffer.getChannelData(index));
    const fits = channels.every((samples) => samples.every((sample) => Number.isInteger(sample * 32768) && sample < 1));
    const width = fits ? 2 : 3;
    const scale = 2 ** (8 * width - 1);
    const size = buffer.length * channels.length * width;
    const bytes = new ArrayBuffer(44 + size);
    const view = new DataView(bytes);
    const text = (place, letters) => [...letters].forEach((letter, index) => view.setUint8(place + index, letter.charCodeAt(0)));
    text(0, "RIFF");
    view.setUint32(4, 36 + size, true);
    text(8, "WAVEfmt ");
    view.setUint32(16, 16, true);
    view.setUint16(20, 1, true);
    view.setUint16(22, channels.length, true);
    view.setUint32(24, buffer.sampleRate, true);
    view.setUint32(28, buffer.sampleRate * channels.length * width, true);
    view.setUint16(32, channels.length * width, true);
    view.setUint16(34, 8 * width, true);
    text(36, "data");
    view.setUint32(40, size, true);
    let place = 44;
    for (let index = 0; index < buffer.length; index += 1) {
      for (const samples of channels) {
        const value = Math.max(-scale, Math.min(scale - 1, Math.round(samples[index] * scale)));
        view.setInt16(place, width === 2 ? value : value & 0xffff, true);
        if (width === 3) view.setInt8(place + 2, value >> 16);
        place += width;
      }
    }
    return bytes;
  }
  const wav = (buffer, name) => blob(new Blob([wavBytes(buffer)], { type: "audio/wav" }), `${name}.wav`);

  return { blob, nameOf, csv, csvText, wav, wavBytes };
})();

"use strict";
// Loads clips when they are needed, and decodes them.

const ClipLoader = (() => {
  const KEEP = 24; // decoded clips
  const MP3_DELAY = 1105; // samples that LAME's encoder and any decoder put before the first one
  const decoded = new Map(); // id -> promise of an AudioBuffer, least recently used first
  const arriving = new Map(); // id -> what to call with { text: its base64, frames }

  function bytesOf(text) {
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let index = 0; index < binary.length; index += 1) bytes[index] = binary.charCodeAt(index);
    return bytes;
  }

  async function read(id) {
    await parsed;
    const inline = document.querySelector(`script[data-clip="${id}"]`);
    if (inline) return { text: inline.textContent, frames: Number(inline.dataset.frames) };
    return new Promise((resolve, reject) => {
      const script = make("script", { src: `audio/${id}.js` });
      const finish = (settle) => (value) => {
        arriving.delete(id);
        script.remove();
        settle(value);
      };
      arriving.set(id, finish(resolve));
      script.onerror = () => finish(reject)(new Error("its audio file is missing beside the page"));
      script.onload = () => arriving.get(id) && finish(reject)(new Error("its audio file holds another clip"));
      document.head.append(script);
    });
  }

  // A decoder may leave an MP3's padding in, at both ends: all clips alike, but it would gape in a loop.
  function withoutPadding(buffer, frames, rate) {
    const wanted = Math.round((frames * buffer.sampleRate) / rate);
    const extra = buffer.length - wanted;
    if (extra < 100) return buffer; // rounding at most
    const start = Math.min(extra, Math.round((MP3_DELAY * buffer.sampleRate) / rate));
    const { numberOfChannels, sampleRate } = buffer;
    const cut = new AudioBuffer({ length: wanted, numberOfChannels, sampleRate });
    for (let channel = 0; channel < numberOfChannels; channel += 1) {
      cut.copyToChannel(buffer.getChannelData(channel).subarray(start, start + wanted), channel);
    }
    return cut;
  }

  async function decode(clip) {
    const { text, frames } = await read(clip.id);
    let context;
    try {
      context = new OfflineAudioContext(1, 1, clip.rate); // decoding keeps the clip's own rate
    } catch {
      context = new OfflineAudioContext(1, 1, 48000);
    }
    return withoutPadding(await context.decodeAudioData(bytesOf(text).buffer), frames, clip.rate);
  }

  function load(clip) {
    let promise = decoded.get(clip.id);
    decoded.delete(clip.id);
    if (!promise) {
      promise = clip.audio ? decode(clip) : Promise.reject(new Error("this clip has no audio"));
      promise.catch(() => decoded.delete(clip.id));
    }
    decoded.set(clip.id, promise);
    if (decoded.size > KEEP) decoded.delete(decoded.keys().next().value);
    return promise;
  }

  return { load, receive: (id, text, frames) => arriving.get(id)?.({ text, frames }) };
})();

// What the clips' scripts call.
function receiveClip(id, text, frames) {
  ClipLoader.receive(id, text, frames);
}

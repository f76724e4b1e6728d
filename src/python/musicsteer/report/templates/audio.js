"use strict";
// Plays clips. All of them run on one clock, so that a switch from one clip to another keeps the position to the
// sample: the new one starts, and the old one fades out, at the same instant.

const FADE_S = 0.02;
const LEAD_S = 0.03; // between asking for a sound and its start
const WANTED_LUFS = -16;
const LOWEST_LUFS = -26;
const CEILING_DBTP = -1;
const MOST_BOOST_DB = 20;

// The gain of a clip that brings it to the level of the others in its line, and how far it stays below.
function matchingGain(clip, line) {
  const levels = (one) => [measureOf(one, "loudness_lufs"), measureOf(one, "true_peak_dbtp") ?? 0];
  const [loudness, peak] = levels(clip);
  if (!isNumber(loudness)) return { decibels: 0, short: 0 };
  const reachable = line.map(levels).filter(([lufs]) => isNumber(lufs));
  const highest = Math.min(WANTED_LUFS, ...reachable.map(([lufs, dbtp]) => lufs + CEILING_DBTP - dbtp));
  const wanted = Math.max(highest, LOWEST_LUFS) - loudness;
  const decibels = Math.min(wanted, CEILING_DBTP - peak, MOST_BOOST_DB);
  return { decibels, short: wanted - decibels };
}

const Player = (() => {
  const state = { playing: false, loop: true, matched: true, clip: null, line: [], buffer: null };
  const listeners = [];
  let context = null;
  let voice = null; // what sounds: { source, gain }
  let startedAt = 0; // on the context's clock
  let offset = 0; // position in the clip at that time, or while paused
  let wanted = false;
  let ticket = 0; // only the newest choice may sound

  const duration = () => state.buffer?.duration ?? 0;
  const notify = () => listeners.forEach((listener) => listener());
  const onFrame = (seconds) => Math.round(seconds * context.sampleRate) / context.sampleRate;

  function positionAt(time) {
    if (!state.playing) return offset;
    const position = offset + Math.max(0, time - startedAt);
    return state.loop && duration() ? position % duration() : Math.min(position, duration());
  }
  const position = () => (context ? positionAt(context.currentTime - (context.outputLatency || 0)) : offset);

  function gainOf(clip) {
    return state.matched ? 10 ** (matchingGain(clip, state.line).decibels / 20) : 1;
  }

  function fadeOut(old, when) {
    if (!old) return;
    const reached = old.level * Math.max(0, Math.min(1, (when - old.start) / FADE_S)); // it may still be fading in
    old.gain.gain.cancelScheduledValues(when);
    old.gain.gain.linearRampToValueAtTime(reached, when);
    old.gain.gain.linearRampToValueAtTime(0, when + FADE_S);
    old.source.onended = null;
    old.source.stop(when + FADE_S);
  }

  // Sound the present clip from a position, at a time; whatever sounded until then fades out meanwhile. The two
  // ramps are linear and sum to one, so the crossfade can't exceed the louder clip's peak.
  function sound(from, when) {
    const source = new AudioBufferSourceNode(context, { buffer: state.buffer, loop: state.loop });
    const gain = new GainNode(context, { gain: 0 });
    const level = gainOf(state.clip);
    source.connect(gain).connect(context.destination);
    gain.gain.setValueAtTime(0, when);
    gain.gain.linearRampToValueAtTime(level, when + FADE_S);
    gain.gain.setValueAtTime(level, when + FADE_S);
    fadeOut(voice, when);
    source.onended = () => finish(source);
    source.start(when, from);
    voice = { source, gain, level, start: when };
    [startedAt, offset] = [when, from];
  }

  function finish(source) {
    if (voice?.source !== source) return;
    voice = null;
    [state.playing, offset] = [false, 0];
    notify();
  }

  async function choose(clip, line) {
    ticket += 1;
    const mine = ticket;
    const buffer = await ClipLoader.load(clip);
    if (mine !== ticket) return false;
    const when = state.playing ? onFrame(context.currentTime + LEAD_S) : 0;
    const from = positionAt(when);
    Object.assign(state, { clip, line, buffer });
    if (state.playing) sound(onFrame(from % buffer.duration), when);
    else offset = Math.min(offset, buffer.duration);
    notify();
    if (wanted) play();
    return true;
  }

  async function play() {
    wanted = !state.buffer; // pressed before the first clip is there: it plays when it is
    if (state.playing || wanted) return;
    context ??= new AudioContext({ sampleRate: state.buffer.sampleRate, latencyHint: "interactive" });
    await context.resume();
    if (state.playing) return;
    const when = onFrame(context.currentTime + LEAD_S);
    const from = offset >= duration() - 0.01 ? 0 : offset;
    state.playing = true;
    sound(onFrame(from), when);
    notify();
  }

  function pause() {
    if (!state.playing) return;
    const now = context.currentTime;
    offset = positionAt(now);
    state.playing = false;
    fadeOut(voice, now);
    voice = null;
    notify();
  }

  function seek(seconds) {
    const target = Math.max(0, Math.min(seconds, duration()));
    if (state.playing) {
      sound(onFrame(Math.min(target, duration() - 0.001)), onFrame(context.currentTime + LEAD_S));
    } else {
      offset = target;
    }
    notify();
  }

  // Change `loop` or `matched`; what plays goes on from where it is.
  function set(name, value) {
    const when = state.playing ? onFrame(context.currentTime + LEAD_S) : 0;
    const from = positionAt(when);
    state[name] = value;
    if (state.playing) sound(onFrame(Math.min(from, duration() - 0.001)), when);
    notify();
  }

  return {
    state, choose, play, pause, seek, set, position, duration,
    toggle: () => (state.playing ? pause() : play()),
    onChange: (listener) => listeners.push(listener),
    get context() { return context; },
  };
})();

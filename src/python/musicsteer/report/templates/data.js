"use strict";
// The sweep, as Python wrote it into the page, and how its numbers are spelled.

const DATA = JSON.parse(document.getElementById("report-data").textContent);
const MEASURES = new Map(DATA.measures.map((measure, index) => [measure.key, { ...measure, index }]));
const CLIPS = new Map(DATA.clips.map((clip) => [clip.id, clip]));

// In a single file, the clips and the plots' script stand behind these scripts.
const parsed = new Promise((resolve) => {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", resolve, { once: true });
  else resolve();
});

const byId = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const { dataset, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, dataset ?? {});
  element.append(...children);
  return element;
}

// The clips of one prompt, seed and condition in rising order of alpha; the unsteered clip is alpha 0 of each.
const lines = (() => {
  const groups = new Map();
  const add = (key, clip) => groups.set(key, [...(groups.get(key) ?? []), clip]);
  for (const clip of DATA.clips) {
    add(`${clip.prompt}/${clip.seed}/${clip.condition < 0 ? `unsteered ${clip.settings}` : clip.condition}`, clip);
  }
  return groups;
})();

function lineOf(prompt, seed, condition) {
  const { settings = 0, others = false } = DATA.conditions[condition] ?? {};
  const steered = lines.get(`${prompt}/${seed}/${condition}`) ?? [];
  const unsteered = others ? [] : (lines.get(`${prompt}/${seed}/unsteered ${settings}`) ?? []);
  const zero = steered.some((clip) => clip.alpha === 0) ? [] : unsteered.slice(0, 1);
  return [...steered, ...zero].sort((one, other) => one.alpha - other.alpha);
}

function unsteeredOf(clip) {
  const settings = clip.condition < 0 ? clip.settings : DATA.conditions[clip.condition].settings;
  return lines.get(`${clip.prompt}/${clip.seed}/unsteered ${settings}`)?.[0];
}

function measureOf(clip, key) {
  const measure = MEASURES.get(key);
  return measure ? clip.measures[measure.index] : null;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const withMinus = (text) => text.replace("-", "\u2212");

function numberText(value, digits) {
  if (!isNumber(value)) return "–";
  const text = value.toFixed(digits);
  return withMinus(Number(text) === 0 ? text.replace("-", "") : text);
}

function signedText(value, digits) {
  if (!isNumber(value)) return "–";
  const text = numberText(value, digits);
  return value > 0 && Number(value.toFixed(digits)) !== 0 ? `+${text}` : text;
}

const alphaText = (alpha) => (alpha === 0 ? "0" : withMinus(`${alpha > 0 ? "+" : ""}${Number(alpha.toPrecision(6))}`));
const withUnit = (text, unit) => (unit && text !== "–" ? `${text}\u00a0${unit}` : text);
const changeDigits = (measure) => (measure.change === "ratio" ? 1 : measure.digits);

function changeOf(clip, zero, measure) {
  const [value, from] = [clip.measures[measure.index], zero?.measures[measure.index]];
  if (!isNumber(value) || !isNumber(from)) return null;
  if (measure.change !== "ratio") return value - from;
  return from === 0 ? null : 100 * (value / from - 1);
}

// "+12.3 %" and "[+8.0, +16.1]"
function estimateText(estimate, index, digits, unit, spell = numberText) {
  const value = withUnit(spell(estimate.value[index], digits), unit);
  const [low, high] = [estimate.low[index], estimate.high[index]];
  return [value, isNumber(low) && isNumber(high) ? `[${spell(low, digits)}, ${spell(high, digits)}]` : ""];
}

function timeText(seconds) {
  const tenths = Math.floor(seconds * 10 + 1e-6);
  return `${Math.floor(tenths / 600)}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
}

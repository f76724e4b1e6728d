"use strict";
// The curve beside the player: the mean over pairs with its interval, and the clips that can be chosen as dots.

const Curve = (() => {
  const SIZE = { width: 420, height: 196, left: 52, right: 14, top: 12, bottom: 26 };
  const figure = byId("curve");

  function draw(tag, properties, text) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(properties)) element.setAttribute(name, String(value));
    if (text !== undefined) element.textContent = text;
    return element;
  }

  // About `count` round numbers that lie in a range.
  function ticks(low, high, count) {
    const rough = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, index) => (first + index) * step);
  }

  function scales(values, alphas) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    const [from, to] = [alphas[0], alphas.at(-1)];
    const across = SIZE.width - SIZE.left - SIZE.right;
    const down = SIZE.height - SIZE.top - SIZE.bottom;
    return {
      low: low - room,
      high: high + room,
      x: (alpha) => SIZE.left + across * (to === from ? 0.5 : (alpha - from) / (to - from)),
      y: (value) => SIZE.top + down * (1 - (value - low + room) / (high - low + 2 * room)),
    };
  }

  const path = (points) => points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");

  function axes(scale, alphas) {
    const [muted, rule] = ["--muted", "--rule"].map(Theme.colour);
    const small = { fill: muted, "font-size": 12 };
    const made = [];
    const numbers = ticks(scale.low, scale.high, 7);
    const digits = Math.max(0, -Math.floor(Math.log10(numbers[1] - numbers[0] || 1) + 1e-9));
    for (const number of numbers) {
      const y = scale.y(number);
      made.push(draw("line", { x1: SIZE.left, x2: SIZE.width - SIZE.right, y1: y, y2: y, stroke: rule }));
      made.push(draw("text", { x: SIZE.left - 8, y: y + 4, "text-anchor": "end", ...small }, numberText(number, digits)));
    }
    let reached = -Infinity;
    for (const alpha of alphas) {
      const x = scale.x(alpha);
      if (x - reached < 44) continue; // no room for its number
      reached = x;
      made.push(draw("text", { x, y: SIZE.height - 6, "text-anchor": "middle", ...small }, alphaText(alpha)));
    }
    return made;
  }

  function render() {
    const condition = DATA.conditions[Listen.chosen.condition];
    byId("response").hidden = !condition;
    if (!condition) return;
    const key = View.measure;
    const measure = MEASURES.get(key);
    const { alphas } = condition;
    const mean = condition.mean[key];
    const clips = Listen.line.filter((clip) => isNumber(measureOf(clip, key)));
    const values = [...mean.value, ...mean.low, ...mean.high, ...clips.map((clip) => measureOf(clip, key))].filter(isNumber);
    byId("save-curve").hidden = !values.length;
    if (!values.length) return figure.replaceChildren();
    const scale = scales(values, alphas);
    const [accent, ink, line] = ["--accent", "--ink", "--line"].map(Theme.colour);
    const places = alphas.map((alpha, index) => ({ x: scale.x(alpha), value: mean.value[index], low: mean.low[index], high: mean.high[index] }));
    const known = places.filter(({ low, high }) => isNumber(low) && isNumber(high));
    const svg = draw("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img" });
    svg.setAttribute("aria-label", `${measure.label} against strength; the table of means has the numbers`);
    svg.append(...axes(scale, alphas));
    svg.append(draw("polygon", {
      points: path([...known.map(({ x, high }) => [x, scale.y(high)]), ...known.reverse().map(({ x, low }) => [x, scale.y(low)])]), fill: line, opacity: 0.18,
    }));
    svg.append(draw("polyline", { points: path(places.filter(({ value }) => isNumber(value)).map(({ x, value }) => [x, scale.y(value)])), fill: "none", stroke: line, "stroke-width": 2.5 }));
    svg.append(draw("polyline", { points: path(clips.map((clip) => [scale.x(clip.alpha), scale.y(measureOf(clip, key))])), fill: "none", stroke: ink, "stroke-width": 1, "stroke-dasharray": "3 3" }));
    for (const clip of clips) {
      const here = clip === Listen.present;
      const dot = draw("circle", { cx: scale.x(clip.alpha), cy: scale.y(measureOf(clip, key)), r: here ? 7 : 4, fill: here ? accent : ink, class: "dot" });
      dot.append(draw("title", {}, `strength ${alphaText(clip.alpha)}: ${withUnit(numberText(measureOf(clip, key), measure.digits), measure.unit)}`));
      dot.addEventListener("click", () => Listen.move(Listen.line.indexOf(clip)));
      svg.append(dot);
    }
    figure.replaceChildren(svg);
    byId("curve-title").textContent = measure.unit ? `${measure.label}, ${measure.unit}` : measure.label;
    byId("agreement").textContent = agreementText(condition, measure);
  }

  // The curve as a picture of its own: with its title, a background and a font.
  function svgText() {
    const picture = figure.firstElementChild.cloneNode(true);
    const { width, height } = SIZE;
    const box = { x: 0, y: -24, width, height: height + 24 };
    picture.setAttribute("viewBox", Object.values(box).join(" "));
    for (const [name, value] of Object.entries({ width, height: height + 24, "font-family": getComputedStyle(document.body).fontFamily })) {
      picture.setAttribute(name, String(value));
    }
    const title = `${DATA.conditions[Listen.chosen.condition].name}: ${byId("curve-title").textContent}`;
    picture.prepend(
      draw("rect", { ...box, fill: Theme.colour("--surface") }),
      draw("text", { x: SIZE.left, y: -6, fill: Theme.colour("--ink"), "font-size": 13 }, title),
    );
    return new XMLSerializer().serializeToString(picture);
  }

  function save() {
    const name = Save.nameOf("curve", DATA.conditions[Listen.chosen.condition].name, MEASURES.get(View.measure).name);
    Save.blob(new Blob([svgText()], { type: "image/svg+xml" }), `${name}.svg`);
  }

  // "10 of 12 pairs rise from −0.3 to +0.2."
  function agreementText({ agreement, alphas }, { key: which }) {
    const { rising, falling, count } = agreement[which];
    if (!count || alphas.length < 2) return "";
    const most = rising >= falling ? `${rising} of ${count} pairs rise` : `${falling} of ${count} pairs fall`;
    return `${most} from ${alphaText(alphas[0])} to ${alphaText(alphas.at(-1))}.`;
  }

  function start() {
    byId("save-curve").onclick = save;
    Listen.onChange(render);
    View.onChange(render);
    Theme.onChange(render);
  }

  return { start, svgText };
})();

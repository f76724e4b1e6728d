"use strict";
// Curves, heatmaps and cost, drawn by Plotly, which is loaded after the player is ready.

const Charts = (() => {
  const view = { kind: "change", hidden: new Set() };
  const others = []; // what draws plots of other sections
  const BUTTONS = {
    displaylogo: false, displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false,
  };
  let ready = false;
  let turn = 0; // counts drawAll
  let inSight = false; // whether the curves are on the screen
  let marked = ""; // the strength and condition that were last marked in them
  let marking = false;

  const measure = () => MEASURES.get(View.measure);
  // Plotly reads a little markup in its labels.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
  const unit = () => (view.kind === "change" ? measure().changeUnit : measure().unit);
  const digits = () => (view.kind === "change" ? changeDigits(measure()) : measure().digits);
  const spell = (value, places) => (view.kind === "change" ? signedText : numberText)(value, places);

  function axisTitle() {
    const name = measure().label;
    const text = view.kind === "change" ? `${name}, change` : name;
    return unit() ? `${text} (${unit()})` : text;
  }

  function layout(changes) {
    const [ink, muted, rule] = ["--ink", "--muted", "--rule"].map(Theme.colour);
    const axis = {
      color: muted, gridcolor: rule, zerolinecolor: muted, zerolinewidth: 1, linecolor: rule, ticks: "",
      fixedrange: true, automargin: true, tickformat: "", hoverformat: "",
    };
    const { xaxis = {}, yaxis = {}, xaxis2, ...rest } = changes;
    if (xaxis2) rest.xaxis2 = { ...axis, ...xaxis2 };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink },
      margin: { l: 56, r: 12, t: 12, b: 48 }, showlegend: false, dragmode: false, hovermode: "closest",
      hoverlabel: { bgcolor: Theme.colour("--surface"), bordercolor: rule, font: { color: ink, size: 13 }, align: "left" },
      separators: ".\u202f", modebar: { bgcolor: "rgba(0,0,0,0)", color: muted, activecolor: ink }, xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
    };
  }

  function draw(target, traces, changes) {
    Plotly.react(target, traces, layout(changes), BUTTONS);
    if (!target.dataset.clickable) target.on("plotly_click", onPoint);
    target.dataset.clickable = "true";
  }

  const shown = () => DATA.conditions.map((condition, index) => ({ condition, index })).filter(({ index }) => !view.hidden.has(index));
  const estimates = (condition) => condition[view.kind][View.measure];

  // A closed outline around the interval, one for each stretch of points that has one.
  function band(condition, index) {
    const estimate = estimates(condition);
    const usable = condition.alphas.map((alpha, place) => [alpha, estimate.low[place], estimate.high[place]])
      .filter(([, low, high]) => isNumber(low) && isNumber(high));
    return {
      x: [...usable.map(([alpha]) => alpha), ...usable.map(([alpha]) => alpha).reverse()],
      y: [...usable.map(([, , high]) => high), ...usable.map(([, low]) => low).reverse()],
      fill: "toself", fillcolor: Theme.lineStyle(index).colour, opacity: shown().length > 4 ? 0.09 : 0.16,
      line: { width: 0 }, mode: "lines", hoverinfo: "skip", type: "scatter",
    };
  }

  function hover(condition, place) {
    const [value, interval] = estimateText(estimates(condition), place, digits(), unit(), spell);
    const pairs = estimates(condition).n[place] ?? 0;
    return `<b>${plain(condition.label)}</b><br>α ${alphaText(condition.alphas[place])}<br>${value} ${interval}<br>${pairs} pairs`;
  }

  function line(condition, index, x, extra) {
    const style = Theme.lineStyle(index);
    return {
      x, y: estimates(condition).value, mode: "lines+markers", type: "scatter", connectgaps: false,
      line: { color: style.colour, dash: style.dash, width: 2.2 },
      marker: { color: style.colour, symbol: style.symbol, size: 8, line: { color: Theme.colour("--paper"), width: 1 } },
      text: condition.alphas.map((_, place) => hover(condition, place)), hovertemplate: "%{text}<extra></extra>",
      meta: { condition: index }, ...extra,
    };
  }

  // Two concepts whose strengths are of different size each get a panel with an axis of its own.
  function panels() {
    const reach = new Map();
    for (const { condition } of shown()) {
      reach.set(condition.concept, Math.max(reach.get(condition.concept) ?? 0, ...condition.alphas.map(Math.abs)));
    }
    const [one, other] = [...reach.values()];
    return reach.size === 2 && Math.max(one, other) > 2 * Math.min(one, other) ? [...reach.keys()] : [];
  }
  const axisOf = (condition) => (panels().indexOf(condition?.concept) === 1 ? "x2" : "x");

  const strengthAxes = () => {
    const [one, other] = panels();
    if (!other) return { xaxis: { title: { text: "Strength α" }, zeroline: true } };
    const narrow = byId("curve-plot").clientWidth < 560;
    const axis = (concept, domain) => ({
      title: { text: narrow ? `α of ${plain(concept)}` : `Strength α of ${plain(concept)}` }, zeroline: true, domain,
      nticks: narrow ? 3 : 6, tickangle: 0,
    });
    return { xaxis: axis(one, [0, 0.48]), xaxis2: axis(other, [0.52, 1]) };
  };

  function drawCurves() {
    const conditions = shown();
    const on = ({ condition }) => ({ xaxis: axisOf(condition) });
    const traces = conditions.map((each) => ({ ...band(each.condition, each.index), ...on(each) }));
    traces.push(...conditions.map((each) => line(each.condition, each.index, each.condition.alphas, on(each))));
    const present = Listen.present;
    marked = "";
    const shapes = present ? [{
      type: "line", x0: present.alpha, x1: present.alpha, xref: axisOf(DATA.conditions[Listen.chosen.condition]),
      yref: "paper", y0: 0, y1: 1, layer: "below", line: { color: Theme.colour("--accent"), width: 1.5, dash: "dot" },
    }] : [];
    const zeroline = view.kind === "change";
    byId("curve-plot").setAttribute("aria-label", `Curves: ${axisTitle()} against alpha; the table of conditions has the numbers`);
    draw(byId("curve-plot"), traces, { ...strengthAxes(), yaxis: { title: { text: axisTitle(), standoff: 8 }, zeroline }, shapes });
  }

  // Conditions that differ in one thing alone, with at least two values of it.
  function groups(key) {
    const found = new Map();
    shown().forEach(({ condition }) => {
      const rows = found.get(condition[key]) ?? [];
      found.set(condition[key], [...rows, condition]);
    });
    return [...found.values()].filter((rows) => rows.length > 1);
  }

  function heatmaps() {
    const rowName = (rows, names) => (condition) => names.filter((name) => new Set(rows.map((row) => row[name])).size > 1)
      .map((name) => condition[name]).filter(Boolean).join(" ") || condition.label;
    const made = [];
    for (const rows of groups("exceptLayers")) {
      made.push({ rows, name: rowName(rows, ["layers", "source"]), title: `${rows[0].concept}, ${rows[0].strategy}: layers` });
    }
    for (const rows of groups("exceptStrategy")) {
      if (new Set(rows.map((row) => row.strategy)).size < 2) continue;
      made.push({ rows, name: rowName(rows, ["strategy", "source"]), title: `${rows[0].concept}, ${rows[0].layers}: strategies` });
    }
    return made;
  }

  function colourScale(values) {
    const [low, middle, high] = ["--cold", "--surface", "--warm"].map(Theme.colour);
    if (view.kind !== "change") return { colorscale: [[0, middle], [1, high]] };
    const most = Math.max(...values.flat().filter(isNumber).map(Math.abs), 1e-9);
    return { colorscale: [[0, low], [0.5, middle], [1, high]], zmin: -most, zmax: most };
  }

  function drawHeatmap(target, { rows, name }) {
    const alphas = [...new Set(rows.flatMap((row) => row.alphas))].sort((one, other) => one - other);
    const pick = (row, alpha, read) => {
      const place = row.alphas.indexOf(alpha);
      return place < 0 ? null : read(row, place);
    };
    const z = rows.map((row) => alphas.map((alpha) => pick(row, alpha, (one, place) => estimates(one).value[place])));
    const text = rows.map((row) => alphas.map((alpha) => pick(row, alpha, (one, place) => hover(one, place)) ?? ""));
    const few = alphas.length * 44 < target.clientWidth - 90;
    const labels = z.map((row) => row.map((value) => (few && isNumber(value) ? spell(value, Math.abs(value) >= 10 ? 0 : digits()) : "")));
    const places = { xaxis: { type: "category", title: { text: "Strength α" }, showgrid: false, tickangle: 0 }, yaxis: { type: "category", showgrid: false, autorange: "reversed" } };
    target.style.height = `${110 + 38 * rows.length}px`;
    draw(target, [{
      type: "heatmap", z, x: alphas.map(alphaText), y: rows.map((row) => plain(name(row))), customdata: text, text: labels,
      texttemplate: "%{text}", textfont: { color: Theme.colour("--ink"), size: 12 }, hovertemplate: "%{customdata}<extra></extra>", hoverongaps: false, xgap: 2, ygap: 2,
      ...colourScale(z), showscale: target.clientWidth > 420, colorbar: { thickness: 10, outlinewidth: 0, tickfont: { color: Theme.colour("--muted") }, ticksuffix: unit() === "%" ? " %" : "" },
    }], { ...places, margin: { l: 70, r: 8, t: 8, b: 48 } });
  }

  // Makes room for the heatmaps, and returns what draws each.
  function layOutHeatmaps() {
    const wanted = heatmaps();
    byId("heatmaps").hidden = wanted.length === 0;
    const holder = byId("heatmap-plots");
    while (holder.children.length > wanted.length) holder.lastElementChild.remove();
    while (holder.children.length < wanted.length) {
      const figure = make("figure", { className: "plot heatmap" });
      figure.setAttribute("role", "img");
      holder.append(make("div", {}, make("h3"), figure));
    }
    return wanted.map((heatmap, index) => {
      const [heading, figure] = holder.children[index].children;
      heading.textContent = heatmap.title;
      figure.setAttribute("aria-label", `Heatmap: ${axisTitle()}; ${heatmap.title} against alpha`);
      return () => drawHeatmap(figure, heatmap);
    });
  }

  function drawCost() {
    byId("cost").hidden = !DATA.hasKl || View.measure === "kl_nats";
    if (byId("cost").hidden) return;
    const traces = shown().map(({ condition, index }) => line(condition, index, condition.mean.kl_nats.value));
    draw(byId("cost-plot"), traces, {
      xaxis: { title: { text: "KL divergence (nats a code)" }, rangemode: "tozero" },
      yaxis: { title: { text: axisTitle(), standoff: 8 }, zeroline: view.kind === "change" },
    });
  }

  // One plot after the other, so that the player can be used in between; a newer call takes over.
  async function drawAll() {
    if (!ready) return;
    turn += 1;
    const mine = turn;
    const own = DATA.conditions.length ? [drawCurves, ...layOutHeatmaps(), drawCost] : [];
    for (const one of [...own, ...others]) {
      one();
      await new Promise((resolve) => setTimeout(resolve));
      if (mine !== turn) return;
    }
  }

  function swatch(index) {
    const { colour, dash } = Theme.lineStyle(index);
    const dashes = { solid: "", dash: "5 3", dot: "1.5 3", dashdot: "5 3 1.5 3" }[dash];
    const span = make("span", { className: "swatch" });
    span.innerHTML = `<svg viewBox="0 0 24 8" aria-hidden="true"><path d="M0 4h24" stroke="${colour}" stroke-width="3" stroke-dasharray="${dashes}" fill="none"/></svg>`;
    return span;
  }

  function drawLegend() {
    byId("legend").replaceChildren(...DATA.conditions.map((condition, index) => {
      const chip = make("button", { type: "button", className: "chip", title: condition.detail }, swatch(index), condition.label);
      chip.setAttribute("aria-pressed", String(!view.hidden.has(index)));
      chip.onclick = () => {
        if (!view.hidden.delete(index)) view.hidden.add(index);
        chip.setAttribute("aria-pressed", String(!view.hidden.has(index)));
        drawAll();
      };
      return chip;
    }));
  }

  function onPoint(event) {
    const point = event.points[0];
    const index = point.data.meta?.condition;
    if (index === undefined) return;
    Listen.play(Listen.chosen.prompt, Listen.chosen.seed, index, DATA.conditions[index].alphas[point.pointIndex]);
  }

  // Every point of every curve, with all measures.
  function csvRows() {
    const rows = [["steering", "strength", "measure", "unit", "pairs", "mean", "mean low", "mean high", "change unit", "change", "change low", "change high"]];
    for (const condition of DATA.conditions) {
      for (const { key, name, unit: own, changeUnit } of DATA.measures) {
        condition.alphas.forEach((alpha, place) => {
          const [mean, moved] = [condition.mean[key], condition.change[key]];
          rows.push([condition.name, alpha, name, own, mean.n[place], mean.value[place], mean.low[place], mean.high[place],
            changeUnit, moved.value[place], moved.low[place], moved.high[place]]);
        });
      }
    }
    return rows;
  }

  async function saveSvg() {
    const plot = byId("curve-plot");
    const address = await Plotly.toImage(plot, { format: "svg", width: plot.clientWidth, height: plot.clientHeight });
    const text = decodeURIComponent(address.slice(address.indexOf(",") + 1));
    Save.blob(new Blob([text], { type: "image/svg+xml" }), `${Save.nameOf("curves", measure().name)}.svg`);
  }

  // Move the line at the player's strength: once a frame at most, and only where it is seen.
  function markStrength() {
    const place = () => `${Listen.present?.alpha} ${Listen.chosen.condition}`;
    if (marking || !ready || !inSight || !shown().length || !Listen.present || place() === marked) return;
    marking = true;
    requestAnimationFrame(() => {
      marking = false;
      if (!Listen.present) return;
      marked = place();
      const { alpha } = Listen.present;
      const xref = axisOf(DATA.conditions[Listen.chosen.condition]);
      Plotly.relayout("curve-plot", { "shapes[0].x0": alpha, "shapes[0].x1": alpha, "shapes[0].xref": xref });
    });
  }

  // Plotly's script stands beside the page, or as text inside it.
  async function loadPlotly() {
    await parsed;
    const source = byId("plotly-source");
    const script = make("script");
    return new Promise((resolve, reject) => {
      if (source.dataset.src) {
        Object.assign(script, { src: source.dataset.src, onload: resolve, onerror: () => reject(new Error(`${source.dataset.src} is missing beside the page`)) });
        document.head.append(script);
      } else {
        script.textContent = source.textContent;
        document.head.append(script);
        resolve();
      }
    });
  }

  function setUp() {
    View.onChange(drawAll);
    byId("view").onchange = (event) => {
      view.kind = event.target.value;
      drawAll();
    };
    byId("save-svg").onclick = saveSvg;
    byId("save-csv").onclick = () => Save.csv(csvRows(), "curves");
    drawLegend();
    Theme.onChange(() => { drawLegend(); drawAll(); });
    Listen.onChange(markStrength);
    new IntersectionObserver(([entry]) => {
      inSight = entry.isIntersecting;
      markStrength();
    }).observe(byId("curve-plot"));
  }

  async function start() {
    try {
      await loadPlotly();
    } catch (error) {
      for (const figure of document.querySelectorAll("figure.plot")) figure.textContent = `No plots: ${error.message}.`;
      return;
    }
    ready = true;
    byId("save-svg").disabled = false;
    await drawAll();
  }

  return {
    setUp, start, draw, plain, csvRows,
    add: (drawer) => others.push(drawer),
  };
})();

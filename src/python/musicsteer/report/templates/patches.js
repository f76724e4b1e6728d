"use strict";
// Activation patching: a heatmap of layers and sites for each file, and its numbers in a table beneath.

const Patches = (() => {
  const PLACES = 3;

  function intervalText({ low, high }) {
    return isNumber(low) && isNumber(high) ? `[${numberText(low, PLACES)}, ${numberText(high, PLACES)}]` : "no interval";
  }

  // One row for each site and layer, in the file's order.
  function rowsOf(patch) {
    return patch.sites.flatMap((site, row) => patch.layers.map((layer, column) => ({
      site, layer, value: patch.value[row][column], low: patch.low[row][column], high: patch.high[row][column],
    })));
  }

  function hover(patch, cell) {
    const layer = cell.layer === "all" ? "all layers at once" : `layer ${cell.layer}`;
    return `<b>${layer}, ${Charts.plain(cell.site)}</b><br>${patch.label.toLowerCase()} ${numberText(cell.value, PLACES)}<br>`
      + `${intervalText(cell)}<br>${patch.counted}`;
  }

  function draw(figure, patch) {
    const [low, middle, high] = ["--cold", "--surface", "--warm"].map(Theme.colour);
    const rows = rowsOf(patch);
    const grid = (read) => patch.sites.map((_, row) => rows.slice(row * patch.layers.length, (row + 1) * patch.layers.length).map(read));
    const roomy = patch.layers.length * 34 < figure.clientWidth - 130;
    figure.style.height = `${96 + 32 * patch.sites.length}px`;
    Charts.draw(figure, [{
      type: "heatmap", x: patch.layers, y: patch.sites.map(Charts.plain), z: grid(({ value }) => value),
      customdata: grid((cell) => hover(patch, cell)), hovertemplate: "%{customdata}<extra></extra>", hoverongaps: false,
      text: grid(({ value }) => (roomy && isNumber(value) ? numberText(value, 2) : "")), texttemplate: "%{text}",
      textfont: { color: Theme.colour("--ink"), size: 12 }, xgap: 2, ygap: 2,
      colorscale: [[0, low], [0.5, middle], [1, high]], zmin: -patch.fullScale, zmax: patch.fullScale,
      showscale: figure.clientWidth > 620, colorbar: { thickness: 10, outlinewidth: 0, tickfont: { color: Theme.colour("--muted") } },
    }], {
      xaxis: { type: "category", title: { text: "Layer" }, showgrid: false, tickangle: 0 },
      yaxis: { type: "category", showgrid: false, autorange: "reversed" },
      margin: { l: 70, r: 8, t: 8, b: 48 },
    });
  }

  // The columns of `musicsteer patch --csv`.
  function csvRows(patch) {
    return [["layer", "site", patch.quantity, "low", "high"], ...rowsOf(patch).map(({ layer, site, value, low, high }) => [layer, site, value, low, high])];
  }

  function table(holder, patch) {
    new SortableTable(holder, {
      caption: patch.title, rows: rowsOf(patch), pageSize: 16,
      csv: () => csvRows(patch), name: patch.name.replace(/[^A-Za-z0-9._-]+/g, "-"),
      columns: [
        { title: "Layer", sort: ({ layer }) => (layer === "all" ? Infinity : Number(layer)), cell: ({ layer }) => layer },
        { title: "Site", sort: ({ site }) => patch.sites.indexOf(site), cell: ({ site }) => site },
        {
          title: patch.label, numeric: true, sort: ({ value }) => value,
          cell: (row) => [make("b", { textContent: numberText(row.value, PLACES) }), make("small", { textContent: intervalText(row) })],
        },
      ],
    });
  }

  function setUp() {
    for (const patch of DATA.patches) {
      const figure = make("figure", { className: "plot heatmap" });
      figure.setAttribute("role", "img");
      figure.setAttribute("aria-label", `Heatmap: ${patch.title}, by layer and site; the table has the numbers`);
      const holder = make("div");
      byId("patch-list").append(make("div", {}, make("h3", { textContent: patch.title }),
        make("p", { className: "note", textContent: patch.detail }), figure, holder));
      table(holder, patch);
      Charts.add(() => draw(figure, patch));
    }
  }

  return { setUp };
})();

"use strict";
// Tables that sort by any column, and show a page of rows at a time, so that thousands stay fluid.

const classOf = ({ numeric, kind = "" }) => (numeric ? "numeric" : kind);

class SortableTable {
  // columns: { title, sort(row) -> number, text or null, cell(row) -> text or nodes, numeric, kind: a class }
  // csv() -> rows of what is saved, as a file called `name`
  constructor(holder, { caption, columns, rows, pageSize, search, csv, name }) {
    Object.assign(this, { columns, rows, pageSize, search, page: 0, order: null });
    this.found = rows;
    this.head = make("tr");
    this.body = make("tbody");
    this.count = make("span", { className: "count" });
    this.previous = make("button", { type: "button", textContent: "Previous", onclick: () => this.turn(-1) });
    this.next = make("button", { type: "button", textContent: "Next", onclick: () => this.turn(1) });
    const table = make("table", {}, make("caption", { className: "hidden", textContent: caption }), make("thead", {}, this.head), this.body);
    const scroller = make("div", { className: "scroller", tabIndex: 0 }, table);
    scroller.setAttribute("role", "region");
    scroller.setAttribute("aria-label", caption);
    const bar = make("div", { className: "table-bar" });
    if (search) {
      const field = make("input", { type: "search", placeholder: "piano, seed 3, …", oninput: () => this.filter(field.value) });
      bar.append(make("label", {}, "Find ", field));
    }
    this.count.setAttribute("role", "status");
    this.previous.hidden = this.next.hidden = rows.length <= pageSize;
    const save = make("button", { type: "button", textContent: "Save as CSV", onclick: () => Save.csv(csv(), name) });
    bar.append(this.count, this.previous, this.next, save);
    holder.replaceChildren(bar, scroller);
    this.setColumns(columns);
  }

  setColumns(columns) {
    this.columns = columns;
    this.head.replaceChildren(...columns.map((column, index) => {
      const header = make("th", { scope: "col", className: classOf(column) });
      if (column.sort) header.append(make("button", { type: "button", textContent: column.title, onclick: () => this.sortBy(index) }));
      else header.append(make("span", { className: "hidden", textContent: column.title }));
      return header;
    }));
    this.render();
  }

  filter(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.found = this.rows.filter((row) => words.every((word) => this.search(row).includes(word)));
    this.page = 0;
    this.render();
  }

  sortBy(index) {
    const falling = this.order?.index === index ? !this.order.falling : false;
    this.order = { index, falling };
    this.page = 0;
    this.render();
  }

  turn(by) {
    this.page += by;
    this.render();
  }

  // What is undefined goes to the end either way; equal rows stay in their order.
  sorted() {
    if (!this.order) return this.found;
    const { sort } = this.columns[this.order.index];
    const sign = this.order.falling ? -1 : 1;
    const keyed = this.found.map((row) => [sort(row), row]);
    keyed.sort(([one], [other]) => {
      if (one === null || other === null) return (one === null) - (other === null);
      return sign * (typeof one === "string" ? one.localeCompare(other) : one - other);
    });
    return keyed.map(([, row]) => row);
  }

  render() {
    const rows = this.sorted();
    const first = this.page * this.pageSize;
    const some = rows.slice(first, first + this.pageSize);
    this.body.replaceChildren(...some.map((row) => make("tr", {}, ...this.columns.map((column) => {
      const cell = make("td", { className: classOf(column) });
      cell.append(...[column.cell(row)].flat());
      return cell;
    }))));
    [...this.head.children].forEach((header, index) => {
      if (this.order?.index === index) header.setAttribute("aria-sort", this.order.falling ? "descending" : "ascending");
      else header.removeAttribute("aria-sort");
    });
    this.count.textContent = rows.length <= this.pageSize ? `${rows.length} rows` : `${first + 1}–${first + some.length} of ${rows.length}`;
    this.previous.disabled = first === 0;
    this.next.disabled = first + this.pageSize >= rows.length;
  }
}

const Tables = (() => {
  const narrow = matchMedia("(max-width: 640px)");
  const main = DATA.measures.filter((measure) => measure.main);
  // On a phone, what is wide goes to the end, so that the numbers are seen first.
  const ordered = (columns) => (narrow.matches ? [...columns].sort((one, other) => Boolean(one.kind) - Boolean(other.kind)) : columns);

  function listenButton(what, onclick) {
    const button = make("button", { type: "button", className: "listen", onclick });
    button.innerHTML = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M7 4.5v15l12.5-7.5z"/></svg>';
    button.setAttribute("aria-label", `Listen to ${what}`);
    return button;
  }

  // Which direction a row is of, below its strength, where its own column is out of sight.
  const small = (text) => (narrow.matches ? [make("small", { textContent: text })] : []);

  function estimateColumn(measure, kind) {
    const places = kind === "change" ? changeDigits(measure) : measure.digits;
    const unit = kind === "change" ? measure.changeUnit : measure.unit;
    const spell = kind === "change" ? signedText : numberText;
    return {
      title: `${measure.label}${kind === "change" ? " change" : ""}${unit ? `, ${unit}` : ""}`,
      numeric: true,
      sort: ({ condition, place }) => condition[kind][measure.key].value[place],
      cell: ({ condition, place }) => {
        const [value, interval] = estimateText(condition[kind][measure.key], place, places, "", spell);
        return [make("b", { textContent: value }), make("small", { textContent: interval })];
      },
    };
  }

  function conditionColumns() {
    const chosen = MEASURES.get(View.measure);
    const keys = [...new Set([chosen.key, ...main.map(({ key }) => key)])].filter((key) => key !== "kl_nats");
    const pairsOf = ({ condition, place }) => condition.mean[chosen.key].n[place];
    const columns = [
      { title: "Listen", cell: ({ condition, index, place }) => listenButton(`${condition.name} at alpha ${alphaText(condition.alphas[place])}`,
        () => Listen.play(Listen.chosen.prompt, Listen.chosen.seed, index, condition.alphas[place])) },
      { title: "Steering", kind: "condition", sort: ({ condition }) => condition.name, cell: ({ condition }) => make("span", { textContent: condition.name, title: condition.detail }) },
      { title: "Strength", numeric: true, sort: ({ condition, place }) => condition.alphas[place],
        cell: ({ condition, place }) => [alphaText(condition.alphas[place]), ...small(condition.concept)] },
      { title: "Pairs", numeric: true, sort: pairsOf, cell: (row) => String(pairsOf(row) ?? "–") },
      estimateColumn(chosen, "mean"),
      ...keys.map((key) => estimateColumn(MEASURES.get(key), "change")),
    ];
    if (DATA.hasKl && chosen.key !== "kl_nats") columns.push(estimateColumn(MEASURES.get("kl_nats"), "mean"));
    return ordered(columns);
  }

  function clipColumns() {
    const label = (clip) => DATA.conditions[clip.condition]?.name ?? "unsteered";
    const plain = (title, read, numeric = false, spell = String) => ({ title, numeric, sort: read, cell: (clip) => spell(read(clip)) });
    const measures = [...main, ...["true_peak_dbtp", "silence_share", "kl_nats"].map((key) => MEASURES.get(key)).filter(Boolean)];
    return ordered([
      { title: "Listen", cell: (clip) => (clip.audio ? listenButton(`${DATA.prompts[clip.prompt]}, seed ${clip.seed}, alpha ${alphaText(clip.alpha)}`,
        () => Listen.play(clip.prompt, clip.seed, clip.condition, clip.alpha)) : make("span", { className: "note", textContent: "no audio" })) },
      { ...plain("Prompt", (clip) => DATA.prompts[clip.prompt]), kind: "words" },
      plain("Seed", (clip) => Number(clip.seed), true),
      { ...plain("Steering", label), kind: "condition" },
      { ...plain("Strength", (clip) => clip.alpha, true),
        cell: (clip) => [alphaText(clip.alpha), ...small(DATA.conditions[clip.condition]?.concept ?? "unsteered")] },
      ...measures.map((measure) => plain(measure.unit ? `${measure.label}, ${measure.unit}` : measure.label,
        (clip) => measureOf(clip, measure.key), true, (value) => numberText(value, measure.digits))),
    ]);
  }

  // Every clip with all of its measures.
  function clipRows() {
    const head = ["id", "prompt", "seed", "steering", "strength", ...DATA.measures.map(({ name, unit }) => (unit ? `${name} (${unit})` : name))];
    return [head, ...DATA.clips.map((clip) => [clip.id, DATA.prompts[clip.prompt], clip.seed,
      DATA.conditions[clip.condition]?.name ?? "unsteered", clip.alpha, ...clip.measures])];
  }

  function start() {
    const rows = DATA.conditions.flatMap((condition, index) => condition.alphas.map((_, place) => ({ condition, index, place })));
    const conditions = new SortableTable(byId("conditions-table"), {
      caption: "Means with 95 % intervals", columns: conditionColumns(), rows, pageSize: 30, csv: Charts.csvRows, name: "means",
    });
    const clips = new SortableTable(byId("runs-table"), {
      caption: "Clips and their measures", columns: clipColumns(), rows: DATA.clips, pageSize: 25, csv: clipRows, name: "clips",
      search: (clip) => `${DATA.prompts[clip.prompt]} seed ${clip.seed} ${DATA.conditions[clip.condition]?.name ?? "unsteered"} ${alphaText(clip.alpha)}`.toLowerCase(),
    });
    View.onChange(() => conditions.setColumns(conditionColumns()));
    narrow.addEventListener("change", () => {
      conditions.setColumns(conditionColumns());
      clips.setColumns(clipColumns());
    });
  }

  return { start };
})();

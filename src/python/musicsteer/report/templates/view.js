"use strict";
// Which measure the page shows, in curve, plots and tables alike: at first what the chosen direction moves most.

const View = (() => {
  const listeners = [];
  let measure = DATA.conditions[0]?.opens ?? DATA.measures[0]?.key;
  const selects = ["measure", "player-measure"].map(byId);

  function show(key) {
    if (key === measure) return;
    measure = key;
    selects.forEach((select) => { select.value = key; });
    listeners.forEach((listener) => listener());
  }

  function start() {
    for (const select of selects) {
      select.replaceChildren(...DATA.measures.map(({ key, label }) => make("option", { value: key, textContent: label })));
      select.value = measure;
      select.onchange = () => show(select.value);
    }
  }

  return { start, show, onChange: (listener) => listeners.push(listener), get measure() { return measure; } };
})();

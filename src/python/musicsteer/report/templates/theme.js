"use strict";
// Light, dark or as the system says; colours for what is drawn on canvases.

const Theme = (() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];
  const probe = make("span", { hidden: true });
  document.body.append(probe);

  const isDark = () => (root.dataset.theme === "auto" || !root.dataset.theme ? system.matches : root.dataset.theme === "dark");

  // A custom property such as "--ink" as the colour that it is in the present theme.
  function colour(name) {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  }

  const notify = () => listeners.forEach((listener) => listener());
  const chosen = byId("theme").querySelector(`[value="${root.dataset.theme ?? "auto"}"]`);
  if (chosen) chosen.checked = true;
  byId("theme").addEventListener("change", (event) => {
    root.dataset.theme = event.target.value;
    try {
      localStorage.setItem("musicsteer-theme", event.target.value);
    } catch {
      // Without storage, the choice lasts as long as the page.
    }
    notify();
  });
  system.addEventListener("change", notify);

  // Okabe and Ito's colours, which colour-blind people can tell apart, adjusted to each background; dashes and
  // symbols tell lines apart without colour.
  const PALETTES = {
    light: ["#0067a5", "#c8501b", "#00805e", "#a6487f", "#8a6a00", "#4d5b8c", "#5a5a5a"],
    dark: ["#5ab4f0", "#ff9a62", "#3fd0a4", "#ec9fcb", "#f0c75a", "#a7b4f0", "#c0c0c0"],
  };
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star"];

  function lineStyle(index) {
    const colours = PALETTES[isDark() ? "dark" : "light"];
    return {
      colour: colours[index % colours.length],
      dash: DASHES[Math.floor(index / colours.length) % DASHES.length],
      symbol: SYMBOLS[index % SYMBOLS.length],
    };
  }

  return { isDark, colour, lineStyle, onChange: (listener) => listeners.push(listener) };
})();

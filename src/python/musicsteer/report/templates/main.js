"use strict";
// What happens when the page opens: the player first, then tables, then the plots, whose script is large.

(async () => {
  await parsed;
  const hasPlots = Boolean(byId("plotly-source")) && (DATA.conditions.length > 0 || DATA.patches.length > 0);
  byId("curves").hidden = !hasPlots || !DATA.conditions.length;
  byId("conditions").hidden = !DATA.conditions.length;
  View.start();
  Charts.setUp();
  Curve.start();
  if (DATA.clips.length) Tables.start();
  Patches.setUp();
  const patience = new Promise((resolve) => setTimeout(resolve, 1500));
  if (DATA.clips.length) await Promise.race([Listen.start(), patience]);
  performance.mark("musicsteer-ready");
  await new Promise((resolve) => (window.requestIdleCallback ?? setTimeout)(resolve));
  if (hasPlots) await Charts.start();
  performance.mark("musicsteer-plots");
  document.documentElement.dataset.ready = "true";
})();

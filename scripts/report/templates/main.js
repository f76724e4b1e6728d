"use strict";
// What happens when the page opens: the player first, then tables, then the plots, whose script is large.

(async () => {
  if (!DATA.conditions.length) for (const id of ["curves", "conditions"]) byId(id).hidden = true;
  Charts.setUp();
  Tables.start();
  const patience = new Promise((resolve) => setTimeout(resolve, 1500));
  await Promise.race([Listen.start(), patience]);
  performance.mark("musicsteer-ready");
  await new Promise((resolve) => (window.requestIdleCallback ?? setTimeout)(resolve));
  if (DATA.conditions.length) await Charts.start();
  performance.mark("musicsteer-plots");
  document.documentElement.dataset.ready = "true";
})();

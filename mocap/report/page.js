"use strict";
// Draws the plots of the page from the numbers in it. All text that is shown is set as text, never as HTML.
(function () {
  const plots = JSON.parse(document.getElementById("numbers").textContent);
  const colours = ["#2f6fb7", "#d4582a", "#2f8f4e", "#8a4fb0", "#b08a00", "#138a8a", "#c2397a", "#5b5f66"];
  const shown = (u, v) => (v == null ? "-" : (Math.abs(v) >= 100 ? v.toFixed(0) : v.toFixed(1)));
  const drawn = [];

  function touch(u) { // a finger reads values as the mouse does; the page still scrolls up and down
    const move = (event) => {
      const box = u.over.getBoundingClientRect();
      u.setCursor({ left: event.touches[0].clientX - box.left, top: event.touches[0].clientY - box.top });
    };
    u.over.style.touchAction = "pan-y";
    u.over.addEventListener("touchstart", move, { passive: true });
    u.over.addEventListener("touchmove", move, { passive: true });
  }

  for (const place of document.querySelectorAll(".plot")) {
    const plot = plots[Number(place.dataset.plot)];
    const seconds = plot.seconds;
    const options = {
      width: place.clientWidth,
      height: 220,
      scales: { x: { time: false }, y: { range: (u, low, high) => [Math.min(0, low || 0), (high || 1) * 1.05] } },
      axes: [{ size: 34, label: "frame", labelSize: 16, labelGap: 0 }, { size: 46 }],
      cursor: { drag: { x: true, y: false }, sync: { key: "frames" } },
      series: [
        { label: "frame", value: (u, v, s, i) => (i == null ? "-" : v.toFixed(0) + " (" + seconds[i].toFixed(2) + " s)") },
      ].concat(plot.series.map((one, n) => ({
        label: one.name, stroke: colours[n % colours.length], width: 1.4, dash: n >= colours.length ? [6, 4] : undefined,
        points: { show: plot.frames.length === 1 ? true : undefined },
        value: (u, v) => (v == null ? "-" : shown(u, v) + " " + plot.unit),
      }))),
      hooks: { ready: [touch] },
    };
    const u = new uPlot(options, [plot.frames].concat(plot.series.map((one) => one.values)), place);
    drawn.push([u, place]);
  }
  window.addEventListener("resize", () => {
    for (const [u, place] of drawn) u.setSize({ width: place.clientWidth, height: 220 });
  });
})();

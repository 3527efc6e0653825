// Charts in the colours of the theme, drawn anew when it changes.
"use strict";

const pgCharts = (() => {
  const SERIES = {
    light: ["#0f766e", "#2563eb", "#b45309", "#7c3aed", "#be185d", "#4d7c0f"],
    dark: ["#2dd4bf", "#60a5fa", "#fbbf24", "#a78bfa", "#f472b6", "#a3e635"],
  };
  const NAMED = {
    light: { ok: "#0f766e", cancelled: "#2563eb", lost: "#b91c1c", error: "#c2410c" },
    dark: { ok: "#2dd4bf", cancelled: "#60a5fa", lost: "#f87171", error: "#fb923c" },
  };
  const drawn = [];

  const theme = () => (document.documentElement.classList.contains("dark") ? "dark" : "light");
  const colour = (name, i) => NAMED[theme()][name] || SERIES[theme()][i % SERIES.light.length];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const short = (value) =>
    Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);

  const worded = (value, unit) =>
    unit === " ms" && value >= 1000 ? `${short(value / 1000)} s` : short(value) + unit;

  function options(kind, unit) {
    const quiet = css("--pg-quiet"), line = css("--pg-line");
    const stacked = kind !== "line";
    return {
      responsive: true, maintainAspectRatio: false, animation: false,
      interaction: { mode: "index", intersect: false },
      plugins: {
        legend: { position: "bottom", labels: { color: quiet, boxWidth: 10, boxHeight: 10, usePointStyle: true } },
        tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${unit ? worded(item.parsed.y, unit) : item.formattedValue}` } },
      },
      scales: {
        x: { stacked, grid: { display: false }, ticks: { color: quiet, maxRotation: 0, autoSkipPadding: 16 }, border: { color: line } },
        y: { stacked, beginAtZero: true, grid: { color: line }, border: { display: false },
             ticks: { color: quiet, maxTicksLimit: 6, callback: (value) => worded(value, unit) } },
      },
    };
  }

  function draw(entry) {
    if (entry.chart) entry.chart.destroy();
    const datasets = Object.entries(entry.series).map(([label, data], i) => ({
      label, data, borderColor: colour(label, i), backgroundColor: colour(label, i),
      borderDash: entry.kind === "line" && i === 2 ? [5, 4] : [],
      borderWidth: entry.kind === "line" ? 2 : 0, borderRadius: 3, maxBarThickness: 36,
      pointRadius: data.length > 40 ? 0 : 2, tension: 0.25, spanGaps: false,
    }));
    entry.chart = new Chart(entry.canvas, {
      type: entry.kind, data: { labels: entry.labels, datasets }, options: options(entry.kind, entry.unit),
    });
  }

  function add(id, kind, labels, series, unit = "") {
    const canvas = document.getElementById(id);
    if (!canvas) return;
    const entry = { canvas, kind, labels, series, unit };
    drawn.push(entry);
    draw(entry);
  }

  new MutationObserver(() => drawn.forEach(draw)).observe(document.documentElement, {
    attributes: true, attributeFilter: ["class"],
  });
  return { add, colour, css, theme };
})();

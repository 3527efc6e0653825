// The usage page: charts from the page's own data, and dates only where they count.
"use strict";

(() => {
  const range = document.getElementById("id_range");
  const custom = document.querySelector(".pg-custom");
  const toggle = () => { custom.hidden = range.value !== "custom"; };
  range.addEventListener("change", toggle);
  toggle();

  const source = document.getElementById("usage-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  pgCharts.add("chart-tokens", "bar", data.labels, data.tokens);
  pgCharts.add("chart-statuses", "bar", data.labels, data.statuses);
  pgCharts.add("chart-ttft", "line", data.labels, data.ttft, " ms");
  pgCharts.add("chart-itl", "line", data.labels, data.itl, " ms");
  pgCharts.add("chart-groups", "bar", data.labels, data.groups.series);
})();

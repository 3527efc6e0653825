// The live engine page: one frame a second while the tab is visible.
"use strict";

(() => {
  const root = document.getElementById("live"), $ = (id) => document.getElementById(id);
  const token = root.querySelector("[name=csrfmiddlewaretoken]").value;
  const mayAct = Boolean(root.dataset.mayAct);
  const HEIGHT = 144, KEPT = 180, MOST_EVENTS = 100;
  let wanted = root.dataset.engine, requests = [], shown = null;
  const history = { t: [], tokens: [], running: [], waiting: [], step: [] };
  const map = pgBlockMap($("map"), $("map-tip"), (i) => requests[i]);

  const number = (value, digits = 0) => Number(value).toLocaleString("en", { maximumFractionDigits: digits });
  const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(0)} %`);
  const bytes = (value) => (value >= 1e9 ? `${(value / 1e9).toFixed(1)} GB` : `${(value / 1e6).toFixed(0)} MB`);
  const seconds = (ms) => (ms < 10000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`);
  const put = (id, value, note) => { $(`g-${id}`).textContent = value; if (note !== undefined) $(`n-${id}`).textContent = note; };

  // Curves

  const plots = [];
  function plot(id, series) {
    const holder = $(id), quiet = pgCharts.css("--pg-quiet"), line = pgCharts.css("--pg-line");
    const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px Inter, sans-serif" };
    const chart = new uPlot({
      width: holder.clientWidth || 300, height: HEIGHT, legend: { show: false }, cursor: { show: false },
      scales: { x: { time: true }, y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
      axes: [{ ...axis, grid: { show: false }, size: 26, space: 70, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 42 }],
      series: [{}, ...series.map(([label], i) => ({
        label, width: 1.75, stroke: pgCharts.colour(label, i),
        fill: series.length === 1 ? `color-mix(in oklch, ${pgCharts.colour(label, i)} 14%, transparent)` : undefined, points: { show: false },
      }))],
    }, [[], ...series.map(() => [])], holder);
    plots.push({ chart, holder, keys: series.map(([, key]) => key) });
  }
  const clock = (at) => new Date(at * 1000).toISOString().slice(11, 19);
  function drawPlots() {
    if (!plots.length) {
      $("plot-keys").replaceChildren(...["running", "waiting"].map((label, i) => {
        const key = document.createElement("span");
        key.className = "pg-key"; key.textContent = label; key.style.setProperty("color", pgCharts.colour(label, i));
        return key;
      }));
      plot("plot-tokens", [["tokens/s", "tokens"]]);
      plot("plot-sequences", [["running", "running"], ["waiting", "waiting"]]);
      plot("plot-step", [["ms", "step"]]);
    }
    for (const { chart, keys } of plots) chart.setData([history.t, ...keys.map((key) => history[key])]);
  }
  window.addEventListener("resize", () => plots.forEach(({ chart, holder }) => chart.setSize({ width: holder.clientWidth, height: HEIGHT })));
  new MutationObserver(() => {
    plots.splice(0).forEach(({ chart }) => chart.destroy());
    if (shown) { drawPlots(); }
  }).observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });

  function remember(at, beat) {
    const values = { t: at, tokens: beat.tokens_per_s, running: beat.running, waiting: beat.waiting, step: beat.step_ms };
    for (const [key, value] of Object.entries(values)) { history[key].push(value); if (history[key].length > KEPT) history[key].shift(); }
  }

  // Figures

  function gauges(beat) {
    const used = beat.blocks_total - beat.blocks_free;
    put("running", number(beat.running), "sequences in the batch");
    put("waiting", number(beat.waiting), "read, without a row yet");
    put("preempted", number(beat.preempted), "since the engine started");
    put("tokens", number(beat.tokens_per_s), `busy ${percent(beat.busy)}`);
    put("batch", number(beat.tokens_per_step, 1), "prefill and decode");
    put("step", `${number(beat.step_ms, 1)} ms`, `${number(beat.finished)} requests finished`);
    put("hits", percent(beat.prefix_hits), "of prompt tokens reused");
    put("kv", percent(beat.blocks_total ? used / beat.blocks_total : null), `${number(used)} of ${number(beat.blocks_total)} blocks, ${number(beat.blocks_cached)} cached`);
    put("slots", beat.slots_total ? `${beat.slots_used} / ${beat.slots_total}` : "–", beat.adapters.length ? beat.adapters.map((a) => `${a.name}: ${a.residency}`).join(", ") : "no adapter known");
    put("memory", bytes(beat.memory_bytes), `process ${beat.pid} on ${beat.host}`);
    const tones = { ready: "pg-ok", failed: "pg-bad", draining: "pg-warn" };
    $("state").className = `pg-chip ${tones[beat.state] || "pg-info"}`;
    $("state").textContent = beat.state;
    $("facts").textContent = `${beat.model} · ${number(beat.kv_tokens)} KV tokens`;
    if (mayAct) { $("drain").disabled = beat.state !== "ready"; $("resume").disabled = beat.state !== "draining"; }
  }

  function cell(row, text, right) { const td = row.insertCell(); td.textContent = text; if (right) td.className = "pg-right"; return td; }
  function table() {
    const body = $("requests"), focused = document.activeElement?.dataset?.rid;
    body.replaceChildren();
    requests.forEach((request, i) => {
      const row = body.insertRow();
      row.dataset.rid = request.rid;
      const swatch = document.createElement("span");
      swatch.className = "pg-swatch"; swatch.style.background = request.blocks ? map.colour(i) : "transparent";
      row.insertCell().append(swatch);
      cell(row, request.rid.slice(0, 18)); cell(row, request.key || "–");
      cell(row, request.adapter ? `${request.model} / ${request.adapter}` : request.model);
      cell(row, request.running ? (request.waiting ? `${request.running} running, ${request.waiting} waiting` : "running") : "waiting");
      cell(row, number(request.prompt_tokens), true); cell(row, number(request.output_tokens), true);
      cell(row, number(request.blocks), true); cell(row, seconds(request.age_ms), true);
      const last = row.insertCell();
      if (mayAct) {
        const button = document.createElement("button");
        button.type = "button"; button.className = "pg-button pg-danger"; button.dataset.rid = request.rid;
        button.textContent = "Cancel"; button.setAttribute("aria-label", `Cancel ${request.rid}`);
        last.append(button);
        if (focused === request.rid) button.focus();
      }
    });
    if (!requests.length) { const row = body.insertRow(), td = cell(row, "Nothing runs now."); td.colSpan = 10; td.className = "pg-quiet"; }
  }

  function say(tone, text, at = Date.now() / 1000) {
    const item = document.createElement("li"), time = document.createElement("time"), chip = document.createElement("span");
    time.textContent = clock(at);
    chip.className = `pg-chip pg-${tone}`; chip.textContent = text;
    item.append(time, chip);
    $("events").prepend(item);
    $("no-events").hidden = true;
    while ($("events").children.length > MOST_EVENTS) $("events").lastElementChild.remove();
  }

  function choices(engines, current) {
    const select = $("engine"), ids = engines.map((e) => e.engine).join();
    if (select.dataset.ids !== ids) {
      select.dataset.ids = ids;
      select.replaceChildren(...engines.map((e) => new Option(`${e.model} · ${e.engine}`, e.engine)));
    }
    if (document.activeElement !== select) select.value = current;
  }

  function take(frame) {
    if (frame.feed === "trouble") { $("socket-state").textContent = frame.text; return; }
    $("socket-state").textContent = "live, each second";
    $("nothing").hidden = Boolean(frame.beat);
    $("figures").hidden = !frame.beat;
    choices(frame.engines, frame.beat ? frame.beat.engine : "");
    if (!frame.beat) { $("state").textContent = "no engine"; return; }
    if (shown !== frame.beat.engine) { shown = frame.beat.engine; for (const key of Object.keys(history)) history[key].length = 0; }
    remember(frame.at, frame.beat);
    gauges(frame.beat);
    drawPlots();
    requests = frame.requests;
    table();
    $("more-requests").textContent = frame.more_requests ? `${number(frame.more_requests)} more are not listed.` : "";
    if (frame.map) {
      map.show(frame.map);
      const per = frame.map.blocks_per_cell;
      $("map-facts").textContent = `${number(frame.map.num_blocks)} blocks of ${frame.map.block_tokens} tokens${per > 1 ? `, ${per} to a cell` : ""}`;
    }
    frame.events.forEach((event) => say(event.kind, event.text, frame.at));
  }

  // Actions

  async function act(where, fields) {
    const reply = await fetch(where, { method: "POST", headers: { "X-CSRFToken": token }, body: new URLSearchParams(fields) });
    let message = `The server answered ${reply.status}.`;
    try { message = (await reply.json()).message || message; } catch { /* the status says it */ }
    say(reply.ok ? "info" : "bad", message);
  }
  $("requests").addEventListener("click", (event) => {
    const rid = event.target.dataset.rid;
    if (rid && event.target.tagName === "BUTTON") { event.target.disabled = true; act("cancel/", { rid }); }
  });
  if (mayAct) {
    $("drain").addEventListener("click", () => act("drain/", { engine: shown }));
    $("resume").addEventListener("click", () => act("resume/", { engine: shown }));
  }
  $("engine").addEventListener("change", (event) => { wanted = event.target.value; socket.ask(); });

  const WORDS = { live: "live, each second", reconnecting: "reconnecting…", paused: "paused", refused: "You may not see engines.", off: "" };
  const socket = pgSocket(() => ({ feed: "engine", engine: wanted }), take, (name) => { $("socket-state").textContent = WORDS[name]; });
})();

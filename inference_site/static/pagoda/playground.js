// The playground: one input, up to four answers side by side, each a request of its own.
"use strict";

const pgPlay = (() => {
  const { models, columns: wanted, most, content, preset } = JSON.parse(document.getElementById("playground-data").textContent);
  if (!models.length) return null;
  const $ = (id) => document.getElementById(id), root = $("playground");
  const csrf = root.querySelector("[name=csrfmiddlewaretoken]").value;
  const NUMBERS = ["max_tokens", "temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty"];
  const TOOLS = [{ type: "function", function: { name: "get_weather", description: "Weather of a city now",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } }];
  const SCHEMA = { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"] };
  const LEVELS = [0.9, 0.7, 0.4, 0.15];
  const all = [];
  let key = null;

  // Input

  function addTurn(role, text) {
    const turn = $("turn-template").content.firstElementChild.cloneNode(true);
    turn.querySelector(".pg-role").value = role;
    turn.querySelector(".pg-text").value = text;
    turn.querySelector(".pg-close").addEventListener("click", () => { if ($("turns").children.length > 1) turn.remove(); });
    $("turns").append(turn);
    return turn;
  }

  function parsed(id, words) {
    const text = $(id).value.trim();
    if (!text) return null;
    try { return JSON.parse(text); } catch (error) { throw new Error(`${words} is not JSON: ${error.message}`); }
  }

  function input() {
    const messages = [];
    if ($("system").value.trim()) messages.push({ role: "system", content: $("system").value });
    for (const turn of $("turns").children) {
      const content = turn.querySelector(".pg-text").value;
      if (content) messages.push({ role: turn.querySelector(".pg-role").value, content });
    }
    if (!messages.some((message) => message.role === "user")) throw new Error("Write a user message first.");
    const body = { messages };
    for (const name of NUMBERS) if ($(`p-${name}`).value !== "") body[name] = Number($(`p-${name}`).value);
    if ($("p-stop").value) body.stop = [$("p-stop").value];
    if ($("logprobs").checked) Object.assign(body, { logprobs: true, top_logprobs: 4 });
    const tools = parsed("tools", "The list of tools"), schema = parsed("schema", "The schema");
    if (tools) body.tools = tools;
    if (schema) body.response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
    return body;
  }

  function problem(text) { $("problem").textContent = text; $("problem").hidden = !text; }
  function tryInput() { try { problem(""); return input(); } catch (error) { problem(error.message); return null; } }

  async function freshKey() {
    if (key && key.expires_at - Date.now() / 1000 > 60) return key.key;
    const reply = await fetch("key/", { method: "POST", headers: { "X-CSRFToken": csrf } });
    if (!reply.ok) throw new Error(`No key for the playground: the server answered ${reply.status}.`);
    key = await reply.json();
    return key.key;
  }

  // One column

  function fill(select) {
    const bases = models.filter((model) => !model.parent);
    for (const base of bases) {
      const group = document.createElement("optgroup");
      group.label = base.name;
      group.append(new Option(base.name, base.name));
      for (const model of models) if (model.parent === base.name) group.append(new Option(`${model.name} (adapter)`, model.name));
      select.append(group);
    }
  }

  function part(output, kind) {
    const last = output.lastElementChild;
    if (last && last.dataset.kind === kind) return last;
    const made = document.createElement(kind === "text" ? "div" : "pre");
    made.dataset.kind = kind;
    made.className = { text: "pg-text-part", thought: "pg-thought", call: "pg-code" }[kind];
    output.append(made);
    return made;
  }

  function token(entry) {
    const span = document.createElement("span"), share = Math.exp(entry.logprob);
    const level = LEVELS.findIndex((least) => share >= least);
    span.className = `pg-prob-${level < 0 ? LEVELS.length : level}`;
    span.textContent = entry.token;
    const others = (entry.top_logprobs || []).map((other) => `${JSON.stringify(other.token)} ${(100 * Math.exp(other.logprob)).toFixed(1)} %`);
    span.title = `${(100 * share).toFixed(1)} %${others.length ? `\n${others.join("\n")}` : ""}`;
    return span;
  }

  function show(column, choice) {
    const { delta } = choice, { output } = column;
    const thought = delta.reasoning_content || delta.reasoning;
    if (thought) part(output, "thought").append(thought);
    const scored = choice.logprobs && choice.logprobs.content;
    if (scored && scored.length && delta.content) part(output, "text").append(...scored.map(token));
    else if (delta.content) part(output, "text").append(delta.content);
    for (const call of delta.tool_calls || []) {
      const piece = part(output, "call");
      if (call.function?.name) piece.append(`${piece.textContent ? "\n" : ""}${call.function.name} `);
      if (call.function?.arguments) piece.append(call.function.arguments);
    }
    output.scrollTop = output.scrollHeight;
  }

  function stats(column, facts) {
    column.stats.replaceChildren(...facts.filter(Boolean).map((text) => {
      const item = document.createElement("span"); item.className = "pg-number"; item.textContent = text; return item;
    }));
  }

  function measured(column, times, usage, finish) {
    const tokens = usage ? usage.completion_tokens : column.chunks;
    const span = (times.last - times.first) / 1000;
    const cached = usage?.prompt_tokens_details?.cached_tokens;
    stats(column, [
      times.first && `first token ${Math.round(times.first - times.started)} ms`,
      tokens > 1 && span > 0 && `${((tokens - 1) / span).toFixed(1)} tokens/s`,
      usage && `${usage.prompt_tokens} in${cached ? ` (${cached} cached)` : ""}, ${usage.completion_tokens} out`,
      finish && `finish: ${finish}`,
    ]);
  }

  async function run(column, body) {
    column.abort?.abort();
    const abort = column.abort = new AbortController();
    column.output.replaceChildren();
    column.failure.hidden = true;
    column.chunks = 0;
    column.stop.disabled = false;
    stats(column, ["waiting for the first token…"]);
    let usage = null, finish = "", times = { started: performance.now(), first: 0, last: 0 };
    try {
      const request = { ...body, model: column.model.value };
      const on = (chunk, now) => {
        times = now;
        usage = chunk.usage || usage;
        const choice = chunk.choices[0];
        if (!choice) return;
        column.chunks += 1;
        show(column, choice);
        finish = choice.finish_reason || finish;
        measured(column, times, usage, finish);
      };
      try { await pgChat(request, await freshKey(), abort.signal, on); } catch (error) {
        if (error.status !== 401) throw error;
        key = null; // it has just ended: once more with a new one
        await pgChat(request, await freshKey(), abort.signal, on);
      }
      measured(column, times, usage, finish);
    } catch (error) {
      if (error.name === "AbortError") { measured(column, times, usage, "stopped by you"); return; }
      column.failure.textContent = error.message;
      column.failure.hidden = false;
      stats(column, []);
    } finally {
      if (column.abort === abort) { column.stop.disabled = true; column.abort = null; }
      $("stop").disabled = !all.some((other) => other.abort);
    }
  }

  function addColumn(name) {
    if (all.length >= most) { problem(`At most ${most} columns stand side by side.`); return; }
    const section = $("column-template").content.firstElementChild.cloneNode(true);
    const column = {
      section, chunks: 0, abort: null,
      model: section.querySelector(".pg-model"), output: section.querySelector(".pg-output"),
      stop: section.querySelector(".pg-stop"), failure: section.querySelector(".pg-failure"), stats: section.querySelector(".pg-stats"),
    };
    fill(column.model);
    if (models.some((model) => model.name === name)) column.model.value = name;
    else if (name) { column.failure.textContent = `The model ${name} is not loaded.`; column.failure.hidden = false; }
    column.stop.addEventListener("click", () => column.abort?.abort());
    section.querySelector(".pg-close").addEventListener("click", () => {
      if (all.length === 1) return;
      column.abort?.abort();
      all.splice(all.indexOf(column), 1);
      section.remove();
    });
    all.push(column);
    $("columns").append(section);
  }

  // The second column starts as an adapter of the first one's model: base against adapter.
  function nextName() {
    const used = new Set(all.map((column) => column.model.value));
    const first = models.find((model) => model.name === all[0]?.model.value) || models[0];
    const kin = models.filter((model) => model.parent === (first.parent || first.name));
    return [...kin, ...models].find((model) => !used.has(model.name))?.name || first.name;
  }

  // Buttons

  function runAll() {
    const body = tryInput();
    if (!body) return;
    $("stop").disabled = false;
    all.forEach((column) => run(column, body));
  }
  function reset() {
    for (const field of $("parameters").querySelectorAll("input")) field.value = field.defaultValue;
    $("logprobs").checked = false; $("tools").value = ""; $("schema").value = "";
  }
  function viewCode(language) {
    const body = tryInput();
    if (!body) return;
    $("code").textContent = pgCode[language]({ model: all[0].model.value, ...body }, location.origin);
    for (const tab of document.querySelectorAll("[data-language]")) tab.setAttribute("aria-pressed", tab.dataset.language === language);
    if (!$("code-dialog").open) $("code-dialog").showModal();
  }

  $("run").addEventListener("click", runAll);
  root.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); runAll(); } });
  $("stop").addEventListener("click", () => all.forEach((column) => column.abort?.abort()));
  $("add-turn").addEventListener("click", () => addTurn($("turns").lastElementChild?.querySelector(".pg-role").value === "user" ? "assistant" : "user", "").querySelector(".pg-text").focus());
  $("add-column").addEventListener("click", () => addColumn(nextName()));
  $("reset").addEventListener("click", reset);
  $("view-code").addEventListener("click", () => viewCode("curl"));
  $("code-close").addEventListener("click", () => $("code-dialog").close());
  for (const tab of document.querySelectorAll("[data-language]")) tab.addEventListener("click", () => viewCode(tab.dataset.language));
  $("sample-tools").addEventListener("click", () => { $("tools").value = JSON.stringify(TOOLS, null, 2); });
  $("sample-schema").addEventListener("click", () => { $("schema").value = JSON.stringify(SCHEMA, null, 2); });

  // What a preset holds: every field as it stands there.

  const named = [...NUMBERS, "stop"];
  function read() {
    return {
      system: $("system").value,
      turns: [...$("turns").children].map((turn) => ({ role: turn.querySelector(".pg-role").value, text: turn.querySelector(".pg-text").value })),
      parameters: Object.fromEntries(named.map((name) => [name, $(`p-${name}`).value])),
      logprobs: $("logprobs").checked, tools: $("tools").value, schema_text: $("schema").value,
      columns: all.map((column) => column.model.value),
    };
  }
  function write(held) {
    $("system").value = held.system;
    for (const { role, text } of held.turns) addTurn(role, text);
    for (const name of named) $(`p-${name}`).value = held.parameters[name] ?? "";
    $("logprobs").checked = held.logprobs;
    for (const [id, text] of [["tools", held.tools], ["schema", held.schema_text]]) {
      $(id).value = text;
      $(id).closest("details").open = Boolean(text);
    }
  }

  if (content) write(content);
  if (!$("turns").children.length) addTurn("user", "");
  const names = content?.columns.length ? content.columns : wanted;
  (names.length ? names : [models[0].name]).forEach(addColumn);
  return { read, preset };
})();

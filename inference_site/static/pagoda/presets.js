// Presets of the playground: saved, opened, shared and deleted. An open one stands in the address.
"use strict";

(() => {
  if (typeof pgPlay === "undefined" || !pgPlay) return; // no model is loaded
  const $ = (id) => document.getElementById(id), dialog = $("preset-dialog");
  const csrf = document.querySelector("#playground [name=csrfmiddlewaretoken]").value;
  const { preset } = pgPlay;

  async function post(path, body) {
    const reply = await fetch(path, {
      method: "POST", headers: { "X-CSRFToken": csrf, "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const said = await reply.json();
    if (!reply.ok) throw new Error(said.message);
    return said;
  }
  const open = (slug) => { location.search = slug ? `?preset=${slug}` : ""; };
  function failed(error) { $("preset-problem").textContent = error.message; $("preset-problem").hidden = false; }

  $("preset").addEventListener("change", () => open($("preset").value));
  $("preset-save").addEventListener("click", () => {
    $("preset-problem").hidden = true;
    $("preset-name").value = preset?.name || "";
    dialog.showModal();
  });
  $("preset-cancel").addEventListener("click", () => dialog.close());
  $("preset-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      open((await post("presets/", { name: $("preset-name").value, content: pgPlay.read() })).slug);
    } catch (error) { failed(error); }
  });
  $("preset-delete").addEventListener("click", async () => {
    if (!window.confirm(`Delete the preset ${preset.name}? Its address ends too.`)) return;
    try {
      await post(`presets/${preset.slug}/delete/`, {});
      open("");
    } catch (error) { $("problem").textContent = error.message; $("problem").hidden = false; }
  });

  $("preset-delete").hidden = !preset?.mine;
  $("preset-share").hidden = !preset;
  $("preset-link").textContent = location.href;
})();

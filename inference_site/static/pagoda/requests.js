// Live tail of the request log: new rows come rendered by the server and go on top.
"use strict";

(() => {
  const root = document.getElementById("requests"), box = document.getElementById("live");
  const rows = document.getElementById("rows"), state = document.getElementById("live-state");
  const MOST = 200;
  let socket = null;

  function take(message) {
    if (message.feed !== "requests") return;
    const holder = document.createElement("tbody");
    for (const html of message.rows) {
      holder.innerHTML = html;
      const row = holder.firstElementChild;
      if (rows.querySelector(`[data-rid="${CSS.escape(row.dataset.rid)}"]`)) continue;
      row.classList.add("pg-fresh");
      document.getElementById("no-rows")?.remove();
      rows.prepend(row);
    }
    while (rows.children.length > MOST) rows.lastElementChild.remove();
  }

  const WORDS = { live: "on", reconnecting: "reconnecting…", paused: "paused", refused: "not allowed", off: "" };
  function toggle() {
    if (box.checked && !socket) {
      socket = pgSocket(() => ({ feed: "requests", query: root.dataset.query }), take,
                        (name) => { state.textContent = WORDS[name]; });
    } else if (!box.checked && socket) { socket.stop(); socket = null; }
  }

  box.addEventListener("change", toggle);
  box.checked = Boolean(root.dataset.first);
  toggle();
})();

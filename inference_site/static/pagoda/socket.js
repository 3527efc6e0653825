// One WebSocket of the admin: asks for a feed, comes back after a break, rests while the tab is hidden.
"use strict";

function pgSocket(ask, onMessage, onState) {
  let socket = null, timer = 0, wanted = true, pause = 500;

  function open() {
    if (!wanted || socket || document.hidden) return;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(`${scheme}//${location.host}/admin/socket/`);
    socket.onopen = () => { pause = 500; socket.send(JSON.stringify(ask())); onState("live"); };
    socket.onmessage = (event) => onMessage(JSON.parse(event.data));
    socket.onclose = (event) => {
      socket = null;
      if (event.code === 4403) { wanted = false; onState("refused"); return; }
      if (wanted && !document.hidden) { onState("reconnecting"); timer = setTimeout(open, pause); pause = Math.min(8000, pause * 2); }
    };
  }

  function close() {
    clearTimeout(timer);
    if (socket) { const old = socket; socket = null; old.onclose = null; old.close(); }
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); onState("paused"); } else open();
  });
  open();
  return {
    ask: () => { if (socket && socket.readyState === 1) socket.send(JSON.stringify(ask())); },
    stop: () => { wanted = false; close(); onState("off"); },
  };
}

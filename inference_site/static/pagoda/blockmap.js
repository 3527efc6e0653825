// The map of KV blocks: one cell per block (or per few), the colour of its request, shared hatched.
"use strict";

function pgBlockMap(canvas, tip, names) {
  const GAP = 1, SMALLEST = 4, LARGEST = 16, MOST_HEIGHT = 420;
  const FREE = 0, CACHED = 1, FIRST = 2;
  let last = null, grid = null;

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  // Golden-angle hues: neighbours in the list never look alike, whatever their number.
  const hue = (i) => (187 + i * 137.508) % 360;
  const colour = (i) => `oklch(${pgCharts.theme() === "dark" ? 72 : 62}% 0.15 ${hue(i)})`;

  function layout(count) {
    const width = canvas.parentElement.clientWidth;
    let size = LARGEST;
    while (size > SMALLEST && Math.ceil(count / Math.floor(width / size)) * size > MOST_HEIGHT) size -= 1;
    const columns = Math.max(1, Math.floor(width / size));
    return { width, size, columns, height: Math.ceil(count / columns) * size };
  }

  function draw() {
    const { owners, uses } = last;
    grid = layout(owners.length);
    const scale = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
    canvas.width = grid.width * scale;
    canvas.height = grid.height * scale;
    canvas.style.height = `${grid.height}px`;
    pen.scale(scale, scale);
    const free = pgCharts.css("--pg-line"), card = pgCharts.css("--pg-card");
    const cached = `color-mix(in oklch, ${pgCharts.css("--pg-accent")} 22%, ${card})`;
    const side = grid.size - GAP;
    for (let i = 0; i < owners.length; i += 1) {
      const x = (i % grid.columns) * grid.size, y = Math.floor(i / grid.columns) * grid.size;
      pen.fillStyle = owners[i] === FREE ? free : owners[i] === CACHED ? cached : colour(owners[i] - FIRST);
      pen.fillRect(x, y, side, side);
      if (uses[i] > 1) hatch(pen, x, y, side, card);
    }
  }

  function hatch(pen, x, y, side, card) {
    pen.strokeStyle = card;
    pen.lineWidth = Math.max(1, side / 7);
    pen.beginPath();
    pen.moveTo(x, y + side / 2); pen.lineTo(x + side / 2, y);
    pen.moveTo(x, y + side); pen.lineTo(x + side, y);
    pen.moveTo(x + side / 2, y + side); pen.lineTo(x + side, y + side / 2);
    pen.stroke();
  }

  function words(i) {
    const owner = last.owners[i], per = last.blocks_per_cell;
    const block = per > 1 ? `blocks ${i * per}–${Math.min((i + 1) * per, last.num_blocks) - 1}` : `block ${i}`;
    if (owner === FREE) return `${block}: free`;
    if (owner === CACHED) return `${block}: cached prefix, free to reuse`;
    const request = names(owner - FIRST);
    const first = last.places[i] * last.block_tokens;
    const shared = last.uses[i] > 1 ? `, shared by ${last.uses[i]}` : "";
    const who = request ? `${request.rid.slice(0, 18)}${request.adapter ? ` (${request.adapter})` : ""}` : "another request";
    return `${block}: ${who}, tokens ${first}–${first + last.block_tokens - 1}${shared}`;
  }

  canvas.addEventListener("mousemove", (event) => {
    if (!last) return;
    const column = Math.floor(event.offsetX / grid.size), row = Math.floor(event.offsetY / grid.size);
    const i = row * grid.columns + column;
    tip.hidden = column >= grid.columns || i >= last.owners.length;
    if (tip.hidden) return;
    tip.textContent = words(i);
    tip.style.left = `${Math.min(event.offsetX + 12, grid.width - tip.offsetWidth - 4)}px`;
    tip.style.top = `${event.offsetY + 14}px`;
  });
  canvas.addEventListener("mouseleave", () => { tip.hidden = true; });
  window.addEventListener("resize", () => { if (last) draw(); });

  return {
    colour,
    show(map) {
      const owners = bytes(map.owners), places = bytes(map.places);
      last = {
        ...map, uses: bytes(map.uses),
        owners: new Uint16Array(owners.buffer), places: new Uint16Array(places.buffer),
      };
      draw();
      const used = last.owners.reduce((sum, owner) => sum + (owner >= FIRST), 0);
      canvas.setAttribute("aria-label", `Map of ${last.num_blocks} KV blocks, ${used} cells in use`);
      canvas.dataset.used = used;
      canvas.dataset.shared = last.uses.reduce((sum, n) => sum + (n > 1), 0);
    },
  };
}

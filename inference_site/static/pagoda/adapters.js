// Adding an adapter: choose or drop two files, send each with progress, then show its page.
"use strict";

const NAMES = ["adapter_config.json", "adapter_model.safetensors"];
const form = document.getElementById("adapter-form");
const drop = document.getElementById("drop");
const list = document.getElementById("chosen");
const problem = document.getElementById("problem");
const button = document.getElementById("add");
const chosen = new Map();

function say(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

function take(files) {
  say("");
  for (const file of files) {
    if (NAMES.includes(file.name)) chosen.set(file.name, file);
    else say(`${file.name} is not taken: an adapter is the two files ${NAMES.join(" and ")}.`);
  }
  list.replaceChildren(...[...chosen.values()].map(row));
}

function row(file) {
  const item = document.createElement("li");
  const name = document.createElement("span");
  const size = document.createElement("span");
  const bar = document.createElement("progress");
  name.textContent = file.name;
  size.textContent = `${(file.size / 1e6).toFixed(2)} MB`;
  size.className = "pg-quiet pg-small";
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", `Sent of ${file.name}`);
  item.dataset.file = file.name;
  item.append(name, size, bar);
  return item;
}

for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("pg-over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
const picker = document.getElementById("files");
picker.hasChangeListener = true; // else Unfold adds one that wants a text field beside it
picker.addEventListener("change", (event) => take(event.target.files));

function send(file, upload) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const bar = list.querySelector(`[data-file="${file.name}"] progress`);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) bar.value = event.loaded / event.total;
    });
    request.addEventListener("load", () => {
      if (request.status === 200) {
        bar.value = 1;
        resolve();
      } else {
        reject(new Error(words(request)));
      }
    });
    request.addEventListener("error", () => reject(new Error("The connection broke. Try again.")));
    request.open("PUT", upload.files[file.name]);
    request.setRequestHeader(upload.header, upload.ticket);
    request.send(file);
  });
}

function words(request) {
  try {
    return JSON.parse(request.responseText).error.message;
  } catch {
    return `The server answered ${request.status}.`;
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  say("");
  const source = form.elements.source.value.trim();
  if (source && chosen.size) return say("Give either two files or a source, not both.");
  if (!source && chosen.size !== NAMES.length) {
    const missing = NAMES.filter((name) => !chosen.has(name));
    return say(`Still missing: ${missing.join(" and ")}. Or name a folder or hub id.`);
  }
  button.disabled = true;
  try {
    const reply = await fetch(form.action, { method: "POST", body: new FormData(form) });
    const told = await reply.json().catch(() => ({ error: `The server answered ${reply.status}.` }));
    if (!reply.ok) throw new Error(told.error);
    if (told.upload) await Promise.all(NAMES.map((name) => send(chosen.get(name), told.upload)));
    location.assign(told.page);
  } catch (error) {
    say(error.message);
    button.disabled = false;
  }
});

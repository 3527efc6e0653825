// One streamed chat completion: reads server-sent events and measures what a caller would see.
"use strict";

async function pgChat(body, key, signal, on) {
  const started = performance.now();
  const reply = await fetch("/v1/chat/completions", {
    method: "POST", signal,
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
  });
  if (!reply.ok) {
    let message = `The server answered ${reply.status}.`;
    try { message = (await reply.json()).error.message; } catch { /* the status says it */ }
    throw Object.assign(new Error(message), { status: reply.status });
  }
  const times = { started, first: 0, last: 0 };
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("The stream broke off before its end.");
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ")) continue;
      if (event === "data: [DONE]") return times;
      const chunk = JSON.parse(event.slice(6));
      if (chunk.error) throw new Error(chunk.error.message);
      const choice = chunk.choices[0];
      if (choice && Object.values(choice.delta).some((part) => part && part !== "assistant")) {
        times.last = performance.now();
        times.first = times.first || times.last;
      }
      on(chunk, times);
    }
  }
}

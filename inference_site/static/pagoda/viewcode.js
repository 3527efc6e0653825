// The request of the playground as curl, Python and JavaScript.
"use strict";

const pgCode = (() => {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

  function curl(body, origin) {
    return `curl ${origin}/v1/chat/completions \\
  -H "Authorization: Bearer $PAGODA_KEY" \\
  -H "Content-Type: application/json" \\
  -d ${quoted(JSON.stringify(body, null, 2))}`;
  }

  // JSON and Python differ in three words; strings of both are read alike.
  function literal(value, depth) {
    const pad = "    ".repeat(depth + 1), end = "    ".repeat(depth);
    if (value === null) return "None";
    if (value === true) return "True";
    if (value === false) return "False";
    if (typeof value !== "object") return JSON.stringify(value);
    if (Array.isArray(value)) return value.length ? `[\n${value.map((v) => pad + literal(v, depth + 1)).join(",\n")},\n${end}]` : "[]";
    const lines = Object.entries(value).map(([k, v]) => `${pad}${JSON.stringify(k)}: ${literal(v, depth + 1)}`);
    return lines.length ? `{\n${lines.join(",\n")},\n${end}}` : "{}";
  }

  const EXTRA = ["top_k"]; // fields the client library knows by no name of their own

  function python(body, origin) {
    const plain = Object.entries(body).filter(([name]) => !EXTRA.includes(name));
    const extra = Object.fromEntries(Object.entries(body).filter(([name]) => EXTRA.includes(name)));
    const lines = plain.map(([name, value]) => `    ${name}=${literal(value, 1)},`);
    if (Object.keys(extra).length) lines.push(`    extra_body=${literal(extra, 1)},`);
    return `import os

from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key=os.environ["PAGODA_KEY"])
stream = client.chat.completions.create(
${lines.join("\n")}
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)`;
  }

  function javascript(body, origin) {
    const fields = JSON.stringify({ ...body, stream: true }, null, 2);
    return `import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${origin}/v1", apiKey: process.env.PAGODA_KEY });
const stream = await client.chat.completions.create(${fields});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}`;
  }

  return { curl, python, javascript };
})();

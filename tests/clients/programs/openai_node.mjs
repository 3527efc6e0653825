// Calls of the `openai` Node client: node openai_node.mjs BASE KEY MODEL
import OpenAI from "openai";

const [base, apiKey, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 });
const talk = [{ role: "user", content: "What is 12 + 7?" }];
const weather = [{ role: "user", content: "What is the weather in Paris?" }];
const parameters = {
  type: "object",
  properties: { city: { type: "string", description: "Name of the city" } },
  required: ["city"],
};
const described = { name: "get_weather", description: "Get the weather in a city", parameters };
const tools = [{ type: "function", function: described }];

function check(condition, what) {
  if (!condition) throw new Error(what ?? "the answer is not as it should be");
}

async function refusal(promise, kind) {
  try {
    await promise;
  } catch (error) {
    check(error instanceof kind, `${error.constructor.name} instead of ${kind.name}`);
    return;
  }
  throw new Error(`no ${kind.name}`);
}

const calls = {
  "models.list": async () => {
    const page = await client.models.list();
    check(page.data.some((card) => card.id === model));
  },
  "chat.completions.create": async () => {
    const made = await client.chat.completions.create({ model, messages: talk, max_tokens: 20 });
    check(made.choices[0].message.content && made.usage.completion_tokens);
  },
  "chat.completions.create({stream: true})": async () => {
    const stream = await client.chat.completions.create({
      model, messages: talk, max_tokens: 20, stream: true,
      stream_options: { include_usage: true },
    });
    let text = "", usage;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    check(text && usage.completion_tokens);
  },
  "chat.completions.create({tools})": async () => {
    const made = await client.chat.completions.create({
      model, messages: weather, tools, temperature: 0, max_tokens: 120,
    });
    const call = made.choices[0].message.tool_calls[0];
    check(JSON.parse(call.function.arguments).city === "Paris");
  },
  "chat.completions.stream().finalChatCompletion()": async () => {
    const stream = client.chat.completions.stream({ model, messages: talk, max_tokens: 20 });
    check((await stream.finalChatCompletion()).choices[0].message.content);
  },
  "chat.completions.create({response_format: json_schema})": async () => {
    const schema = {
      type: "object", properties: { a: { type: "integer" } }, required: ["a"],
      additionalProperties: false,
    };
    const made = await client.chat.completions.create({
      model, messages: talk, temperature: 0, max_tokens: 120,
      response_format: { type: "json_schema", json_schema: { name: "reply", schema } },
    });
    check(Number.isInteger(JSON.parse(made.choices[0].message.content).a));
  },
  "completions.create": async () => {
    const made = await client.completions.create({
      model, prompt: "Once upon", max_tokens: 8, min_tokens: 4, // it may end a text at once
    });
    check(made.choices[0].text && ["length", "stop"].includes(made.choices[0].finish_reason));
  },
  "responses.create": async () => {
    const made = await client.responses.create({
      model, input: "Hello!", max_output_tokens: 20,
    });
    check(made.output_text);
  },
  "responses.create({stream: true})": async () => {
    const stream = await client.responses.create({
      model, input: "Hello!", max_output_tokens: 20, stream: true,
    });
    const kinds = [];
    for await (const event of stream) kinds.push(event.type);
    check(kinds[0] === "response.created" && kinds.includes("response.output_text.delta"));
  },
  "errors: BadRequest, NotFound, Authentication": async () => {
    const body = { model, messages: talk };
    const create = (fields) => client.chat.completions.create({ ...body, ...fields });
    await refusal(create({ temperature: 9 }), OpenAI.BadRequestError);
    await refusal(create({ model: "nobody" }), OpenAI.NotFoundError);
    const other = new OpenAI({ baseURL: `${base}/v1`, apiKey: "wrong", maxRetries: 0 });
    await refusal(other.models.list(), OpenAI.AuthenticationError);
  },
};

for (const [call, run] of Object.entries(calls)) {
  let cause = "";
  try {
    await run();
  } catch (error) {
    cause = String(error).slice(0, 500);
  }
  console.log(JSON.stringify({ call, cause }));
}

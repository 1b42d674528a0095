// OpenAI's own library for Node.

import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import {
  apiKey,
  baseURL,
  DEGREES,
  errorOf,
  HELLO,
  ONE_CITY,
  PERSON,
  PNG_URL,
  REPEAT_ALL,
  report,
  RULE,
  TWO_CITIES,
} from "./seen.mjs";

const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const completions = client.chat.completions;
const user = (content) => ({ role: "user", content });
const Person = z.object({ name: z.string(), age: z.number() });
const City = z.object({ city: z.string() });
const weatherTool = zodFunction({
  name: "get_weather",
  description: "The weather in a city.",
  parameters: City,
  function: ({ city }) => DEGREES[city],
});
const { $brand, $parseRaw, $callback, ...tool } = weatherTool;

async function ask(options, question = HELLO) {
  return await completions.create({ model: "GPT-5", messages: [user(question)], ...options });
}

async function piecesOf(stream, pieces = []) {
  for await (const chunk of stream) pieces.push(chunk.choices[0]?.delta.content ?? "");
  return pieces;
}

const counted = (usage) => [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens];

async function tools(question) {
  const messages = [user(question)];
  const [asked] = (await completions.create({ model: "GPT-5", messages, tools: [tool] })).choices;
  const calls = asked.message.tool_calls;
  const results = calls.map((call) => ({
    role: "tool",
    tool_call_id: call.id,
    content: DEGREES[JSON.parse(call.function.arguments).city],
  }));
  const answer = await completions.create({
    model: "GPT-5",
    messages: [...messages, asked.message, ...results],
    tools: [tool],
  });
  return {
    calls: calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
    finish: asked.finish_reason,
    answer: answer.choices[0].message.content,
  };
}

await report({
  plain: async () => (await ask()).choices[0].message.content,

  stream: async () => piecesOf(await ask({ stream: true })),

  silence: async () => piecesOf(await ask({ model: "Slow", stream: true })),

  usage: async () => {
    const whole = (await ask()).usage;
    let last;
    for await (const chunk of await ask({ stream: true, stream_options: { include_usage: true } })) last = chunk;
    return [counted(whole), counted(last.usage)];
  },

  conversation: async () => {
    const earlier = [{ role: "system", content: RULE }, user(HELLO), { role: "assistant", content: "Hello yourself" }];
    return (await ask({ messages: [...earlier, user(REPEAT_ALL)] })).choices[0].message.content;
  },

  wrong_token: async () => {
    const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
    return errorOf(() => stranger.chat.completions.create({ model: "GPT-5", messages: [user(HELLO)] }));
  },

  unknown_model: async () => errorOf(() => ask({ model: "Nobody" })),

  broken_stream: async () => {
    const pieces = [];
    const error = await errorOf(async () => piecesOf(await ask({ model: "Fragile", stream: true }), pieces));
    return { ...error, text: pieces.join("") };
  },

  tools: () => tools(ONE_CITY),

  parallel_tools: () => tools(TWO_CITIES),

  streamed_tools: async () => {
    const stream = completions.stream({ model: "GPT-5", messages: [user(TWO_CITIES)], tools: [tool] });
    const [choice] = (await stream.finalChatCompletion()).choices;
    const calls = choice.message.tool_calls;
    return {
      calls: calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
      ids: calls.map((call) => call.id),
      finish: choice.finish_reason,
    };
  },

  run_tools: async () =>
    completions.runTools({ model: "GPT-5", messages: [user(TWO_CITIES)], tools: [weatherTool] }).finalContent(),

  streamed_run_tools: async () =>
    completions.runTools({ model: "GPT-5", messages: [user(TWO_CITIES)], tools: [weatherTool], stream: true }).finalContent(),

  structured: async () => {
    const format = { response_format: zodResponseFormat(Person, "person") };
    const answer = await completions.parse({ model: "GPT-5", messages: [user(PERSON)], ...format });
    return answer.choices[0].message.parsed;
  },

  reasoning: async () => {
    const [{ message }] = (await ask({ model: "Thinker" })).choices;
    return { thought: message.reasoning_content, answer: message.content };
  },

  streamed_reasoning: async () => {
    let thought = "";
    let answer = "";
    for await (const { choices } of await ask({ model: "Thinker", stream: true })) {
      thought += choices[0].delta.reasoning_content ?? "";
      answer += choices[0].delta.content ?? "";
    }
    return { thought, answer };
  },

  thoughts_and_a_call: async () => {
    const stream = completions.stream({ model: "Thinker", messages: [user(ONE_CITY)], tools: [tool] });
    let thought = "";
    for await (const chunk of stream) thought += chunk.choices[0]?.delta.reasoning_content ?? "";
    const [{ message }] = (await stream.finalChatCompletion()).choices;
    return { thought, calls: message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]) };
  },

  image: async () => {
    const parts = [
      { type: "text", text: "What is this?" },
      { type: "image_url", image_url: { url: PNG_URL } },
    ];
    return (await ask({ messages: [user(parts)] })).choices[0].message.content;
  },

  picture: async () => {
    const options = { model: "GPT-Image-1", prompt: "A red pixel", response_format: "b64_json" };
    return (await client.images.generate(options)).data[0].b64_json;
  },

  models: async () => {
    const listed = [];
    for await (const model of client.models.list()) listed.push(model.id);
    return listed;
  },
});

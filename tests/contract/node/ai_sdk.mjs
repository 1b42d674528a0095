// The Vercel AI SDK, the same program for each provider package.

import { generateImage, generateObject, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { DEGREES, errorOf, HELLO, ONE_CITY, PERSON, PNG_BASE64, REPEAT_ALL, RULE, TWO_CITIES } from "./seen.mjs";

const Person = z.object({ name: z.string(), age: z.number() });
const get_weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => DEGREES[city],
});
const quiet = { maxRetries: 0 };
const counted = (usage) => [usage.inputTokens, usage.outputTokens, usage.totalTokens];
const callsOf = (step) => step.toolCalls.map((call) => [call.toolName, call.input]);

/** The parts of a stream; an error in it is thrown, which the SDK leaves to its caller. */
async function partsOf(options, parts = []) {
  const result = streamText({ ...quiet, onError: () => {}, ...options });
  for await (const part of result.fullStream) {
    if (part.type === "error") throw part.error;
    parts.push(part);
  }
  return { parts, result };
}

async function piecesOf(model) {
  const { parts } = await partsOf({ model, prompt: HELLO });
  return parts.filter((part) => part.type === "text-delta").map((part) => part.text);
}

const joined = (parts, type) => parts.filter((part) => part.type === type).map((part) => part.text).join("");

/** `model` makes a chat model from a name and, if it is not the good one, a token; `imageModel` one for pictures. */
export function behaviours(model, imageModel) {
  const tools = async (prompt) => {
    const options = { model: model("GPT-5"), prompt, tools: { get_weather }, stopWhen: stepCountIs(3) };
    const { steps, text } = await generateText({ ...quiet, ...options });
    return { calls: callsOf(steps[0]), finish: steps[0].finishReason, answer: text };
  };
  return {
    plain: async () => (await generateText({ ...quiet, model: model("GPT-5"), prompt: HELLO })).text,

    stream: () => piecesOf(model("GPT-5")),

    silence: () => piecesOf(model("Slow")),

    usage: async () => {
      const whole = await generateText({ ...quiet, model: model("GPT-5"), prompt: HELLO });
      const { result } = await partsOf({ model: model("GPT-5"), prompt: HELLO });
      return [counted(whole.usage), counted(await result.usage)];
    },

    conversation: async () => {
      const messages = [
        { role: "user", content: HELLO },
        { role: "assistant", content: "Hello yourself" },
        { role: "user", content: REPEAT_ALL },
      ];
      return (await generateText({ ...quiet, model: model("GPT-5"), system: RULE, messages })).text;
    },

    wrong_token: () =>
      errorOf(() => generateText({ ...quiet, model: model("GPT-5", "wrong"), prompt: HELLO })),

    unknown_model: () => errorOf(() => generateText({ ...quiet, model: model("Nobody"), prompt: HELLO })),

    broken_stream: async () => {
      const parts = [];
      const error = await errorOf(() => partsOf({ model: model("Fragile"), prompt: HELLO }, parts));
      return { ...error, text: joined(parts, "text-delta") };
    },

    tools: () => tools(ONE_CITY),

    parallel_tools: () => tools(TWO_CITIES),

    streamed_tools: async () => {
      const options = { model: model("GPT-5"), prompt: TWO_CITIES, tools: { get_weather }, stopWhen: stepCountIs(3) };
      const { result } = await partsOf(options);
      const [step] = await result.steps;
      return {
        calls: callsOf(step),
        ids: step.toolCalls.map((call) => call.toolCallId),
        finish: step.finishReason,
        answer: await result.text,
      };
    },

    structured: async () =>
      (await generateObject({ ...quiet, model: model("GPT-5"), schema: Person, prompt: PERSON })).object,

    structured_output: async () => {
      const output = Output.object({ schema: Person });
      return (await generateText({ ...quiet, model: model("GPT-5"), output, prompt: PERSON })).output;
    },

    reasoning: async () => {
      const { reasoningText, text } = await generateText({ ...quiet, model: model("Thinker"), prompt: HELLO });
      return { thought: reasoningText, answer: text };
    },

    streamed_reasoning: async () => {
      const { parts } = await partsOf({ model: model("Thinker"), prompt: HELLO });
      return { thought: joined(parts, "reasoning-delta") || undefined, answer: joined(parts, "text-delta") };
    },

    thoughts_and_a_call: async () => {
      const options = { model: model("Thinker"), prompt: ONE_CITY, tools: { get_weather }, stopWhen: stepCountIs(3) };
      const { result } = await partsOf(options);
      const [step] = await result.steps;
      return { thought: step.reasoningText, calls: callsOf(step) };
    },

    image: async () => {
      const content = [
        { type: "text", text: "What is this?" },
        { type: "image", image: PNG_BASE64, mediaType: "image/png" },
      ];
      return (await generateText({ ...quiet, model: model("GPT-5"), messages: [{ role: "user", content }] })).text;
    },

    picture: async () =>
      (await generateImage({ ...quiet, model: imageModel("GPT-Image-1"), prompt: "A red pixel" })).image.base64,
  };
}

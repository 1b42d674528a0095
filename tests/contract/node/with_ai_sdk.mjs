// The AI SDK with its provider for servers that are like OpenAI's.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { behaviours } from "./ai_sdk.mjs";
import { apiKey, baseURL, report } from "./seen.mjs";

const provider = (token) =>
  createOpenAICompatible({
    name: "poe",
    baseURL,
    apiKey: token,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });

await report(behaviours((name, token = apiKey) => provider(token)(name), provider(apiKey).imageModel));

// The AI SDK with its provider for OpenAI, as chat models; it knows no `reasoning_content`.

import { createOpenAI } from "@ai-sdk/openai";
import { behaviours } from "./ai_sdk.mjs";
import { apiKey, baseURL, report } from "./seen.mjs";

const provider = (token) => createOpenAI({ baseURL, apiKey: token });

await report(behaviours((name, token = apiKey) => provider(token).chat(name), provider(apiKey).image));

// What the client programs share: where the gateway is, what they ask, and how they tell what they saw.

export const baseURL = process.env.POE_PROXY_URL;
export const apiKey = process.env.POE_PROXY_TOKEN;

export const HELLO = "Hello there";
export const ONE_CITY = "What is the weather in Paris?";
export const TWO_CITIES = "What is the weather in Paris and Oslo?";
export const RULE = "Be brief.";
export const REPEAT_ALL = "Repeat all";
export const PERSON = "Who wrote the first program, and at what age?";
export const DEGREES = { Paris: "18 degrees", Oslo: "7 degrees" };

/** One red pixel, 69 bytes. */
export const PNG_BASE64 =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
export const PNG_URL = `data:image/png;base64,${PNG_BASE64}`;

/** Runs each and prints one JSON object: what it saw, or how it failed. */
export async function report(behaviours) {
  const seen = {};
  for (const [name, behaviour] of Object.entries(behaviours)) {
    try {
      seen[name] = { saw: await behaviour() };
    } catch (error) {
      seen[name] = { raised: error.stack ?? String(error) };
    }
  }
  console.log(JSON.stringify(seen));
}

/** The class and HTTP status of the error it must throw. */
export async function errorOf(behaviour) {
  let saw;
  try {
    saw = await behaviour();
  } catch (error) {
    return { error: error.constructor.name, status: error.status ?? error.statusCode ?? null };
  }
  throw new Error(`no error, but ${JSON.stringify(saw)}`);
}

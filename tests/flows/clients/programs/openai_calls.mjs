// What a program does with OpenAI's SDK for Node, and what it gets: one JSON object. Argument: a folder with speech.wav.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const { default: OpenAI } = await import(createRequire(process.cwd() + "/x").resolve("openai"));
const files = process.argv[2];
const client = new OpenAI({ maxRetries: 0 });

async function told(call) {
  try {
    return { answered: await call() };
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    const { code, param, status, message } = error;
    return { raised: error.constructor.name, code, param, status_code: status, message };
  }
}

function transcribe(fields = {}, { using = client, file = "speech.wav", options = {} } = {}) {
  const body = { model: "whisper-1", file: fs.createReadStream(path.join(files, file)), ...fields };
  return using.audio.transcriptions.create(body, options);
}

const elsewhere = new OpenAI({ maxRetries: 0, baseURL: "http://127.0.0.1:9/v1" });
const stranger = new OpenAI({ maxRetries: 0, apiKey: "sk-another" });
console.log(
  JSON.stringify({
    json: await told(async () => (await transcribe()).text),
    text: await told(() => transcribe({ response_format: "text" })),
    srt: await told(() => transcribe({ response_format: "srt" })),
    vtt: await told(() => transcribe({ response_format: "vtt" })),
    verbose_json: await told(() =>
      transcribe({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"] }),
    ),
    stream: await told(async () => {
      const events = [];
      for await (const event of await transcribe({ stream: true })) events.push([event.type, event.delta ?? event.text]);
      return events;
    }),
    models: await told(async () => (await client.models.list()).data.map((model) => model.id)),
    model: await told(async () => (await client.models.retrieve("whisper-1")).id),
    "no such model": await told(() => client.models.retrieve("whisper-2")),
    translation: await told(() =>
      client.audio.translations.create({ model: "whisper-1", file: fs.createReadStream(path.join(files, "speech.wav")) }),
    ),
    raw: await told(async () => {
      const { data, response } = await transcribe().withResponse();
      return { headers: Object.fromEntries(response.headers), text: data.text, status: response.status };
    }),
    "another model": await told(() => transcribe({ model: "whisper-2" })),
    "no audio": await told(() => transcribe({}, { file: "no-audio.wav" })),
    "another language": await told(() => transcribe({ language: "fr" })),
    "another endpoint": await told(() => client.embeddings.create({ model: "whisper-1", input: "text" })),
    impatient: await told(() => transcribe({}, { options: { timeout: 50 } })),
    "no connection": await told(() => transcribe({}, { using: elsewhere })),
    "wrong key": await told(() => transcribe({}, { using: stranger })),
  }),
);

// What a program does with OpenAI's SDK for Node and a model that writes: one JSON object.
import { createRequire } from "node:module";

const { default: OpenAI } = await import(createRequire(process.cwd() + "/x").resolve("openai"));
const client = new OpenAI({ maxRetries: 0 });

function chat(content, fields = {}) {
  const messages = [{ role: "user", content }];
  return client.chat.completions.create({ model: "llama", temperature: 0, messages, ...fields });
}

const whole = await chat("What is the capital of France?");
const streams = [];
for (let number = 0; number < 3; number += 1) {
  const started = performance.now();
  const pieces = [];
  for await (const chunk of await chat("Count to sixteen.", { stream: true })) {
    const text = chunk.choices[0]?.delta?.content;
    if (text) pieces.push([(performance.now() - started) / 1000, text]);
  }
  streams.push(pieces);
}
const said = { text: whole.choices[0].message.content, usage: whole.usage.completion_tokens };
console.log(JSON.stringify({ whole: said, streams }));

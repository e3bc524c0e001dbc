// ws_client.js URL - the npm package `ws` as a client of an echo server. Prints TAP.
"use strict";
const WebSocket = require("ws");
const assert = require("node:assert");

const url = process.argv[2];
let number = 0;

function open(options, protocols) {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, protocols || [], options);
    ws.once("open", () => resolve(ws));
    ws.once("error", reject);
  });
}

const next = (ws, event) => new Promise((resolve) => ws.once(event, (...values) => resolve(values)));

async function echoes(ws, data) {
  const answer = next(ws, "message");
  ws.send(data);
  const [bytes, isBinary] = await answer;
  assert.strictEqual(isBinary, typeof data !== "string");
  assert.deepStrictEqual(isBinary ? bytes : bytes.toString(), data);
}

async function closes(ws, code, reason) {
  const closed = next(ws, "close");
  ws.close(code, reason);
  const [got] = await closed;
  assert.strictEqual(got, code);
}

const checks = {
  async "text and binary come back"() {
    const ws = await open();
    await echoes(ws, "Hello, wörld");
    await echoes(ws, "");
    await echoes(ws, Buffer.from([0, 255, 1, 254]));
    await closes(ws, 1000, "done");
  },
  async "large messages are compressed on both ways"() {
    const ws = await open({ perMessageDeflate: { threshold: 0 } });
    assert.match(ws.extensions, /permessage-deflate/);
    await echoes(ws, "compress me ".repeat(5000));
    await closes(ws, 4001);
  },
  async "fragments become one message"() {
    const ws = await open({ perMessageDeflate: false });
    const answer = next(ws, "message");
    for (const [part, fin] of [["one ", false], ["two ", false], ["three", true]]) ws.send(part, { fin });
    assert.strictEqual((await answer)[0].toString(), "one two three");
    await closes(ws, 1000);
  },
  async "a ping is answered"() {
    const ws = await open();
    const pong = next(ws, "pong");
    ws.ping("are you there");
    assert.strictEqual((await pong)[0].toString(), "are you there");
    ws.terminate();
  },
  async "two hundred messages come back in order"() {
    const ws = await open();
    const got = [];
    const all = new Promise((resolve) => ws.on("message", (data) => got.push(Number(data)) === 200 && resolve()));
    for (let i = 0; i < 200; i++) ws.send(String(i));
    await all;
    assert.deepStrictEqual(got, [...Array(200).keys()]);
    await closes(ws, 1000);
  },
};

async function main() {
  for (const [name, check] of Object.entries(checks)) {
    number++;
    try {
      await check();
      console.log(`ok ${number} - ${name}`);
    } catch (error) {
      console.log(`not ok ${number} - ${name}\n${error.stack}`);
      process.exitCode = 1;
    }
  }
  process.exit();
}

main();

#!/usr/bin/env node
// picture_examples.js [FOLDER] - makes docs/img/NAME.png of each example, from its real page. Into a folder: the page in light and
// dark, on a wide screen and on a phone, to be looked at.
"use strict";
const { execFileSync } = require("node:child_process");
const net = require("node:net");
const path = require("node:path");
const WebSocket = require("ws");
const { REPO, launch } = require("./server.js");
const { SECRET, example, start, startBackend, clean } = require("./example.js");
const { at, says, shows } = require("./suite.js");

const WIDE = { width: 760, height: 520 }, PHONE = { width: 360, height: 640 };
const TALK = [["bob", "Who takes the early boat tomorrow?"], ["ann", "I do, if somebody brings tea."], ["cyd", "Low water is at six, so be quick."],
  ["bob", "Tea it is. And the big flask."], ["ann", "Then six at the pier."]];

// Each gives the function that brings a new page into the state to be seen, and the servers.
const scenes = {
  async history() {
    const server = await start("history");
    for (const [name, text] of TALK) {
      const ws = new WebSocket(`${server.url.replace("http", "ws")}/?name=${name}`);
      await new Promise((done) => { ws.onopen = done; });
      const answer = (message) => new Promise((done) => {
        ws.onmessage = ({ data }) => { if (JSON.parse(data).type === "reply") done(); };
        ws.send(JSON.stringify({ ...message, id: 1, room: "lobby" }));
      });
      await answer({ type: "join" });
      if (text === TALK[0][1]) for (let n = 0; n < 40; n++) await answer({ type: "chat", text: `Tide table, line ${n + 1}` });
      await answer({ type: "chat", text });
    }
    return [[server], async (page) => {
      await at(page, "name").fill("ann");
      await at(page, "enter").click();
      await shows(at(page, "messages"), TALK.at(-1)[1]);
    }];
  },
  async webhook() {
    const server = await start("webhook");
    for (const body of ['{"type": "build.finished", "data": {"branch": "main", "seconds": 81, "passed": 412}}',
      '{"type": "order.paid", "data": {"order": 17, "total": "42.50 EUR", "items": ["flask", "tea"]}}']) {
      execFileSync(example("webhook", "send.sh"), ["lobby", body], { env: { PATH: process.env.PATH, WEBHOOK_SECRET: SECRET, URL: server.url } });
    }
    return [[server], (page) => shows(at(page, "deliveries"), "order.paid")];
  },
  async ticker() {
    const api = await startBackend("ticker", "api.lua");
    const server = await start("ticker", { variables: { PRICES_URL: api.url + "/prices", POLL_SECONDS: "0.5" } });
    return [[server, api], (page) => page.waitForFunction(() => document.querySelectorAll("figure").length === 8
      && document.querySelector("polyline").points.length > 20, undefined, { timeout: 60000 })];
  },
  async login(browser) {
    const server = await start("login"), names = ["bob", "cyd", "ann", "dan", "eve", "fay"];
    const bring = async (page) => {
      const name = names.shift(); // the windows stay open: each sees those before it
      await at(page, "name").fill(name);
      await at(page, "password").fill("correct horse");
      await at(page, "register").click();
      await shows(at(page, "online"), name);
    };
    for (let n = 0; n < 2; n++) {
      const page = await browser.newPage();
      await page.goto(server.url);
      await bring(page);
    }
    return [[server], bring];
  },
  async tokens() {
    const backend = await startBackend("tokens", "backend.lua");
    const server = await start("tokens", { variables: { ANSWERS_URL: backend.url + "/answer" } });
    return [[server, backend], async (page) => {
      await page.getByText("What does the moon do?").click();
      await page.locator('article[data-how="done"]').waitFor();
      await at(page, "text").fill("And what makes the tide?");
      await at(page, "send").click();
      await says(page.locator("article").nth(1), "the far side. The");
    }];
  },
  async "behind-nginx"() {
    const server = await start("behind-nginx", { address: "proxy+127.0.0.1:0", settings: ["--set", "proxies=127.0.0.1"] });
    const port = new URL(server.url).port;
    const proxy = net.createServer((page) => { // one whose page comes from elsewhere, for the picture
      const inner = net.connect(port, "127.0.0.1");
      inner.write("PROXY TCP4 203.0.113.9 192.0.2.1 56324 80\r\n");
      for (const socket of [page, inner]) socket.on("error", () => {});
      page.pipe(inner).pipe(page);
    });
    await new Promise((done) => { proxy.listen(0, "127.0.0.1", done); });
    const front = { url: `http://localhost:${proxy.address().port}`, stop: () => { proxy.close(); } };
    const come = async (text) => {
      const ws = new WebSocket(front.url.replace("http", "ws"));
      await new Promise((done) => { ws.onopen = done; });
      ws.send(JSON.stringify({ type: "say", text }));
    };
    return [[front, server], async (page) => {
      await says(at(page, "you"), "You are");
      for (const text of ["Is the tide in yet?", "Since six. The boats are back."]) {
        await come(text);
        await shows(at(page, "messages"), text);
      }
    }];
  },
};

async function shot(browser, server, bring, viewport, colorScheme, file) {
  const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: 1.5, locale: "en-GB" });
  const page = await context.newPage();
  await page.goto(server.url);
  await bring(page);
  await page.screenshot({ path: file, animations: "disabled" });
}

async function main() {
  const [folder, only] = process.argv.slice(2);
  const browser = await launch();
  for (const [name, scene] of Object.entries(scenes)) {
    if (only && only !== name) continue;
    const [servers, bring] = await scene(browser);
    if (folder) {
      for (const scheme of ["light", "dark"]) {
        await shot(browser, servers[0], bring, WIDE, scheme, path.join(folder, `${name}-${scheme}.png`));
        await shot(browser, servers[0], bring, PHONE, scheme, path.join(folder, `${name}-${scheme}-phone.png`));
      }
    } else await shot(browser, servers[0], bring, WIDE, "light", path.join(REPO, `docs/img/${name}.png`));
    for (const server of servers) await server.stop();
  }
  await browser.close();
  clean();
}

main();

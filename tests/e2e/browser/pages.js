#!/usr/bin/env node
// pages.js [PATTERN] - the real pages in Chromium: two people chat, the server goes and comes back, a script is edited under
// an open page, the dashboard draws. Prints TAP.
"use strict";
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const { REPO, Server, temporary, launch } = require("./server.js");

const TIMEOUT = 15000;
const at = (page, id) => page.getByTestId(id);

async function says(locator, text) {
  await locator.filter({ hasText: text }).first().waitFor({ timeout: TIMEOUT });
}

async function shows(locator, text) {
  await locator.getByText(text, { exact: false }).first().waitFor({ timeout: TIMEOUT });
}

// A person in a browser window of their own, in a room.
async function person(browser, server, name, room = "lobby") {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.setDefaultTimeout(TIMEOUT);
  await page.goto(server.url + "/");
  await says(at(page, "status"), /^connected$/);
  await at(page, "name-input").fill(name);
  await at(page, "room-input").fill(room);
  await at(page, "join-button").click();
  await shows(at(page, "members"), name);
  await says(at(page, "status"), /^connected$/);
  return page;
}

async function say(page, text) {
  await at(page, "message-input").fill(text);
  await at(page, "send-button").click();
}

async function twoPeople(browser, server) {
  const ann = await person(browser, server, "ann");
  const bob = await person(browser, server, "bob");
  await shows(at(ann, "members"), "bob");
  await shows(at(bob, "members"), "ann");
  return [ann, bob];
}

function calm(...pages) {
  for (const page of pages) assert.deepStrictEqual(page.problems, []);
}

const chatFolder = path.join(REPO, "examples/chat");
const chatScript = path.join(REPO, "scripts/chat.lua");

const tests = {
  async "two windows talk to each other"(browser) {
    const server = await Server.start(chatScript, chatFolder);
    const [ann, bob] = await twoPeople(browser, server);
    await say(ann, "hello bob <b>not bold</b>");
    await shows(at(bob, "messages"), "hello bob <b>not bold</b>");
    await say(bob, "hello ann ☺");
    await shows(at(ann, "messages"), "hello ann ☺");
    await at(bob, "members").getByText("ann").click();
    await say(bob, "only for you");
    await shows(at(ann, "messages"), "only for you");
    const late = await person(browser, server, "cyd");
    await shows(at(late, "messages"), "hello ann ☺"); // the history of the session
    await shows(at(ann, "messages"), "cyd joined");
    calm(ann, bob, late);
    await late.context().close();
    await shows(at(ann, "messages"), "cyd left");
    await server.stop();
  },

  async "the server is killed and started again: both windows reconnect"(browser) {
    const first = await Server.start(chatScript, chatFolder);
    const [ann, bob] = await twoPeople(browser, first);
    await first.kill();
    await says(at(ann, "status"), /^reconnecting$/);
    await says(at(bob, "status"), /^reconnecting$/);
    const second = await Server.start(chatScript, chatFolder, first.address);
    await says(at(ann, "status"), /^connected$/);
    await says(at(bob, "status"), /^connected$/);
    await shows(at(ann, "members"), "bob");
    await say(ann, "we are back");
    await shows(at(bob, "messages"), "we are back");
    calm(ann, bob);
    await second.stop();
  },

  async "the server stops as it should and the windows hear of it"(browser) {
    const first = await Server.start(chatScript, chatFolder);
    const ann = await person(browser, first, "ann");
    await first.stop();
    await says(at(ann, "status"), /^reconnecting$/);
    const second = await Server.start(chatScript, chatFolder, first.address);
    await says(at(ann, "status"), /^connected$/);
    await second.stop();
  },

  async "the script is edited: the open windows see it and stay connected"(browser) {
    const copy = path.join(temporary(), "chat.lua");
    const text = fs.readFileSync(chatScript, "utf8");
    const edited = text.replace("text = msg.text, at", "text = msg.text:upper(), at");
    assert.notStrictEqual(edited, text);
    fs.writeFileSync(copy, text);
    const server = await Server.start(copy, chatFolder);
    const [ann, bob] = await twoPeople(browser, server);
    const lost = () => new Promise((gone) => { state.socket.addEventListener("close", () => gone(true)); });
    const left = [ann, bob].map((page) => page.evaluate(lost).catch(() => false));
    let dropped = false;
    for (const gone of left) gone.then((yes) => { dropped = dropped || yes; });
    await say(ann, "before");
    await shows(at(bob, "messages"), "before");
    fs.writeFileSync(copy, edited);
    const begin = Date.now();
    for (let n = 0; !(await at(bob, "messages").getByText(/EDITED/).count()); n++) {
      assert(Date.now() - begin < TIMEOUT, "the edited script does not show");
      await say(ann, `edited ${n}`);
      await shows(at(bob, "messages"), new RegExp(`edited ${n}`, "i"));
    }
    assert(Date.now() - begin < 5000, `it took ${Date.now() - begin} ms`);
    assert(!dropped, "a window lost its connection");
    await shows(at(bob, "messages"), "before");
    calm(ann, bob);
    await server.stop();
    fs.rmSync(path.dirname(copy), { recursive: true });
  },

  async "the dashboard draws its plots and a published value"(browser) {
    const folder = path.join(REPO, "examples/dashboard");
    const server = await Server.start(path.join(folder, "dashboard.lua"), folder);
    const page = await browser.newPage();
    page.setDefaultTimeout(TIMEOUT);
    const problems = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    await page.goto(server.url + "/");
    await says(at(page, "status"), /^connected$/);
    await page.locator('figure[data-points]:not([data-points="0"]):not([data-points="1"])').nth(2).waitFor();
    const colours = await page.locator("canvas").first().evaluate((canvas) => {
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const seen = new Set();
      for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3]) seen.add(`${pixels[i]},${pixels[i + 1]},${pixels[i + 2]}`);
      return seen.size;
    });
    assert(colours >= 3, `a canvas with ${colours} colours has no plot on it`);
    await page.locator("#series").fill("mine");
    await page.locator("#value").fill("21.5");
    await at(page, "publish-button").click();
    await page.locator('figure[data-series="mine"] output').getByText("21.5").waitFor();
    assert.deepStrictEqual(problems, []);
    await page.close();
    await server.stop();
  },
};

async function main() {
  const pattern = new RegExp(process.argv[2] || "");
  const browser = await launch();
  let number = 0;
  for (const [name, test] of Object.entries(tests)) {
    if (!pattern.test(name)) continue;
    number++;
    try {
      await test(browser);
      console.log(`ok ${number} - ${name}`);
    } catch (error) {
      console.log(`not ok ${number} - ${name}\n${error.stack}`);
      process.exitCode = 1;
    }
  }
  await browser.close();
  process.exit();
}

main();

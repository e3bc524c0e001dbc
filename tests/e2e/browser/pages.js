#!/usr/bin/env node
// pages.js [PATTERN] - the real pages in Chromium: two people chat, the server goes and comes back, a script is edited under
// an open page, a bad save is shown over it in dev mode, the dashboard draws. Prints TAP.
"use strict";
const assert = require("node:assert");
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { PROGRAM, REPO, Server, temporary } = require("./server.js");
const { TIMEOUT, at, says, shows, watched, calm, run } = require("./suite.js");

// A person in a browser window of their own, in a room.
async function person(browser, server, name, room = "lobby") {
  const context = await browser.newContext();
  const page = await watched(await context.newPage());
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

const chatFolder = path.join(REPO, "examples/chat");
const chatScript = path.join(REPO, "scripts/chat.lua");

// A page that has the tag by itself too.
const STRICT = `<!doctype html><title>strict</title><meta http-equiv="Content-Security-Policy"
  content="default-src 'self'; require-trusted-types-for 'script'">
  <link rel="icon" href="moon.svg"><link rel="stylesheet" href="page.css">
  <dialog>a dialog of the page</dialog><script src="page.js" defer></script><script src="/_moontide/dev.js"></script>`;

// The overlay's part with that class, in its shadow root.
const overlay = (page, part) => page.locator("moontide-dev").locator(part);

// A server in dev mode on a script, with the pages of the chat or others in their place. `save` saves another version of
// the script.
async function startDev(text, pages = {}) {
  const folder = temporary(), copy = path.join(folder, "script.lua");
  const save = (changed) => {
    fs.writeFileSync(`${copy}.tmp`, changed);
    fs.renameSync(`${copy}.tmp`, copy);
  };
  save(text);
  fs.cpSync(chatFolder, path.join(folder, "pages"), { recursive: true });
  for (const [name, content] of Object.entries(pages)) fs.writeFileSync(path.join(folder, "pages", name), content);
  const server = await Server.start(copy, path.join(folder, "pages"), "127.0.0.1:0", ["--dev"]);
  folders.push(folder);
  return { server, save, folder };
}

const folders = []; // to be removed at the end

const tests = {
  async "the app of moontide new"(browser) {
    const folder = temporary(), app = path.join(folder, "app");
    folders.push(folder);
    execFileSync(PROGRAM, ["new", app]);
    const server = await Server.start(path.join(app, "app.lua"), path.join(app, "public"), "127.0.0.1:0",
      ["--set", `store.file=${path.join(app, "data", "store.db")}`]);
    const pages = [];
    for (const name of ["ann", "bob"]) {
      const page = await watched(await (await browser.newContext()).newPage());
      await page.addInitScript((value) => { sessionStorage.name = value; }, name);
      await page.goto(server.url + "/");
      await says(page.locator("#status"), name);
      pages.push(page);
    }
    const [ann, bob] = pages;
    await says(ann.locator("#status"), /^here: ann, bob$/);
    await ann.locator("#text").fill("hello <b>bob</b>");
    await ann.locator("button").click();
    await says(bob.locator("#lines li"), /^ann: hello <b>bob<\/b>$/);
    await bob.reload();
    await says(bob.locator("#lines li"), /^ann: hello/);
    assert.strictEqual(await bob.locator("#lines li", { hasText: "hello" }).count(), 1);
    await bob.goto(server.url + "/#garden");
    await says(bob.locator("#title"), /^garden/);
    assert.strictEqual(await bob.locator("#lines li", { hasText: "hello" }).count(), 0);
    calm(ann, bob);
    await server.stop();
  },

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

  async "a page of another port may not connect, and may once it is listed"(browser) {
    const pages = await Server.start(chatScript, chatFolder);
    const page = await watched(await (await browser.newContext()).newPage());
    await page.goto(pages.url + "/");
    const connect = (url) => page.evaluate((where) => new Promise((told) => {
      const socket = new WebSocket(where);
      socket.onopen = () => told("open");
      socket.onclose = (event) => told(`closed ${event.code}`);
    }), url.replace("http", "ws") + "/?name=eve");
    const closed = await Server.start(chatScript, chatFolder);
    assert.strictEqual(await connect(closed.url), "closed 1006");
    assert.match(closed.log, new RegExp(`a page of "${pages.url}" was refused`));
    const listed = await Server.start(chatScript, chatFolder, "127.0.0.1:0", ["--set", `origins=${pages.url}`]);
    assert.strictEqual(await connect(listed.url), "open");
    assert.strictEqual(await connect(pages.url), "open"); // its own
    for (const server of [closed, listed, pages]) await server.stop();
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

  async "dev mode: a bad save is shown over the pages, the next good one clears it, and the chat goes on"(browser) {
    const good = fs.readFileSync(chatScript, "utf8");
    const { server, save } = await startDev(good);
    const [ann, bob] = await twoPeople(browser, server);
    const bad = good.replace("\nreturn app", "\nlocal settings\nlocal limit = settings.limit\nreturn app");
    const line = bad.split("\n").indexOf("local limit = settings.limit") + 1;
    const version = /version=(\w+)/.exec(server.log)[1];
    save(bad);
    for (const page of [ann, bob]) {
      await says(overlay(page, ".what"), /^attempt to index a nil value \(local 'settings'\)$/);
      await says(overlay(page, ".where"), new RegExp(`^script\\.lua:${line}$`));
      assert.strictEqual(await overlay(page, ".marked .number").innerText(), String(line));
      assert.strictEqual(await overlay(page, ".marked .source").innerText(), "local limit = settings.limit");
      assert.strictEqual(await overlay(page, ".row").count(), 5);
      assert.match(await overlay(page, ".trace").innerText(), new RegExp(`\nscript\\.lua:${line}: in main chunk$`));
      await says(overlay(page, "footer"), `Version ${version} goes on serving`);
    }
    await ann.keyboard.press("Escape");
    await overlay(ann, ".card").waitFor({ state: "hidden" });
    await say(ann, "does it work?");
    await shows(at(bob, "messages"), "does it work?");
    await overlay(ann, ".again").click();
    await overlay(ann, ".card").waitFor();
    await ann.mouse.click(5, 5); // beside the card
    await overlay(ann, ".card").waitFor({ state: "hidden" });
    save(bad.replace("settings.limit", "settings.most"));
    for (const page of [ann, bob]) await says(overlay(page, ".marked"), "settings.most");
    const late = await bob.context().newPage();
    await late.goto(server.url);
    await says(overlay(late, ".marked"), "settings.most");
    save(good.replace("text = msg.text, at", "text = msg.text:upper(), at"));
    for (const page of [ann, bob, late]) await page.locator("moontide-dev").waitFor({ state: "detached" });
    await say(ann, "thanks");
    await shows(at(bob, "messages"), "THANKS");
    await shows(at(bob, "messages"), "does it work?");
    calm(ann, bob);
    await server.stop();
  },

  async "dev mode: the overlay works on strict pages, over their dialogs, and once"(browser) {
    const page = await browser.newPage();
    const problems = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (line) => { if (line.type() === "error") problems.push(line.text()); });
    page.setDefaultTimeout(TIMEOUT);
    const { server, save } = await startDev("return {}", {
      "index.html": STRICT,
      "page.js": `document.querySelector("dialog").showModal();
        addEventListener("keydown", (event) => { document.title += event.key; });`,
      "page.css": `* { all: unset; display: none !important } html, body, dialog { display: block !important }
        dialog { position: fixed; inset: 0; background: white }`, // over everything of the page
    });
    await page.goto(server.url);
    await page.locator("dialog[open]").waitFor();
    save("return {}\nreturn");
    await says(overlay(page, ".where"), /^script\.lua:2$/);
    assert.strictEqual(await page.locator("moontide-dev").count(), 1);
    const card = await overlay(page, ".card").boundingBox();
    assert(card.width > 400 && card.height > 100, `the card is ${card.width} x ${card.height}`);
    const shot = await page.screenshot({ clip: card, animations: "disabled" });
    await page.keyboard.press("Escape");
    await overlay(page, ".card").waitFor({ state: "hidden" });
    assert(!shot.equals(await page.screenshot({ clip: card })), "the overlay is not to be seen");
    await page.keyboard.press("x");
    assert.strictEqual(await page.title(), "strictx"); // what was meant for the overlay did not get to the page
    assert.strictEqual(await page.locator("dialog[open]").count(), 1);
    save("return {} -- fine");
    await page.locator("moontide-dev").waitFor({ state: "detached" });
    assert.deepStrictEqual(problems, []);
    await page.close();
    await server.stop();
  },

  async "dev mode: the overlay lives through a restart of the server, and goes when that has helped"(browser) {
    const { server: first, save, folder } = await startDev("return {}", { "index.html": "<title>page</title>" });
    const page = await browser.newPage({ viewport: { width: 375, height: 667 } });
    page.setDefaultTimeout(TIMEOUT);
    await page.goto(first.url);
    save("return {");
    await overlay(page, ".card").waitFor();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert(wide <= 375, `the page is ${wide} wide on a screen of 375`);
    await first.kill();
    save("return {}");
    const second = await Server.start(path.join(folder, "script.lua"), path.join(folder, "pages"), first.address, ["--dev"]);
    await page.locator("moontide-dev").waitFor({ state: "detached" });
    save("return { on_mesage = function() end }");
    await says(overlay(page, ".what"), /^app\.on_mesage: no such handler; did you mean on_message\?$/);
    await says(overlay(page, ".where"), /^script\.lua:1$/);
    await page.close();
    await second.stop();
  },

  async "the dashboard draws its plots and a published value"(browser) {
    const folder = path.join(REPO, "examples/dashboard");
    const server = await Server.start(path.join(folder, "dashboard.lua"), folder);
    const page = await watched(await browser.newPage());
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
    calm(page);
    await page.close();
    await server.stop();
  },
};

run(tests, () => {
  for (const folder of folders) fs.rmSync(folder, { recursive: true });
});

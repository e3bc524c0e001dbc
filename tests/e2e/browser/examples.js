#!/usr/bin/env node
// examples.js [PATTERN] - the pages of the examples in Chromium, used as a person uses them. Prints TAP.
"use strict";
const assert = require("node:assert");
const { execFileSync } = require("node:child_process");
const { SECRET, example, folder, start, startBackend, clean } = require("./example.js");
const { startFront } = require("./front.js");
const { at, says, shows, watched, calm, run } = require("./suite.js");

// A page in a window of its own that also notes what the browser logs as an error.
async function open(browser, server, where = "/", options = {}) {
  const context = options.context || await browser.newContext(options);
  const page = await watched(await context.newPage());
  page.on("console", (line) => { if (line.type() === "error") page.problems.push(line.text()); });
  await page.goto(server.url + where);
  return page;
}

async function fits(page) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert(wide <= page.viewportSize().width, `the page is ${wide} wide`);
}

async function enterHistory(browser, server, name, options) {
  const page = await open(browser, server, "/", options);
  await at(page, "name").fill(name);
  await at(page, "enter").click();
  await says(at(page, "people"), /here/);
  return page;
}

async function say(page, text) {
  await at(page, "text").fill(text);
  await at(page, "send").click();
  await shows(at(page, "messages"), text);
}

async function enterLogin(page, how, name, password) {
  await at(page, "name").fill(name);
  await at(page, "password").fill(password);
  await at(page, how).click();
}

const PHONE = { viewport: { width: 360, height: 640 } };

const tests = {
  async "history: what was said is there after kill -9, page by page, and is found"(browser) {
    const kept = folder(), first = await start("history", { kept });
    const ann = await enterHistory(browser, first, "ann"), bob = await enterHistory(browser, first, "bob", PHONE);
    await says(at(ann, "people"), /^2 people here$/);
    await say(ann, "the oldest <i>message</i>");
    await shows(at(bob, "messages"), "the oldest <i>message</i>");
    await ann.evaluate(async () => {
      for (let n = 1; n <= 70; n++) await server.ask({ type: "chat", room: "lobby", text: `line ${n}` });
    });
    await shows(at(bob, "messages"), "line 70");
    await fits(bob);
    calm(ann, bob);
    await first.kill();
    await says(at(ann, "status"), /^reconnecting$/);
    const second = await start("history", { kept, address: first.address });
    await says(at(ann, "status"), /^connected$/);
    await at(ann, "messages").getByText("line 41", { exact: true }).waitFor();
    assert.strictEqual(await at(ann, "messages").locator("[data-id]").count(), 30);
    await say(ann, "tea, after the restart");

    const late = await enterHistory(browser, second, "cyd");
    for (let n = 0; n < 2; n++) {
      await at(late, "earlier").click();
      await at(late, "messages").getByText(["line 12", "the oldest"][n], { exact: false }).waitFor();
    }
    await at(late, "earlier").waitFor({ state: "hidden" });
    const ids = await at(late, "messages").locator("[data-id]").evaluateAll((all) => all.map((li) => Number(li.dataset.id)));
    assert.deepStrictEqual(ids, Array.from({ length: 72 }, (_, i) => i + 1));
    assert.strictEqual(await at(late, "messages").locator(".day").count(), 1);
    await at(late, "find").fill("oldest");
    await shows(at(late, "results"), "the oldest <i>message</i>");
    await at(late, "find").fill("nowhere");
    await shows(at(late, "results"), "Nothing here has “nowhere”.");
    await at(late, "find").fill("");
    await shows(at(late, "messages"), "tea, after the restart");
    calm(late);
    await second.stop();
  },

  async "webhook: what is signed shows, once, in its room"(browser) {
    const server = await start("webhook");
    const send = (room, body, id, secret = SECRET) => execFileSync(example("webhook", "send.sh"), [room, JSON.stringify(body), id],
      { env: { PATH: process.env.PATH, WEBHOOK_SECRET: secret, URL: server.url } }).toString();
    const page = await open(browser, server), orders = await open(browser, server, "/#orders", PHONE);
    await says(at(page, "empty"), "Nothing has come");
    await says(at(orders, "address"), /\/hooks\/orders$/);
    assert.match(send("lobby", { type: "order.paid", data: { order: 17, by: "<b>ann</b>" } }, "msg_1"), /202/);
    await shows(at(page, "deliveries"), "order.paid");
    await shows(at(page, "deliveries"), '"by": "<b>ann</b>"');
    assert.match(send("lobby", { type: "order.paid" }, "msg_1"), /duplicate.*200/);
    assert.match(send("lobby", { type: "forged" }, "msg_2", "whsec_YW5vdGhlcg=="), /401/);
    assert.match(send("orders", { type: "order.sent", data: [1, 2] }, "msg_3"), /202/);
    await shows(at(orders, "deliveries"), "order.sent");
    assert.strictEqual(await at(orders, "deliveries").locator("li").count(), 1);
    assert.strictEqual(await at(page, "deliveries").locator("li").count(), 1);
    await at(page, "room").fill("orders");
    await at(page, "watch").click();
    await shows(at(page, "deliveries"), "order.sent"); // who comes later sees the latest
    await fits(orders);
    calm(page, orders);
    await server.stop();
  },

  async "ticker: prices move, can be chosen, and are marked when the API is gone"(browser) {
    const api = await startBackend("ticker", "api.lua");
    const server = await start("ticker", { variables: { PRICES_URL: api.url + "/prices", POLL_SECONDS: "0.2" } });
    const page = await open(browser, server, "/", PHONE), card = page.locator('figure[data-symbol="EEL"]');
    await card.waitFor();
    assert.strictEqual(await page.locator("figure").count(), 8);
    const first = await card.locator("output").innerText();
    assert.match(first, /^1\d\.\d\d$/);
    await card.locator("output").filter({ hasNotText: first }).waitFor();
    await shows(card, /[▲▼]/);
    await at(page, "symbols").getByText("EEL").click();
    await card.waitFor({ state: "detached" });
    assert.strictEqual(await page.locator("figure").count(), 7);
    await fits(page);
    await api.kill();
    await says(at(page, "feed"), /(cannot be reached|broke off)\. Asking again in \d/);
    const late = await open(browser, server);
    await late.locator("figure").nth(7).waitFor(); // the last prices there were
    await says(at(late, "feed"), "cannot be reached");
    const again = await startBackend("ticker", "api.lua", api.address);
    await says(at(page, "feed"), "Prices as the API gives them");
    await at(page, "symbols").getByText("EEL").click();
    await card.waitFor();
    calm(page, late);
    await server.stop();
    await again.stop();
  },

  async "login: register, wrong password, two tabs, log out, expiry"(browser) {
    const kept = folder(), first = await start("login", { kept });
    const page = await open(browser, first, "/", PHONE);
    await enterLogin(page, "register", "Ann", "correct horse");
    await says(at(page, "who"), /^Ann$/);
    await shows(at(page, "online"), "Ann (you)");
    await fits(page);
    const tab = await open(browser, first, "/", { context: page.context() });
    await says(at(tab, "who"), /^Ann$/); // the cookie is that of the browser
    await shows(at(tab, "online"), "Ann (you)");
    assert.deepStrictEqual(await page.evaluate(() => document.cookie), "", "no script can read it");
    const bob = await open(browser, first);
    await enterLogin(bob, "register", "bob", "a longer password");
    await shows(at(page, "online"), "bob");
    calm(page, tab, bob);

    await at(page, "logout").click();
    for (const one of [page, tab]) await says(at(one, "note"), "You have logged out.");
    await enterLogin(page, "login", "ann", "wrong horse");
    await says(at(page, "problem"), "wrong name or password");
    await enterLogin(page, "login", "ann", "correct horse");
    await says(at(page, "who"), /^Ann$/);
    await first.kill();
    await says(at(page, "status"), /^reconnecting$/);
    const second = await start("login", { kept, address: first.address, variables: { SESSION_SECONDS: "1" } });
    await says(at(page, "status"), /^connected$/);
    await shows(at(page, "online"), "Ann (you)");
    await enterLogin(tab, "login", "ann", "correct horse"); // from now on the sessions are short
    await says(at(tab, "note"), "Your session has expired.");
    assert.match(page.problems.concat(tab.problems).filter((line) => !/WebSocket connection|status of 401|net::ERR_CONNECTION/.test(line)).join(), /^$/);
    await second.stop();
  },

  async "tokens: an answer grows, is stopped, breaks off, is asked again"(browser) {
    const backend = await startBackend("tokens", "backend.lua");
    const server = await start("tokens", { variables: { ANSWERS_URL: backend.url + "/answer" } });
    const page = await open(browser, server, "/", PHONE), answers = page.locator("article");
    await page.getByText("What does the moon do?").click();
    await says(answers.nth(0), "The moon goes");
    const early = (await answers.nth(0).innerText()).length;
    await page.locator('article[data-how="done"]').waitFor();
    const whole = await answers.nth(0).innerText();
    assert(early < whole.length / 2, `${early} of ${whole.length} letters were there at first`);
    assert.match(whole, /^The moon goes once .* the water rises highest\.$/);
    await fits(page);

    await at(page, "text").fill("and the tide?");
    await at(page, "send").click();
    await says(answers.nth(1), "The sea");
    await at(page, "stop").click();
    await says(answers.nth(1), /^The sea.*Stopped\./s);
    assert(await at(page, "stop").isDisabled());
    await answers.nth(1).getByText("Ask again").click();
    await says(answers.nth(2), "The sea rises");

    await at(page, "text").fill("Break the tide");
    await at(page, "send").click();
    await says(answers.nth(2), "Stopped."); // one answer at a time
    await says(answers.nth(3), /It failed: /);
    await at(page, "text").fill("tide");
    await at(page, "send").click();
    await says(answers.nth(4), "The sea");
    await backend.kill();
    await says(answers.nth(4), /It failed: /);
    calm(page);
    await server.stop();
  },

  async "behind-nginx: over TLS of nginx, from who the proxy names, and through a restart of it"(browser) {
    const server = await start("behind-nginx", { settings: ["--config", example("behind-nginx", "moontide.conf.lua")] });
    const front = await startFront(example("behind-nginx", "nginx.conf"), folder(), server);
    const options = { ignoreHTTPSErrors: true };
    const ann = await open(browser, front, "/", { ...PHONE, ...options }), bob = await open(browser, front, "/", options);
    await says(at(ann, "you"), /^You are visitor 1, and you come from 127\.0\.0\.1\.$/);
    await shows(at(ann, "people"), "visitor 1 (you)");
    await shows(at(ann, "people"), "visitor 2");
    await at(bob, "text").fill("over <b>nginx</b>");
    await at(bob, "send").click();
    await shows(at(ann, "messages"), "over <b>nginx</b>");
    await fits(ann);
    const stranger = await (await browser.newContext(options)).newPage(); // a page of another origin gets no WebSocket
    await stranger.goto(`${server.url}/moon.svg`);
    const let_in = await stranger.evaluate((url) => new Promise((done) => {
      const socket = new WebSocket(url);
      socket.onopen = () => done(true);
      socket.onerror = () => done(false);
    }), front.url.replace("https", "wss"));
    assert.strictEqual(let_in, false);
    calm(ann, bob);
    await front.stop();
    await says(at(ann, "status"), /^reconnecting$/);
    await server.stop();
  },
};

run(tests, clean);

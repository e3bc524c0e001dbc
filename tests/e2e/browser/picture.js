#!/usr/bin/env node
// picture.js - makes docs/img/chat.png, the picture of the README: two people in two windows of the real chat page.
"use strict";
const path = require("node:path");
const { REPO, Server, launch } = require("./server.js");

const SIZE = { width: 620, height: 450 };
const TALK = [
  ["ann", "Good morning! Is the tide in yet?"],
  ["bob", "Almost. Twenty minutes, then we can go."],
  ["ann", "Then I make tea first."],
  ["bob", "The big flask, cyd comes too ☕"],
  ["ann", "Will do. Meet you at the pier."],
];

async function person(browser, server, name, colorScheme) {
  const context = await browser.newContext({ viewport: SIZE, colorScheme, deviceScaleFactor: 1.5, locale: "en-GB" });
  const page = await context.newPage();
  await page.goto(server.url);
  await page.getByTestId("name-input").fill(name);
  await page.getByTestId("join-button").click();
  await page.getByTestId("members").getByText(name).waitFor();
  return page;
}

async function talk(people) {
  for (const [name, text] of TALK) {
    await people[name].getByTestId("message-input").fill(text);
    await people[name].getByTestId("send-button").click();
    for (const page of Object.values(people)) await page.getByTestId("messages").getByText(text).waitFor();
  }
}

// Both windows on one sheet.
async function compose(browser, shots, file) {
  const images = shots.map((png) => `<img width="${SIZE.width}" src="data:image/png;base64,${png.toString("base64")}">`);
  const page = await browser.newPage({ viewport: { width: 1320, height: 510 }, deviceScaleFactor: 1.5 });
  await page.setContent(`<style>
    body { display: flex; align-items: center; justify-content: space-evenly; margin: 0; height: 510px; background: #b9d3e8; }
    img { border-radius: 10px; box-shadow: 0 6px 20px #0a1a3055; }
  </style>${images.join("")}`);
  await page.screenshot({ path: file });
}

async function main() {
  const server = await Server.start(path.join(REPO, "scripts/chat.lua"), path.join(REPO, "examples/chat"));
  const browser = await launch();
  const people = { ann: await person(browser, server, "ann", "light"), bob: await person(browser, server, "bob", "dark") };
  await people.ann.getByTestId("members").getByText("bob").waitFor();
  await talk(people);
  const shots = [];
  for (const page of Object.values(people)) shots.push(await page.screenshot());
  await compose(browser, shots, path.join(REPO, "docs/img/chat.png"));
  await browser.close();
  await server.stop();
}

main();

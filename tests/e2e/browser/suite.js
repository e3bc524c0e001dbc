// suite.js - what the browser tests have in common: finding things on a page, pages that note what goes wrong, running tests as TAP.
"use strict";
const assert = require("node:assert");
const { launch } = require("./server.js");

const TIMEOUT = 15000;
const at = (page, id) => page.getByTestId(id);

async function says(locator, text) {
  await locator.filter({ hasText: text }).first().waitFor({ timeout: TIMEOUT });
}

async function shows(locator, text) {
  await locator.getByText(text, { exact: false }).first().waitFor({ timeout: TIMEOUT });
}

// A page that notes the errors of its scripts in `problems`.
async function watched(page) {
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.setDefaultTimeout(TIMEOUT);
  return page;
}

function calm(...pages) {
  for (const page of pages) assert.deepStrictEqual(page.problems, []);
}

// Runs the tests whose names match the first argument of the program; `last` when all are over.
async function run(tests, last = () => {}) {
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
  if (!number) {
    console.log(`not ok - no test is called ${pattern}`);
    process.exitCode = 1;
  }
  await browser.close();
  last();
  process.exit();
}

module.exports = { TIMEOUT, at, says, shows, watched, calm, run };

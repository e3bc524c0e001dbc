// example.js - starts the examples for the tests of their pages, each with a folder of its own for what it keeps.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { REPO, Server, temporary } = require("./server.js");

const SECRET = "whsec_bW9vbnRpZGUgd2ViaG9va3M=";
const example = (name, file) => path.join(REPO, "examples", name, file);
const folders = []; // to be removed at the end

function folder() {
  folders.push(temporary());
  return folders.at(-1);
}

// A server of an example with its pages; what it keeps goes into `kept`.
function start(name, { kept = folder(), address, variables, settings = [] } = {}) {
  const keys = { history: ["sql.folder"], login: ["sql.folder", "store.file"], webhook: ["store.file"] }[name] || [];
  const where = { "sql.folder": kept, "store.file": path.join(kept, "store.db") };
  return Server.start(example(name, "app.lua"), example(name, "public"), address, [...settings, ...keys.flatMap((key) => ["--set", `${key}=${where[key]}`])],
    { WEBHOOK_SECRET: SECRET, ...variables });
}

const startBackend = (name, file, address) => Server.start(example(name, file), "", address);

function clean() {
  for (const one of folders) fs.rmSync(one, { recursive: true });
}

module.exports = { SECRET, example, folder, start, startBackend, clean };

// server.js - starts the real program for the browser tests, stops it by its pid, and makes a page in headless Chromium.
"use strict";
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { chromium } = require("playwright-core");

const REPO = path.resolve(__dirname, "../../..");
const PROGRAM = process.env.MOONTIDE_BIN || path.join(REPO, "build/moontide");
// Without the background switches Chromium asks for hosts that a closed network refuses; as root it needs --no-sandbox.
const SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"];

// MOONTIDE_* are settings of the program; ours must not reach it.
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("MOONTIDE_")));
environment.MOONTIDE_ADMIN = "false"; // servers are killed here, which would leave their control sockets behind

const running = new Set(); // children that a test which failed leaves behind
process.on("exit", () => { for (const child of running) child.kill("SIGKILL"); });

class Server {
  // address: "127.0.0.1:0", or the one of an earlier server to come back on its port. folder: of the pages, "" for none.
  static start(script, folder, address = "127.0.0.1:0", settings = [], variables = {}) {
    return new Promise((resolve, reject) => {
      const server = new Server();
      server.log = "";
      const pages = folder ? ["--static", folder] : [];
      server.child = spawn(PROGRAM, ["run", script, "--listen", address, ...pages, ...settings],
        { stdio: ["ignore", "pipe", "pipe"], env: { ...environment, ...variables } });
      running.add(server.child);
      server.ended = new Promise((done) => server.child.once("exit", (code, signal) => {
        running.delete(server.child);
        done({ code, signal });
      }));
      server.child.stderr.on("data", (data) => { server.log += data; });
      let out = "";
      server.child.stdout.on("data", (data) => {
        out += data;
        const ready = /^moontide: ready (\S+)/m.exec(out);
        if (!ready) return;
        server.url = ready[1];
        server.address = new URL(server.url).host;
        resolve(server);
      });
      server.child.once("error", reject);
      server.ended.then(({ code }) => reject(new Error(`the server ended with ${code} before it was ready\n${server.log}`)));
    });
  }

  async stop() {
    this.child.kill("SIGTERM");
    const { code } = await this.ended;
    if (code !== 0) throw new Error(`the server ended with ${code}\n${this.log}`);
    if (/ERROR: \w+Sanitizer|runtime error:/.test(this.log)) throw new Error(this.log);
  }

  async kill() {
    this.child.kill("SIGKILL");
    await this.ended;
  }
}

function temporary() {
  return fs.mkdtempSync(path.join(os.tmpdir(), "moontide-browser-"));
}

function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: SWITCHES });
}

module.exports = { PROGRAM, REPO, Server, temporary, launch };

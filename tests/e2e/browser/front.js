// front.js - a real nginx in front of a server, with the file that examples/behind-nginx gives to its users; ports and paths are changed.
"use strict";
const { execFileSync, spawn } = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");

const HEAD = (folder) => `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; ${process.getuid() === 0 ? "user root;" : ""}
events {} http { access_log off; include ${folder}/site.conf;
${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join(" ")} }`;

function freePort() {
  return new Promise((done) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

const connects = (port) => new Promise((done) => {
  const socket = net.connect(port, "127.0.0.1", () => { socket.destroy(); done(true); }).on("error", () => done(false));
});

// { url, stop() }: https, with a certificate that nobody has signed. `file`: nginx.conf; `folder`: for what it keeps.
async function startFront(file, folder, server) {
  const [plain, secure] = [await freePort(), await freePort()];
  const changes = { "127.0.0.1:8765": server.address, "listen 80;": `listen 127.0.0.1:${plain};`, "listen [::]:80;": "",
    "listen 443 ssl;": `listen 127.0.0.1:${secure} ssl;`, "listen [::]:443 ssl;": "",
    "/etc/letsencrypt/live/chat.example/fullchain.pem": `${folder}/cert.pem`, "/etc/letsencrypt/live/chat.example/privkey.pem": `${folder}/key.pem` };
  let text = fs.readFileSync(file, "utf8");
  for (const [from, to] of Object.entries(changes)) text = text.replaceAll(from, to);
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
    "-keyout", `${folder}/key.pem`, "-out", `${folder}/cert.pem`], { stdio: "ignore" });
  fs.writeFileSync(path.join(folder, "site.conf"), text);
  fs.writeFileSync(path.join(folder, "nginx.conf"), HEAD(folder));
  const child = spawn("nginx", ["-p", folder, "-c", path.join(folder, "nginx.conf")],
    { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } });
  const ended = new Promise((done) => child.once("exit", done));
  process.on("exit", () => child.kill());
  while (child.exitCode === null && !await connects(secure)) await new Promise((done) => setTimeout(done, 20));
  if (child.exitCode !== null) throw new Error("nginx ended");
  return { url: `https://localhost:${secure}`, async stop() { child.kill(); await ended; } };
}

module.exports = { startFront };

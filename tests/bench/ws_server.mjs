// ws_server.mjs - the Node `ws` server of the benchmark: node ws_server.mjs PORT echo|room [CERTIFICATE KEY]
// Started in build/bench, where npm put the module.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";

const { WebSocketServer } = createRequire(`${process.cwd()}/`)("ws");
const [port, mode, certificate, key] = process.argv.slice(2);

const server = certificate
  ? createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key) })
  : createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });

sockets.on("connection", (socket) => {
  if (mode === "echo") {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
  } else {
    socket.on("message", (data, binary) => {
      for (const member of sockets.clients) member.send(data, { binary });
    });
  }
});
server.listen(Number(port), "127.0.0.1", 4096);

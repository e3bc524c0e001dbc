// bun_server.mjs - the Bun server of the benchmark: bun bun_server.mjs PORT echo|room [CERTIFICATE KEY]
// The room is Bun's own publish and subscribe.
const [port, mode, certificate, key] = process.argv.slice(2);

const echo = {
  message(socket, data) {
    socket.send(data);
  },
};
const room = {
  open(socket) {
    socket.subscribe("all");
  },
  message(socket, data) {
    server.publish("all", data);
  },
};

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(port),
  tls: certificate ? { cert: Bun.file(certificate), key: Bun.file(key) } : undefined,
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("not a WebSocket", { status: 400 });
  },
  websocket: { ...(mode === "echo" ? echo : room), perMessageDeflate: false },
});

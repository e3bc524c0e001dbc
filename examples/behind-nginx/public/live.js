// live.js - one WebSocket that reconnects by itself, and requests that get their answers. Each example's folder has the same file.
//
//   const server = live({ open() {...}, price(message) {...} });   a function for each type of message, open for every new connection
//   server.send({ type: "watch" })                    true when it could be sent
//   const data = await server.ask({ type: "join" })   what the handler returned; an Error with `code` when it failed
"use strict";

function live(handlers, path = "/") {
  const waiting = new Map(); // id -> { resolve, reject }
  let socket, timer, retries = 0, nextId = 1;

  function status(text) {
    const element = document.getElementById("status");
    element.textContent = text;
    element.classList.toggle("on", text === "connected");
  }

  function failed(message, code) {
    return Object.assign(new Error(message), { code });
  }

  function settle(message) {
    const request = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.type === "reply") request?.resolve(message.data);
    else if (request) request.reject(failed(message.message || message.code, message.code));
    else console.warn(message); // a message without an id failed
  }

  function lost(event) {
    for (const { reject } of waiting.values()) reject(failed("the connection broke off", "closed"));
    waiting.clear();
    if (handlers.closed?.(event) === false) return status("not connected"); // the page will open it again
    status("reconnecting");
    timer = setTimeout(open, Math.min(250 * 2 ** retries++, 5000) * (0.5 + Math.random() / 2));
  }

  function open() {
    const url = new URL(path, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    clearTimeout(timer);
    status("connecting");
    const mine = socket = new WebSocket(url);
    mine.onopen = () => {
      retries = 0;
      status("connected");
      handlers.open?.();
    };
    mine.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.type === "reply" || message.type === "error") settle(message);
      else handlers[message.type]?.(message);
    };
    mine.onclose = (event) => { if (mine === socket) lost(event); };
  }

  function send(message) {
    if (socket?.readyState !== WebSocket.OPEN) return false;
    socket.send(JSON.stringify(message));
    return true;
  }

  function ask(message) {
    return new Promise((resolve, reject) => {
      const id = nextId++;
      waiting.set(id, { resolve, reject });
      if (!send({ ...message, id })) settle({ id, code: "closed", message: "not connected" });
    });
  }

  // Connect anew, as somebody else.
  function reopen(newPath = path) {
    path = newPath;
    const old = socket;
    open();
    old?.close();
  }

  open();
  return { send, ask, reopen };
}

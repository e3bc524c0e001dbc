// The chat page: one WebSocket that reconnects by itself and joins its rooms again. It speaks to scripts/chat.lua.
"use strict";

const $ = (id) => document.getElementById(id);
const state = {
  socket: null,
  name: sessionStorage.getItem("name") || "",
  you: "",
  current: "",            // room on screen
  rooms: new Map(),       // name -> { lines: [element], members: Set, unread: number }; the order of joining
  to: "",                 // person a private message goes to
  retries: 0,
  nextId: 1,
  waiting: new Map(),     // id -> function(reply)
};

// ---- the connection ----

function connect() {
  const url = new URL(location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.pathname = "/";
  url.hash = "";
  url.search = state.name ? "?" + new URLSearchParams({ name: state.name }) : "";
  const socket = new WebSocket(url);
  state.socket = socket;
  socket.onopen = () => {
    state.retries = 0;
    setStatus("connected");
    for (const room of state.rooms.keys()) join(room);
  };
  socket.onmessage = (event) => {
    if (socket === state.socket) receive(JSON.parse(event.data));
  };
  socket.onclose = () => {
    if (socket !== state.socket) return; // left on purpose, for another name
    state.waiting.clear();
    setStatus("reconnecting");
    const wait = Math.min(250 * 2 ** state.retries++, 5000) * (0.5 + Math.random() / 2);
    setTimeout(connect, wait);
  };
}

function setStatus(text) {
  $("status").textContent = text;
  $("status").classList.toggle("on", text === "connected");
}

function send(message, onReply) {
  if (state.socket.readyState !== WebSocket.OPEN) return false;
  if (onReply) {
    message.id = state.nextId++;
    state.waiting.set(message.id, onReply);
  }
  state.socket.send(JSON.stringify(message));
  return true;
}

// ---- what the server says ----

function receive(message) {
  const handler = handlers[message.type];
  if (handler) handler(message);
}

const handlers = {
  system(message) {
    if (message.you) state.you = message.you;
    if (!state.name && state.you) $("name").placeholder = state.you;
    $("greeting").textContent = message.message;
  },
  reply(message) {
    const done = state.waiting.get(message.id);
    state.waiting.delete(message.id);
    if (done) done(message.data);
  },
  error(message) {
    state.waiting.delete(message.id);
    addLine(state.current, line("error", message.message || message.code));
  },
  chat(message) {
    addLine(message.room, chatLine(message));
    const room = state.rooms.get(message.room);
    if (room && message.room !== state.current) room.unread++;
    drawRooms();
  },
  private(message) {
    addLine(state.current, line("private", message.text, message.from + " to you only", message.at));
  },
  user_joined(message) {
    const room = state.rooms.get(message.room);
    if (!room || room.members.has(message.user_id)) return;
    room.members.add(message.user_id);
    note(message.room, message.user_id + " joined");
    drawMembers();
  },
  user_left(message) {
    const room = state.rooms.get(message.room);
    if (!room || !room.members.delete(message.user_id)) return;
    note(message.room, message.user_id + " left");
    drawMembers();
  },
};

function enter(name) {
  if (!state.rooms.has(name)) state.rooms.set(name, { lines: [], members: new Set(), unread: 0 });
  sessionStorage.setItem("rooms", JSON.stringify([...state.rooms.keys()]));
  show(name);
}

function join(name) {
  send({ type: "join", room: name }, (data) => {
    const room = state.rooms.get(name);
    if (!room) return;
    state.you = data.you || state.you;
    room.members = new Set(data.members.map((m) => m.user));
    room.lines = data.history.map(chatLine); // also what was said while we were away
    note(name, "You are in " + name + " as " + state.you + ".");
    if (name === state.current) show(name);
    drawRooms();
  });
}

// ---- the page ----

function line(kind, text, from, at) {
  const li = document.createElement("li");
  li.className = kind;
  if (from) li.append(Object.assign(document.createElement("b"), { textContent: from }));
  li.append(Object.assign(document.createElement("span"), { textContent: text }));
  if (at) {
    const time = document.createElement("time");
    time.textContent = new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    li.append(time);
  }
  return li;
}

function chatLine(message) {
  const mine = message.from === state.you;
  const li = line(mine ? "chat mine" : "chat", message.text, mine ? "" : message.from, message.at);
  li.style.setProperty("--hue", hue(message.from));
  return li;
}

function hue(name) { // the same colour for the same name, everywhere
  let h = 0;
  for (const c of name) h = (h * 31 + c.codePointAt(0)) % 360;
  return h;
}

function note(room, text) {
  addLine(room, line("note", text));
}

function addLine(name, li) {
  const room = state.rooms.get(name);
  if (room) {
    room.lines.push(li);
    if (room.lines.length > 500) room.lines.shift().remove();
  }
  if (name !== state.current) return;
  const list = $("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.append(li);
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function show(name) {
  state.current = name;
  const room = state.rooms.get(name);
  room.unread = 0;
  $("welcome").hidden = true;
  $("side").hidden = $("messages").hidden = $("send").hidden = false;
  $("messages").replaceChildren(...room.lines);
  $("messages").scrollTop = $("messages").scrollHeight;
  document.title = name + " · Moontide chat";
  drawRooms();
  drawMembers();
}

function item(text, onClick) {
  const li = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", title: text });
  button.append(Object.assign(document.createElement("span"), { textContent: text }));
  button.onclick = onClick;
  li.append(button);
  return li;
}

function drawRooms() {
  $("rooms").replaceChildren(...[...state.rooms].map(([name, room]) => {
    const li = item(name, () => show(name));
    li.firstChild.classList.toggle("here", name === state.current);
    if (room.unread) {
      li.firstChild.classList.add("unread");
      li.firstChild.dataset.unread = room.unread;
    }
    return li;
  }));
}

function drawMembers() {
  const room = state.rooms.get(state.current);
  const names = room ? [...room.members].sort((a, b) => a.localeCompare(b)) : [];
  $("members").replaceChildren(...names.map((name) => item(name + (name === state.you ? " (you)" : ""), () => writeTo(name))));
}

function writeTo(name) {
  state.to = name === state.you ? "" : name;
  $("to").hidden = !state.to;
  $("to").textContent = "to " + state.to + " ✕";
  $("text").focus();
}

$("to").onclick = () => writeTo("");

$("join").onsubmit = (event) => {
  event.preventDefault();
  const room = $("room").value.trim();
  const name = $("name").value.trim();
  if (!room) return;
  enter(room);
  if (name !== state.name) {                     // another name is another person: connect again
    for (const left of state.rooms.keys()) send({ type: "leave", room: left }); // who only closes stays on the list for a while
    state.name = name;
    sessionStorage.setItem("name", name);
    state.socket.onclose = null;
    state.socket.close();
    setStatus("connecting");
    connect();
  } else {
    join(room);
  }
  $("text").focus();
};

$("send").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  const to = state.to;
  if (!text || !state.current) return;
  const sent = to
    ? send({ type: "private", to, text }, () => addLine(state.current, line("private mine", text, "you to " + to + " only", Date.now() / 1000)))
    : send({ type: "chat", room: state.current, text });
  if (sent) $("text").value = "";                // not connected: the text stays in the box
};

$("name").value = state.name;
for (const room of JSON.parse(sessionStorage.getItem("rooms") || "[]")) enter(room); // the page was loaded again
connect();

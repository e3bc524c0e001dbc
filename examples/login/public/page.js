// The page of the login: HTTP for who one is, a WebSocket for what only people who are logged in may see.
"use strict";

const $ = (id) => document.getElementById(id);
const ENDED = 4401; // the close code for a session that has ended
let server, user = "";

async function call(method, path, value) {
  const answer = await fetch(path, { method, body: value && JSON.stringify(value) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text || answer.statusText);
  return JSON.parse(text);
}

function enter(name) {
  user = name;
  $("who").textContent = name;
  $("password").value = "";
  $("outside").hidden = true;
  $("inside").hidden = false;
  if (server) server.reopen();
  else server = live(handlers);
}

function leave(note) {
  user = "";
  $("inside").hidden = true;
  $("outside").hidden = false;
  $("note").hidden = !note;
  $("note").textContent = note || "";
  $("problem").textContent = "";
  $("name").focus();
}

const handlers = {
  hello(message) {
    $("until").textContent = new Date(message.expires * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  },
  online({ names }) {
    $("online").replaceChildren(...names.map((name) => Object.assign(document.createElement("li"), {
      textContent: name === user ? name + " (you)" : name,
    })));
  },
  closed(event) { // false: do not connect again
    if (event.code === ENDED) leave(event.reason === "expired" ? "Your session has expired." : "You have logged out.");
    else if (user) look(); // refused or broken off: the close does not tell which
    return event.code !== ENDED && user !== "";
  },
};

// Am I still somebody? Where the server does not answer, the socket goes on trying.
async function look() {
  const me = await call("GET", "/me").catch(() => undefined);
  if (me && !me.user && user) leave("Your session has ended.");
}

async function submit(path) {
  if (!$("outside").reportValidity()) return;
  $("problem").textContent = "";
  for (const button of document.querySelectorAll(".buttons button")) button.disabled = true;
  try {
    const me = await call("POST", path, { name: $("name").value.trim(), password: $("password").value });
    enter(me.user);
  } catch (error) {
    $("problem").textContent = error.message;
  }
  for (const button of document.querySelectorAll(".buttons button")) button.disabled = false;
}

$("outside").onsubmit = (event) => {
  event.preventDefault();
  submit("/login");
};
$("register").onclick = () => submit("/register");
$("logout").onclick = () => call("POST", "/logout").catch((error) => leave(error.message)); // the socket's close does the rest

call("GET", "/me").then((me) => (me.user ? enter(me.user) : leave()), () => leave("The server does not answer."));

// The page of the chat with history. It speaks to app.lua; live.js keeps the connection.
"use strict";

const $ = (id) => document.getElementById(id);
let name = sessionStorage.getItem("name") || "", you = "", room = "", typing;
const shown = new Map(); // id -> the element of that message

const server = live({
  open() { if (room) join(); },          // also after a break: the newest page has what was missed
  chat(message) { if (message.room === room) add([message]); },
  people(message) { if (message.room === room) showPeople(message.count); },
}, address());

function address() {
  return "/?" + new URLSearchParams(name ? { name } : {});
}

// ---- what is asked ----

async function join() {
  try {
    const latest = await server.ask({ type: "join", room });
    you = latest.you;
    shown.clear();
    $("messages").replaceChildren();
    showPeople(latest.people);
    $("earlier").hidden = !latest.more;
    add(latest.messages);
    scrollDown();
  } catch (error) {
    problem(error);
  }
}

async function loadEarlier() {
  $("earlier").disabled = true;
  try {
    const page = await server.ask({ type: "earlier", room, before: Math.min(...shown.keys()) });
    const main = document.querySelector("main"), below = main.scrollHeight - main.scrollTop;
    $("earlier").hidden = !page.more;
    add(page.messages);
    main.scrollTop = main.scrollHeight - below; // what one was reading stays where it was
  } catch (error) {
    problem(error);
  }
  $("earlier").disabled = false;
}

async function say() {
  const text = $("text").value.trim();
  if (!text) return;
  try {
    await server.ask({ type: "chat", room, text });
    if ($("text").value.trim() === text) $("text").value = ""; // the text leaves the box when it is kept, not before
    problem();
  } catch (error) {
    problem(error);
  }
}

async function search() {
  const text = $("find").value.trim();
  $("results").hidden = !text;
  $("talk").hidden = !!text;
  if (!text) return scrollDown();
  try {
    const { messages } = await server.ask({ type: "search", room, text });
    if (text !== $("find").value.trim()) return; // typed on
    $("count").textContent = messages.length ? `Newest messages with “${text}”` : `Nothing here has “${text}”.`;
    $("found").replaceChildren(...messages.map((message) => draw(message, true)));
  } catch (error) {
    problem(error);
  }
}

// ---- the page ----

// Messages may come twice, in an answer and as they are said: by id each is there once, in order.
function add(messages) {
  const main = document.querySelector("main"), list = $("messages");
  const atEnd = main.scrollHeight - main.scrollTop - main.clientHeight < 80;
  for (const message of messages) {
    if (shown.has(message.id)) continue;
    let after = list.lastElementChild;
    while (after && !(Number(after.dataset.id) < message.id)) // a line with a date has no id: NaN, passed over
      after = after.previousElementSibling;
    const li = draw(message);
    if (after) after.after(li);
    else list.prepend(li);
    shown.set(message.id, li);
  }
  markDays();
  if (atEnd) scrollDown();
}

// A line with the date above the first message of each day.
function markDays() {
  let day = "";
  for (const li of [...$("messages").children]) {
    if (!li.dataset.id) {
      if (li.nextElementSibling?.dataset.day !== li.textContent || day === li.textContent) li.remove();
    } else if (li.dataset.day !== day) {
      day = li.dataset.day;
      if (li.previousElementSibling?.className !== "day") li.before(divider(day));
    }
  }
}

function divider(day) {
  return Object.assign(document.createElement("li"), { className: "day", textContent: day });
}

function draw(message, withDay) {
  const li = document.createElement("li"), time = document.createElement("time"), at = new Date(message.at * 1000);
  const mine = message.author === you;
  if (mine) li.className = "mine";
  else li.append(Object.assign(document.createElement("b"), { textContent: message.author }));
  time.dateTime = at.toISOString();
  time.textContent = at.toLocaleString([], withDay ? { dateStyle: "short", timeStyle: "short" } : { timeStyle: "short" });
  li.append(Object.assign(document.createElement("span"), { textContent: message.text }), time);
  li.dataset.id = message.id;
  li.dataset.day = at.toLocaleDateString([], { dateStyle: "full" });
  li.style.setProperty("--hue", [...message.author].reduce((h, c) => (h * 31 + c.codePointAt(0)) % 360, 0));
  return li;
}

function scrollDown() {
  const main = document.querySelector("main");
  main.scrollTop = main.scrollHeight;
}

function showPeople(count) {
  $("people").textContent = count === 1 ? "only you here" : `${count} people here`;
}

function problem(error) {
  $("problem").textContent = error ? error.message : "";
}

$("enter").onsubmit = (event) => {
  event.preventDefault();
  const before = name;
  name = $("name").value.trim();
  room = $("room").value.trim();
  if (!room) return;
  sessionStorage.setItem("name", name);
  document.title = room + " · Moontide history";
  $("find").value = "";
  $("welcome").hidden = $("results").hidden = true;
  $("search").hidden = $("say").hidden = $("talk").hidden = false;
  if (name !== before) server.reopen(address()); // another name is another person
  else join();
  $("text").focus();
};
$("say").onsubmit = (event) => { event.preventDefault(); say(); };
$("search").onsubmit = (event) => { event.preventDefault(); search(); };
$("find").oninput = () => {
  clearTimeout(typing);
  typing = setTimeout(search, 150);
};
$("earlier").onclick = loadEarlier;
$("name").value = name;

// The page of the webhook receiver: what comes to a room, as it comes.
"use strict";

const $ = (id) => document.getElementById(id);
const KEEP = 100; // deliveries on screen
let room = "";

const server = live({
  open: watch,
  delivery(message) { if (message.room === room) show(message, true); },
});

async function watch() {
  const wanted = decodeURIComponent(location.hash.slice(1)) || "lobby";
  $("room").value = wanted;
  $("address").textContent = `${location.origin}/hooks/${encodeURIComponent(wanted)}`;
  $("command").textContent = `examples/webhook/send.sh ${wanted} '{"type": "order.paid", "data": {"order": 17}}'`;
  const answer = await server.ask({ type: "watch", room: wanted }).catch(console.warn);
  if (!answer) return; // not connected: open comes again
  room = wanted;
  document.title = room + " · Moontide webhooks";
  $("deliveries").replaceChildren();
  $("empty").hidden = false;
  for (const delivery of answer.recent.reverse()) show(delivery);
}

function show({ id, at, event }, fresh) {
  const list = $("deliveries");
  if ([...list.children].some((li) => li.dataset.id === id)) return; // it came while the list was asked for
  const li = document.createElement("li"), top = element("p", ""), time = element("time", new Date(at * 1000).toLocaleTimeString());
  li.className = fresh ? "card fresh" : "card";
  li.dataset.id = id;
  top.className = "top";
  time.dateTime = new Date(at * 1000).toISOString();
  top.append(element("b", event.type || "delivery"), time, element("small", id));
  li.append(top);
  if (event.data !== undefined) li.append(element("pre", JSON.stringify(event.data, null, 2)));
  list.prepend(li);
  if (list.children.length > KEEP) list.lastElementChild.remove();
  $("empty").hidden = true;
}

function element(name, textContent) {
  return Object.assign(document.createElement(name), { textContent });
}

$("watch").onsubmit = (event) => {
  event.preventDefault();
  location.hash = encodeURIComponent($("room").value.trim()); // a room has an address of its own
};
addEventListener("hashchange", watch);

// The page of the answers: each piece is put where it belongs as it comes.
"use strict";

const $ = (id) => document.getElementById(id);
let next = 1, going; // going: { ask, text, box, p } of the answer that is on its way

const server = live({
  closed() { end("failed", "the connection broke off"); },
  piece({ ask, text }) {
    if (ask !== going?.ask) return;
    const atEnd = isAtEnd();
    going.p.append(text);
    if (atEnd) scrollDown();
  },
  end({ ask, how, message }) { if (ask === going?.ask) end(how, message); },
});

function ask(text) {
  if (!server.send({ type: "ask", ask: next, text })) return false; // not connected: the question stays in the box
  end("stopped");
  const box = element("article", "card answer going");
  going = { ask: next++, text, box, p: element("p") };
  box.append(going.p);
  box.ariaBusy = true; // read out when it is whole, not word by word
  $("talk").append(element("p", "question", text), box);
  $("welcome").hidden = true;
  $("stop").disabled = false;
  scrollDown();
  return true;
}

function end(how, message) {
  if (!going) return;
  const { box, text } = going, atEnd = isAtEnd();
  box.classList.remove("going");
  box.ariaBusy = false;
  box.dataset.how = how;
  if (how !== "done") box.append(ending(how === "failed" ? `It failed: ${message}.` : "Stopped.", how === "failed", text));
  going = undefined;
  $("stop").disabled = true;
  if (atEnd) scrollDown();
}

function ending(why, failed, text) {
  const footer = element("footer"), again = element("button", "quiet", "Ask again");
  again.type = "button";
  again.onclick = () => ask(text);
  footer.append(element("span", failed ? "error" : "hint", why), again);
  return footer;
}

function element(name, className = "", textContent = "") {
  return Object.assign(document.createElement(name), { className, textContent });
}

const main = document.querySelector("main");
const isAtEnd = () => main.scrollHeight - main.scrollTop - main.clientHeight < 60;
const scrollDown = () => { main.scrollTop = main.scrollHeight; };

$("ask").onsubmit = (event) => {
  event.preventDefault();
  if (ask($("text").value.trim())) $("text").value = "";
};
$("stop").onclick = () => server.send({ type: "stop" });
for (const sample of document.querySelectorAll(".samples button")) sample.onclick = () => ask(sample.textContent);

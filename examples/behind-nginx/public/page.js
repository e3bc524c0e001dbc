// The page of behind-nginx: who you are for the server, who else is here, and what is said.
"use strict";

const $ = (id) => document.getElementById(id);
const KEPT = 100; // messages on the page
let mine;

const server = live({
  you({ name, ip }) {
    mine = name;
    $("you").textContent = `You are ${name}, and you come from ${ip}.`;
  },
  here({ people }) {
    $("people").replaceChildren(...people.map((name) => element("li", name === mine ? `${name} (you)` : name)));
  },
  said({ name, text }) {
    const line = element("li");
    line.append(element("b", name), ` ${text}`);
    $("messages").append(line);
    while ($("messages").children.length > KEPT) $("messages").firstChild.remove();
    line.scrollIntoView({ block: "nearest" });
  },
});

$("form").onsubmit = (event) => {
  event.preventDefault();
  if (server.send({ type: "say", text: $("text").value })) $("text").value = "";
};

function element(name, textContent = "") {
  return Object.assign(document.createElement(name), { textContent });
}

// The page of the ticker: choose what to watch, see it move, and see it when the prices are old.
"use strict";

const $ = (id) => document.getElementById(id);
const SPAN = 60; // points of a line
const WHY = { refused: "cannot be reached", timeout: "does not answer", closed: "broke off", invalid: "answers nonsense", json: "answers nonsense" };
const cards = new Map(); // symbol -> { figure, values, draw }
let symbols = [], off = new Set(JSON.parse(localStorage.getItem("off") || "[]"));
let next = 0; // when the API is asked again, milliseconds

const server = live({
  open: watch, // a new connection: nothing is watched yet
  feed(message) {
    next = Date.now() + 1000 * message.pause;
    $("feed").classList.toggle("down", !message.ok);
    document.body.classList.toggle("old", !message.ok);
    $("feed").dataset.reason = message.ok ? "" : message.reason;
    showFeed();
    if (message.symbols.length && String(message.symbols) !== String(symbols)) {
      symbols = message.symbols;
      drawChips();
      watch();
    }
  },
  price({ symbol, price }) {
    if (!off.has(symbol)) card(symbol).draw(price);
  },
});

function watch() {
  const wanted = symbols.filter((symbol) => !off.has(symbol));
  for (const [symbol, { figure }] of cards) {
    if (wanted.includes(symbol)) continue;
    figure.remove();
    cards.delete(symbol);
  }
  if (symbols.length) server.send({ type: "watch", symbols: wanted });
}

function showFeed() {
  const reason = $("feed").dataset.reason;
  if (reason === undefined) return;
  const text = !reason ? "Prices as the API gives them."
    : `The price API ${WHY[reason] || `fails (${reason})`}. Asking again in ${Math.max(0, Math.ceil((next - Date.now()) / 1000))} s.`;
  if ($("feed").textContent !== text) $("feed").textContent = text;
}

function drawChips() {
  $("symbols").replaceChildren(...symbols.map((symbol) => {
    const button = element("button", symbol);
    button.type = "button";
    button.ariaPressed = !off.has(symbol);
    button.onclick = () => {
      if (!off.delete(symbol)) off.add(symbol);
      button.ariaPressed = !off.has(symbol);
      localStorage.setItem("off", JSON.stringify([...off]));
      watch();
    };
    return button;
  }));
}

function card(symbol) {
  if (cards.has(symbol)) return cards.get(symbol);
  const figure = element("figure"), caption = element("figcaption"), change = element("span"), output = element("output");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const values = [];
  figure.className = "card";
  figure.dataset.symbol = symbol;
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.ariaHidden = true;
  svg.append(line);
  caption.append(element("b", symbol), change);
  figure.append(caption, output, svg);
  $("prices").append(figure);
  const sorted = [...$("prices").children].sort((a, b) => symbols.indexOf(a.dataset.symbol) - symbols.indexOf(b.dataset.symbol));
  $("prices").replaceChildren(...sorted);

  function draw(price) {
    const difference = values.length ? price - values.at(-1) : 0;
    values.push(price);
    if (values.length > SPAN) values.shift();
    output.textContent = price.toFixed(2);
    change.textContent = difference ? `${difference > 0 ? "▲" : "▼"} ${Math.abs(difference).toFixed(2)}` : "";
    change.className = difference > 0 ? "up" : "down";
    const low = Math.min(...values), high = Math.max(...values);
    const step = 100 / (Math.max(values.length, 20) - 1); // few points begin at the right, more use the whole width
    const points = values.map((v, i) => [100 - (values.length - 1 - i) * step, high === low ? 15 : 28 - 26 * (v - low) / (high - low)]);
    line.setAttribute("points", points.map((p) => p.join(",")).join(" "));
  }
  cards.set(symbol, { figure, draw });
  return cards.get(symbol);
}

function element(name, textContent = "") {
  return Object.assign(document.createElement(name), { textContent });
}

setInterval(showFeed, 500);

// The dashboard: one plot per series, drawn on a canvas, fed by one WebSocket that reconnects by itself.
"use strict";

const SPAN = 120; // seconds on screen
const plots = new Map(); // name -> { points: [[t, v]], canvas, output, figure }
let socket, retries = 0, dirty = true, skew = 0; // skew: server's clock minus ours, seconds

function connect() {
  const url = new URL(location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.pathname = "/";
  url.search = url.hash = "";
  socket = new WebSocket(url);
  socket.onopen = () => {
    retries = 0;
    setStatus("connected");
    socket.send('{"type":"subscribe"}');
  };
  socket.onmessage = (event) => receive(JSON.parse(event.data));
  socket.onclose = () => {
    setStatus("reconnecting");
    setTimeout(connect, Math.min(250 * 2 ** retries++, 5000));
  };
}

function setStatus(text) {
  const status = document.getElementById("status");
  status.textContent = text;
  status.classList.toggle("on", text === "connected");
}

function receive(message) {
  if (message.type === "series") {
    for (const name of Object.keys(message.series).sort()) {
      const p = plot(name);
      p.points = message.series[name];
      if (p.points.length) p.output.textContent = p.points.at(-1)[1];
    }
  } else if (message.type === "point") {
    skew = message.t - Date.now() / 1000;
    const p = plot(message.series);
    p.points.push([message.t, message.value]);
    p.output.textContent = message.value;
  }
  dirty = true;
}

function plot(name) {
  let p = plots.get(name);
  if (p) return p;
  const figure = document.createElement("figure");
  figure.dataset.series = name;
  const caption = document.createElement("figcaption");
  const output = document.createElement("output");
  const canvas = document.createElement("canvas");
  caption.append(name, output);
  figure.append(caption, canvas);
  document.getElementById("plots").append(figure);
  p = { points: [], canvas, output, figure };
  plots.set(name, p);
  return p;
}

// Round numbers that cover low..high, about four of them.
function ticks(low, high) {
  if (low === high) {
    low -= 1;
    high += 1;
  }
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const out = [];
  for (let i = Math.floor(low / step); i <= Math.ceil(high / step); i++) out.push(i * step);
  out.digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return out;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// The canvas cleared, with one unit of it a pixel of the page.
function prepare(canvas) {
  const scale = devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  const g = canvas.getContext("2d");
  g.scale(scale, scale);
  return g;
}

function drawAxes(g, box, marks, y, x) {
  g.font = "11px system-ui, sans-serif";
  g.fillStyle = colour("--soft");
  g.strokeStyle = colour("--line");
  g.textAlign = "right";
  for (const v of marks) {
    g.beginPath();
    g.moveTo(box.left, y(v));
    g.lineTo(box.right, y(v));
    g.stroke();
    g.fillText(v.toFixed(marks.digits), box.left - 6, y(v) + 4);
  }
  for (let s = 0; s <= SPAN; s += 30) {
    g.textAlign = s === 0 ? "right" : s === SPAN ? "left" : "center";
    g.fillText(s ? `-${s} s` : "now", x(s), box.bottom + 15);
  }
}

function drawLine(g, box, points) { // points: [[x, y]] on the canvas
  const [lastX, lastY] = points.at(-1);
  g.strokeStyle = g.fillStyle = colour("--tide");
  g.lineWidth = 1.8;
  g.lineJoin = "round";
  g.beginPath();
  for (const [x, y] of points) g.lineTo(x, y);
  g.stroke();
  g.lineTo(lastX, box.bottom);
  g.lineTo(points[0][0], box.bottom);
  g.globalAlpha = 0.1;
  g.fill();
  g.globalAlpha = 1;
  g.beginPath();
  g.arc(lastX, lastY, 3, 0, 2 * Math.PI);
  g.fill();
}

function draw(p) {
  const now = Date.now() / 1000 + skew;
  while (p.points.length && p.points[0][0] < now - SPAN) p.points.shift();
  p.figure.dataset.points = p.points.length;
  const g = prepare(p.canvas);
  if (!p.points.length) return;
  const box = { left: 40, right: p.canvas.clientWidth - 5, top: 8, bottom: p.canvas.clientHeight - 22 };
  const values = p.points.map((point) => point[1]);
  const marks = ticks(Math.min(...values), Math.max(...values));
  const low = marks[0], high = marks.at(-1);
  const x = (ago) => box.right - (ago / SPAN) * (box.right - box.left);
  const y = (v) => box.bottom - ((v - low) / (high - low)) * (box.bottom - box.top);
  drawAxes(g, box, marks, y, x);
  drawLine(g, box, p.points.map(([t, v]) => [x(Math.max(0, now - t)), y(v)]));
}

function frame() {
  if (dirty) for (const p of plots.values()) draw(p);
  dirty = false;
  requestAnimationFrame(frame);
}

document.getElementById("publish").onsubmit = (event) => {
  event.preventDefault();
  const series = document.getElementById("series").value.trim();
  const value = Number(document.getElementById("value").value);
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "publish", series, value }));
};
addEventListener("resize", () => { dirty = true; });
connect();
frame();

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
    for (const [name, points] of Object.entries(message.series)) plot(name).points = points;
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

function draw(p) {
  const now = Date.now() / 1000 + skew;
  while (p.points.length && p.points[0][0] < now - SPAN - 5) p.points.shift();
  p.figure.dataset.points = p.points.length;
  const { canvas } = p;
  const scale = devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  const g = canvas.getContext("2d");
  g.scale(scale, scale);
  const w = canvas.clientWidth - 46, h = canvas.clientHeight - 22, left = 40, top = 8;
  const style = getComputedStyle(document.documentElement);
  if (!p.points.length) return;

  let low = Infinity, high = -Infinity;
  for (const [, v] of p.points) { low = Math.min(low, v); high = Math.max(high, v); }
  const room = (high - low || 1) * 0.1;
  low -= room;
  high += room;
  const x = (t) => left + w - ((now - t) / SPAN) * w;
  const y = (v) => top + h - ((v - low) / (high - low)) * h;

  g.font = "11px system-ui, sans-serif";
  g.fillStyle = style.getPropertyValue("--soft");
  g.strokeStyle = style.getPropertyValue("--line");
  for (let i = 0; i <= 3; i++) {
    const v = low + ((high - low) * i) / 3;
    g.beginPath();
    g.moveTo(left, y(v));
    g.lineTo(left + w, y(v));
    g.stroke();
    g.fillText(v.toFixed(2), 2, y(v) + 4);
  }
  for (let s = 0; s <= SPAN; s += 30) g.fillText(s ? `-${s} s` : "now", Math.max(left, x(now - s) - 22), top + h + 13);

  g.strokeStyle = style.getPropertyValue("--tide");
  g.lineWidth = 1.8;
  g.lineJoin = "round";
  g.beginPath();
  for (const [t, v] of p.points) if (t > now - SPAN) g.lineTo(x(t), y(v));
  g.stroke();
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

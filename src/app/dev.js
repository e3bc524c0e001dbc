// dev.js - the overlay of dev mode: listens to the server, and shows over the page why a save did not go live.
//
// Made for strict pages: no inline styles or scripts, no HTML from text, everything in a shadow root, in the top layer where the
// browser has one. Escape or a click beside it closes it, and leaves a small button at the edge until the next good save.
(() => {
  "use strict";
  const loaded = Symbol.for("moontide.dev");
  if (window[loaded]) return; // the page has the script twice
  window[loaded] = true;

  const FIRST_WAIT = 250, LONGEST_WAIT = 5000; // ms until the next try to connect; doubled each time
  const TRACE = "\nstack traceback:\n";
  const CSS = `
    :host {
      all: initial !important; position: fixed !important; inset: 0 !important; z-index: 2147483647 !important;
      width: auto !important; height: auto !important; margin: 0 !important; border: 0 !important; padding: 0 !important;
      background: none !important; overflow: visible !important; pointer-events: none !important; display: block !important;
      --paper: #ffffff; --ink: #1c2530; --soft: #5b6775; --line: #dfe4ea; --code: #f5f7f9; --red: #c2273d; --mark: #fde8eb;
      --shade: rgb(20 28 38 / 45%);
    }
    @media (prefers-color-scheme: dark) {
      :host {
        --paper: #171d26; --ink: #e7ecf2; --soft: #9aa7b6; --line: #2d3744; --code: #10151c; --red: #ff7b8a; --mark: #43202a;
        --shade: rgb(0 0 0 / 60%);
      }
    }
    * { box-sizing: border-box; margin: 0; }
    [hidden] { display: none !important; }
    .shade {
      position: absolute; inset: 0; display: flex; justify-content: center; align-items: flex-start; padding: 7vh 16px 16px;
      background: var(--shade); pointer-events: auto; font: 15px/1.5 system-ui, sans-serif; color: var(--ink);
    }
    .card {
      display: flex; flex-direction: column; width: 100%; max-width: 800px; max-height: 100%; overflow: hidden;
      background: var(--paper); border-radius: 10px; border-top: 4px solid var(--red); box-shadow: 0 12px 48px rgb(0 0 0 / 35%);
    }
    header { display: flex; align-items: center; gap: 12px; padding: 12px 12px 0 24px; }
    .title { flex: 1; min-width: 0; font-size: 13px; font-weight: 600; color: var(--red); overflow-wrap: anywhere; }
    button { font: inherit; color: inherit; cursor: pointer; border: 0; border-radius: 6px; background: none; }
    button:focus-visible { outline: 2px solid var(--red); outline-offset: 1px; }
    .close { display: flex; align-items: center; gap: 8px; padding: 4px 8px; color: var(--soft); font-size: 13px; }
    .close:hover { background: var(--code); color: var(--ink); }
    kbd { font: 11px/1.4 system-ui, sans-serif; padding: 1px 5px; border: 1px solid var(--line); border-radius: 4px; }
    .body { flex: 1; min-height: 0; overflow: auto; padding: 4px 24px 20px; }
    .what {
      font: 600 18px/1.4 system-ui, sans-serif; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 40vh; overflow: auto;
    }
    .where { margin-top: 6px; color: var(--soft); overflow-wrap: anywhere; }
    .where, .code, .trace, footer code {
      font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 13px;
    }
    .code {
      margin-top: 14px; padding: 8px 0; overflow-x: auto; line-height: 1.6; tab-size: 2; background: var(--code);
      border: 1px solid var(--line); border-radius: 8px;
    }
    .rows { display: table; min-width: 100%; }
    .row { display: table-row; white-space: pre; }
    .number, .source { display: table-cell; }
    .number {
      position: sticky; left: 0; width: 1px; padding: 0 12px 0 10px; text-align: right; user-select: none;
      color: var(--soft); background: var(--code); border-left: 3px solid transparent;
    }
    .source { padding-right: 16px; }
    .marked .number, .marked .source { background: var(--mark); }
    .marked .number { border-left-color: var(--red); color: var(--red); font-weight: 600; }
    h2 { margin-top: 18px; font: 600 13px/1.5 system-ui, sans-serif; color: var(--soft); }
    .trace { margin-top: 4px; color: var(--soft); white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.6; }
    footer {
      padding: 12px 24px; border-top: 1px solid var(--line); background: var(--code); font-size: 13px; color: var(--soft);
    }
    footer code { color: var(--ink); }
    .again {
      position: absolute; right: 0; top: calc(50% - 22px); width: 28px; height: 44px; padding: 0; pointer-events: auto;
      font: 700 17px/1 system-ui, sans-serif; color: var(--paper); background: var(--red); border-radius: 8px 0 0 8px;
      box-shadow: 0 4px 16px rgb(0 0 0 / 35%);
    }
    @media (max-width: 520px) {
      .shade { padding: 8px; }
      header { padding: 8px 6px 0 16px; }
      .body { padding: 4px 16px 16px; }
      .what { font-size: 16px; }
      .code { margin-left: -8px; margin-right: -8px; font-size: 12px; }
      .number { padding: 0 8px 0 6px; }
      footer { padding: 10px 16px; }
      kbd { display: none; }
    }
    @media (prefers-reduced-motion: no-preference) {
      .card { animation: rise 140ms ease-out; }
      @keyframes rise { from { opacity: 0; transform: translateY(8px); } }
    }
  `;

  // ---- building ----

  function element(tag, name, ...content) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.append(...content);
    return made;
  }

  const host = document.createElement("moontide-dev");
  const root = host.attachShadow({ mode: "open" });
  const shade = element("div", "shade");
  const again = element("button", "again");
  const sheet = new CSSStyleSheet(); // a <style> would need the page's leave
  sheet.replaceSync(CSS);
  root.adoptedStyleSheets = [sheet];
  root.append(shade, again);
  again.type = "button";
  again.textContent = "!";

  // The message without the place in front of it, and the traceback.
  function split(failure) {
    const at = failure.text.indexOf(TRACE);
    const whole = at < 0 ? failure.text : failure.text.slice(0, at);
    const place = failure.line ? `${failure.file}:${failure.line}: ` : `${failure.script}: `;
    const from = whole.split("\n", 1)[0].indexOf(place);
    return {
      what: from < 0 ? whole : whole.slice(from + place.length),
      trace: at < 0 ? "" : failure.text.slice(at + TRACE.length).replace(/^\t/gm, ""),
    };
  }

  function excerpt(failure) {
    const rows = element("div", "rows");
    for (const { line, text } of failure.excerpt) {
      const row = element("div", "row", element("span", "number", line), element("span", "source", text));
      if (line === failure.line) {
        row.classList.add("marked");
        row.setAttribute("aria-current", "true");
      }
      rows.append(row);
    }
    return element("div", "code", rows);
  }

  function header(failure) {
    const title = `${failure.script} was ${failure.rolled_back ? "rolled back" : "not reloaded"}`;
    const close = element("button", "close", element("kbd", "", "Esc"), element("span", "", "✕"));
    close.type = "button";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", dismiss);
    return element("header", "", element("div", "title", title), close);
  }

  function footer(failure) {
    return element("footer", "", "Version ", element("code", "", failure.version),
      " goes on serving. The next save that loads closes this.");
  }

  function card(failure) {
    const { what, trace } = split(failure);
    const message = element("div", "what", what || "unknown error");
    const body = element("div", "body", message);
    message.setAttribute("role", "alert");
    const file = failure.file || failure.script;
    body.append(element("div", "where", failure.line ? `${file}:${failure.line}` : file));
    if (failure.excerpt.length) body.append(excerpt(failure));
    if (trace) body.append(element("h2", "", "Traceback"), element("div", "trace", trace));
    body.tabIndex = 0; // so that it can be scrolled by keys
    return element("section", "card", header(failure), body, footer(failure));
  }

  // ---- showing ----

  let shown = null; // the failure that the page was told last; null: all is well

  function enter() {
    if (!host.isConnected) document.documentElement.append(host); // outside of body, whose layout and frameworks are the page's
    if (!host.showPopover) return;
    host.popover = "manual";
    if (host.matches(":popover-open")) host.hidePopover(); // over what the page has opened since
    host.showPopover();
  }

  function open() {
    shade.replaceChildren(card(shown));
    shade.hidden = false;
    again.hidden = true;
    enter();
  }

  function dismiss() {
    shade.hidden = true;
    again.title = `Show what is wrong in ${shown.file || shown.script}`;
    again.setAttribute("aria-label", again.title);
    again.hidden = false;
  }

  function clear() {
    shown = null;
    host.remove();
  }

  // `first`: of a new connection, so it may be what the page knows already.
  function take(news, first) {
    const same = shown && JSON.stringify(news) === JSON.stringify(shown);
    if (news.type === "live") clear();
    if (news.type !== "failed" || (first && same)) return;
    shown = news;
    open();
  }

  again.addEventListener("click", open);
  shade.addEventListener("click", (event) => { if (event.target === shade) dismiss(); });
  window.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !shown || shade.hidden) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // it was meant for the overlay only
    dismiss();
  }, true);

  // ---- listening ----

  const address = new URL("dev", document.currentScript?.src || new URL("/_moontide/", location.href));
  address.protocol = address.protocol.replace("http", "ws");
  let wait = FIRST_WAIT;

  function connect() {
    const socket = new WebSocket(address);
    let first = true;
    socket.addEventListener("open", () => { wait = FIRST_WAIT; });
    socket.addEventListener("message", (event) => {
      take(JSON.parse(event.data), first);
      first = false;
    });
    socket.addEventListener("close", () => {
      setTimeout(connect, wait);
      wait = Math.min(wait * 2, LONGEST_WAIT);
    });
  }

  connect();
})();

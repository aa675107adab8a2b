/* Makes the page live: dispatches `changed` on <body> when the server says that something has
   changed, when the tab becomes visible, and every 30 s in case a message is lost. Regions fetch
   themselves anew on it. Without this file everything works, after a reload. */
"use strict";

(() => {
  const { stream, worker } = document.currentScript.dataset;
  const EVERY = 30000;
  const WORDS = {
    open: "Live",
    lost: "Reconnecting …",
    paused: "Not updating",
    off: "Updates each 30 s",
  };
  let paused = false;
  let state = "off";
  let last = 0;
  let seenAt = Date.now(); // the time of what the page shows
  let port = null;
  let source = null;

  const indicator = () => document.getElementById("live");

  function show() {
    const element = indicator();
    if (!element) return;
    const shown = paused ? "paused" : state;
    element.dataset.state = shown;
    element.querySelector(".words").textContent = WORDS[shown];
  }

  function changed() {
    if (paused || document.hidden) return;
    last = Date.now();
    document.body.dispatchEvent(new CustomEvent("changed"));
  }

  function hear(message) {
    if (message === "changed") return changed();
    state = message;
    show();
  }

  const wanted = () => !document.hidden && !paused;

  // A browser without shared workers: a stream of this tab alone, while it is visible.
  function own() {
    if (!wanted()) {
      if (source) source.close();
      source = null;
    } else if (!source) {
      source = new EventSource(stream);
      source.onopen = () => hear("open");
      source.addEventListener("changed", () => hear("changed"));
      source.onerror = () => {
        hear("lost");
        if (source.readyState === EventSource.CLOSED) source = null;
      };
    }
  }

  function report() {
    if (port) port.postMessage({ url: stream, visible: wanted() });
    else own();
    show();
    if (wanted()) changed();
  }

  function start() {
    const element = indicator();
    const words = document.createElement("span");
    words.className = "words";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    button.textContent = "Stop updating";
    button.addEventListener("click", () => {
      paused = !paused;
      button.textContent = paused ? "Update again" : "Stop updating";
      report();
    });
    element.replaceChildren(words, button);
    if (window.SharedWorker) {
      port = new SharedWorker(worker).port;
      port.onmessage = ({ data }) => hear(data);
    }
    document.addEventListener("visibilitychange", report);
    addEventListener("pagehide", () => port && port.postMessage({ gone: true }));
    addEventListener("pageshow", ({ persisted }) => persisted && report());
    setInterval(() => {
      if (!port) own();
      if (Date.now() - last >= EVERY - 500) changed();
    }, EVERY);
    if (port) port.postMessage({ url: stream, visible: wanted() });
    else own();
    last = Date.now();
    show();
  }

  // A keyboard scrolls a wide table only once the table can have the focus.
  function reachScrollers() {
    for (const each of document.querySelectorAll(".scroll, .code")) {
      const scrolls = each.scrollWidth > each.clientWidth || each.scrollHeight > each.clientHeight;
      if (scrolls) each.tabIndex = 0;
      else each.removeAttribute("tabindex");
    }
  }

  // As the server writes times, `12:34:56 UTC`.
  const clock = (time) => `${new Date(time).toISOString().slice(11, 19)} UTC`;

  function tell(text) {
    const outcome = document.getElementById("outcome");
    const notice = document.createElement("p");
    notice.className = "notice bad";
    notice.textContent = text;
    outcome.replaceChildren(notice);
    closable();
  }

  // A change that came before the pause may still be waiting for its turn. What the reader does
  // themselves comes from a form, not from <body>, and is shown.
  document.addEventListener("htmx:before:request", (event) => {
    const cause = event.detail.ctx.sourceEvent;
    if (!cause) return;
    const isChange = cause.type === "changed" && cause.target === document.body;
    // A region that asks every second or two does so only while somebody sees the answer.
    if (cause.type === "every" ? !wanted() : paused && isChange) event.preventDefault();
  });

  // The answer to a form has regions as they are now. One that was asked for earlier may come
  // later, and would show what was before.
  document.addEventListener("htmx:after:request", ({ detail }) => {
    if (detail.ctx.request.method === "GET") return;
    for (const each of document.querySelectorAll('[hx-trigger^="changed"]'))
      each.dispatchEvent(new CustomEvent("htmx:abort"));
  });

  // It stays in sight while the reader scrolls, so it can be put away.
  function closable() {
    for (const notice of document.querySelectorAll("#outcome > .notice:not(:has(button))")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "plain";
      button.textContent = "Close";
      button.addEventListener("click", () => notice.remove());
      notice.append(" ", button);
    }
  }

  // Errors replace nothing on the page; what it shows is older then, and it says so.
  document.addEventListener("htmx:response:error", ({ detail }) => {
    const { status, raw } = detail.ctx.response;
    const posted = detail.ctx.request.method !== "GET";
    const plain = (raw.headers.get("content-type") || "").startsWith("text/plain");
    if (plain) return tell(detail.ctx.text);
    tell(
      posted
        ? `Not done: the server answered ${status}.`
        : `The server answered ${status}; what you see is from ${clock(seenAt)}.`,
    );
  });
  document.addEventListener("htmx:error", ({ detail }) => {
    if (!detail.ctx) return;
    if (detail.ctx.request.method !== "GET")
      tell("The server did not answer, so it is not known whether this was done. Look before you try again.");
    else hear("lost");
  });

  document.addEventListener("htmx:after:swap", ({ detail }) => {
    const { request, response } = detail.ctx;
    if (request.method === "GET" && response && response.status < 400) seenAt = Date.now();
    reachScrollers();
    closable();
  });
  addEventListener("resize", reachScrollers);
  reachScrollers();
  closable();
  start();
})();

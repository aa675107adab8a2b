/* One event stream for all tabs of a browser: it allows six connections to a host, and seven open
   tabs would otherwise leave none for a click. Runs as a SharedWorker, and closes the stream
   while no tab is visible. */
"use strict";

const tabs = new Map(); // each tab's port, and whether the tab is visible
let source = null;
let url = null;
let retry = null;
let wait = 1000;
const LONGEST_WAIT = 30000;

function tell(message) {
  for (const [port, visible] of tabs) if (visible) port.postMessage(message);
}

function open() {
  clearTimeout(retry);
  retry = null;
  source = new EventSource(url);
  source.onopen = () => {
    wait = 1000;
    tell("open");
  };
  source.addEventListener("changed", () => tell("changed"));
  source.onerror = () => {
    tell("lost");
    if (source.readyState !== EventSource.CLOSED) return; // it reconnects by itself
    source = null;
    retry = setTimeout(adjust, wait);
    wait = Math.min(2 * wait, LONGEST_WAIT);
  };
}

function adjust() {
  const wanted = [...tabs.values()].some(Boolean);
  if (wanted && !source) open();
  if (!wanted) {
    clearTimeout(retry);
    if (source) source.close();
    source = null;
  }
}

onconnect = (event) => {
  const port = event.ports[0];
  port.onmessage = ({ data }) => {
    if (data.gone) tabs.delete(port);
    else {
      url = data.url;
      tabs.set(port, data.visible);
      if (data.visible && source && source.readyState === EventSource.OPEN) port.postMessage("open");
    }
    if (data.visible && retry) open();
    else adjust();
  };
};

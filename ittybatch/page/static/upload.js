/* Sends files straight from the browser to the bucket: what they would make and cost first, then
   several parts at once, each tried again if it fails. No byte passes the page's server. Without
   this file the form sends one file at a time. */
"use strict";

(() => {
  const form = document.getElementById("drop-files");
  if (!form) return;
  const to = form.dataset;
  const place = document.getElementById("files-quote");
  const drop = form.querySelector(".with-script");
  const input = document.getElementById("file-input");
  const FILES_AT_ONCE = 3;
  // A browser has six connections to a host; one stays free for other pages of it.
  const PARTS_AT_ONCE = 5;
  const TRIES = 6;
  const LONGEST_WAIT = 30000;
  let chosen = [];
  let quoted = []; // the files of the quote that is shown; `chosen` may be newer
  let asking = null; // the controller of the request for the newest quote
  let run = null; // the sending that goes on

  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const online = () =>
    navigator.onLine ? null : new Promise((done) => addEventListener("online", done, { once: true }));

  // Lets `most` of the jobs given to it run at the same time.
  function pool(most) {
    const waiting = [];
    let busy = 0;
    const next = () => {
      if (busy >= most || !waiting.length) return;
      busy++;
      const { job, done, failed } = waiting.shift();
      job().then(done, failed).finally(() => { busy--; next(); });
    };
    return (job) => new Promise((done, failed) => { waiting.push({ job, done, failed }); next(); });
  }

  class Refused extends Error {
    constructor(why, status) {
      super(why);
      this.status = status;
    }
  }
  class GivenUp extends Error {}

  // Posts a form to the page; tries again while the server or the bucket is unavailable.
  async function call(address, fields, current) {
    for (let tried = 1; ; tried++) {
      await online();
      if (current && current.ended) throw new GivenUp();
      let why;
      try {
        const answer = await fetch(address, { method: "POST", body: new URLSearchParams(fields) });
        if (answer.status === 204) return null;
        const text = await answer.text();
        const json = (answer.headers.get("Content-Type") || "").includes("json");
        if (answer.ok) return json ? JSON.parse(text) : text;
        why = json ? Object.values(JSON.parse(text)).join(" ") : text;
        if (answer.status < 500) throw new Refused(why, answer.status);
      } catch (error) {
        if (error instanceof Refused) throw error;
        why = why || "The server did not answer.";
      }
      if (tried === TRIES) throw new Error(why);
      await sleep(Math.min(1000 * 2 ** (tried - 1), LONGEST_WAIT));
    }
  }

  function put(url, headers, body, current, onprogress) {
    return new Promise((done, failed) => {
      const request = new XMLHttpRequest();
      request.open("PUT", url);
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.upload.onprogress = ({ loaded }) => onprogress(loaded);
      request.onload = () => done(request.status);
      request.onerror = () => done(0);
      request.onabort = () => failed(new GivenUp());
      current.requests.add(request);
      request.onloadend = () => current.requests.delete(request);
      request.send(body);
    });
  }

  // Sends one part until the bucket has it.
  async function sendPart(file, part, current) {
    let { url } = part;
    for (let tried = 1; ; tried++) {
      await online();
      if (current.ended) throw new GivenUp();
      const status = await put(
        url,
        file.headers,
        file.content.slice(part.offset, part.offset + part.size),
        current,
        (loaded) => file.progress(part.number, loaded),
      );
      if (status >= 200 && status < 300) return file.progress(part.number, part.size);
      file.progress(part.number, 0);
      if (tried === TRIES) {
        throw new Error(
          status
            ? `The bucket refused part ${part.number} with status ${status}.`
            : "The bucket did not answer: the connection is down, or its CORS rules do not allow " +
              `${location.origin}. Run \`ittybatch doctor\`.`,
        );
      }
      file.say(`part ${part.number} did not arrive${status ? ` (${status})` : ""}; it is sent again …`);
      await sleep(Math.min(1000 * 2 ** (tried - 1), LONGEST_WAIT));
      if (status === 403) {
        // The URL may have expired.
        const page = await call(to.more, { id: file.id, after: part.number - 1 }, current);
        url = page.parts[0].url;
      }
    }
  }

  async function sendFile(file, current, parts) {
    file.say("");
    file.bar.hidden = false;
    if (!file.id) {
      const begun = await call(to.begin, { sealed: current.sealed, number: file.number }, current);
      // Sealed anew: the form's own seal is too old when the last of many large files has arrived.
      // A server of an earlier version, during a deploy, does not seal anew.
      const { id, headers, part_count: count, sealed = current.sealed } = begun;
      current.sealed = sealed;
      Object.assign(file, { id, headers, count, sealed, first: begun });
      if (current.ended) {
        // Given up while it began: giveUp() did not know its id.
        call(to.abort, { id }).catch(() => {});
        throw new GivenUp();
      }
    }
    let page = file.first;
    file.first = null; // its URLs are used once: a later try gets new ones
    for (let after = 0; after < file.count; ) {
      page = page || (await call(to.more, { id: file.id, after }, current));
      const missing = page.parts.filter(({ number }) => !file.sent.has(number));
      await Promise.all(
        missing.map((part) => parts(() => sendPart(file, part, current)).then(() => file.sent.add(part.number))),
      );
      after = page.parts[page.parts.length - 1].number;
      page = null;
    }
    file.say("checking …");
    const { jobs } = await call(
      to.complete,
      { id: file.id, sealed: file.sealed, number: file.number },
      current,
    );
    file.jobs = jobs;
    const link = document.createElement("a");
    link.href = `/page/jobs/${jobs[0]}`;
    link.textContent = "sent, being made";
    file.say(link);
  }

  // The state of one row of the table.
  function fileOf(row, content) {
    const bar = row.querySelector("progress");
    const words = row.querySelector(".say");
    const loaded = new Map();
    return {
      row, bar, content, number: row.dataset.file, id: null, sent: new Set(), jobs: null, failed: false,
      say(what) { words.replaceChildren(what); },
      forget() { this.id = null; this.sent = new Set(); loaded.clear(); },
      progress(part, bytes) {
        loaded.set(part, bytes);
        let sum = 0;
        for (const each of loaded.values()) sum += each;
        bar.value = sum / content.size;
        words.textContent = `${Math.floor((100 * sum) / content.size)} %`;
      },
    };
  }

  async function attempt(file, current, parts) {
    file.failed = false;
    file.row.classList.remove("bad");
    try {
      await sendFile(file, current, parts);
    } catch (error) {
      if (error instanceof GivenUp) return file.say("given up");
      file.failed = true;
      // The upload has expired, is gone, or is not what was announced: another try begins it again.
      if ([404, 410, 422].includes(error.status)) file.forget();
      file.row.classList.add("bad");
      file.bar.hidden = true;
      const again = document.createElement("button");
      again.type = "button";
      again.textContent = "Try again";
      again.addEventListener("click", () => attempt(file, current, parts).then(() => finish(current)));
      const both = document.createElement("span");
      both.append(`${file.content.name}: ${error.message} `, again);
      file.say(both);
    }
  }

  function ranges(ids) {
    const runs = [];
    for (const id of [...new Set(ids)].sort((a, b) => a - b)) {
      const last = runs[runs.length - 1];
      if (last && last[1] === id - 1) last[1] = id;
      else runs.push([id, id]);
    }
    return runs.map(([first, last]) => (first < last ? `${first}-${last}` : first)).join(",");
  }

  function finish(current) {
    if (current.ended) return;
    const done = current.files.filter((file) => file.jobs);
    const made = `${to.made}?jobs=${ranges(done.flatMap((file) => file.jobs))}`;
    if (done.length === current.files.length) {
      run = null;
      location.assign(made);
      return;
    }
    const failed = current.files.filter((file) => file.failed).length;
    const total = place.querySelector(".total");
    total.textContent = `${done.length} of ${current.files.length} were sent, ${failed} failed. `;
    if (done.length) {
      const link = document.createElement("a");
      link.href = made;
      link.textContent = "Watch those that were sent";
      total.append(link);
    }
  }

  async function send(confirm) {
    const rows = [...place.querySelectorAll("[data-file]")];
    const contents = rows.map((row) => quoted[Number(row.dataset.place)]);
    const differs = ({ dataset }, file) =>
      !file || file.name !== dataset.name || file.size !== Number(dataset.size);
    if (asking || rows.some((row, index) => differs(row, contents[index]))) {
      return tell("The files are not those that were shown. Nothing was sent. Choose them again.");
    }
    const current = { ended: false, requests: new Set(), sealed: confirm.elements.sealed.value };
    current.files = rows.map((row, index) => fileOf(row, contents[index]));
    run = current;
    confirm.querySelector(".confirm").disabled = true;
    drop.hidden = true;
    const files = pool(FILES_AT_ONCE);
    const parts = pool(PARTS_AT_ONCE);
    await Promise.all(current.files.map((file) => files(() => attempt(file, current, parts))));
    finish(current);
  }

  function giveUp() {
    if (run) {
      run.ended = true;
      for (const request of run.requests) request.abort();
      for (const file of run.files) {
        if (file.id && !file.jobs) call(to.abort, { id: file.id }).catch(() => {});
      }
    }
    run = null;
    ask(null);
    chosen = quoted = [];
    input.value = "";
    drop.hidden = false;
    place.replaceChildren();
    input.focus();
  }

  function tell(text) {
    const notice = document.createElement("p");
    notice.className = "notice bad";
    notice.textContent = text;
    place.replaceChildren(notice);
  }

  // Only the newest request for a quote may be shown: an older one is of other files.
  function ask(controller) {
    if (asking) asking.abort();
    asking = controller;
    if (asking) place.setAttribute("aria-busy", "true");
    else place.removeAttribute("aria-busy");
    const confirm = place.querySelector(".confirm");
    if (confirm) confirm.disabled = Boolean(asking);
  }

  async function show() {
    if (!chosen.length || run) return;
    const files = chosen;
    const own = new AbortController();
    const fields = new URLSearchParams(new FormData(form));
    for (const file of files) {
      fields.append("name", file.name);
      fields.append("type", file.type);
      fields.append("size", file.size);
    }
    ask(own);
    let text = "The server did not answer. Nothing was sent.";
    let isQuote = false;
    try {
      const answer = await fetch(to.preview, { method: "POST", body: fields, signal: own.signal });
      text = await answer.text();
      isQuote = (answer.headers.get("Content-Type") || "").startsWith("text/html");
    } catch {
      // What is told says so.
    }
    if (asking !== own) return;
    ask(null);
    quoted = files;
    // The server's own template, in which every name is escaped.
    if (isQuote) place.innerHTML = text;
    else tell(text);
  }

  function choose(files) {
    if (run) return;
    chosen = [...files];
    show();
  }

  form.querySelector(".without-script").remove();
  drop.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", ({ target }) => (target === input ? choose(input.files) : show()));
  place.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!run) send(event.target);
  });
  place.addEventListener("click", ({ target }) => target.closest(".give-up") && giveUp());
  for (const name of ["dragover", "dragenter"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    choose(event.dataTransfer.files);
  });
  addEventListener("beforeunload", (event) => {
    if (run && run.files.some((file) => !file.jobs && !file.failed)) event.preventDefault();
  });
})();

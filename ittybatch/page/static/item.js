/* Players of an item: loads what comes into view, plays HLS where the browser cannot, and tells
   why something is not shown. Without this file videos and pictures play, and links open them. */
"use strict";

(() => {
  document.documentElement.classList.add("scripted");
  const NATIVE_HLS = document.createElement("video").canPlayType("application/vnd.apple.mpegurl");
  let loading = null; // of hls.js, which is loaded once, and only if it is needed

  function failed(element) {
    const note = element.closest(".medium")?.querySelector(".medium-failed");
    if (!note || !note.hidden) return;
    note.hidden = false;
    note.dispatchEvent(new CustomEvent("failed"));
  }

  function loadHls(address) {
    loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = address;
      script.onload = () => resolve(window.Hls);
      script.onerror = reject;
      document.head.append(script);
    });
    return loading;
  }

  async function playByScript(video) {
    if (video.dataset.player === "hls.js") return failed(video);
    video.dataset.player = "hls.js";
    const playing = !video.paused; // somebody has pressed play before the browser gave up
    const playlist = new URL(video.dataset.playlist, location).href;
    video.removeAttribute("src");
    const Hls = await loadHls(video.dataset.hls).catch(() => null);
    if (!Hls || !Hls.isSupported()) return failed(video);
    // No worker: its script would be a blob, which the page's policy forbids.
    const hls = new Hls({ enableWorker: false, autoStartLoad: false });
    hls.on(Hls.Events.ERROR, (_, error) => error.fatal && failed(video));
    hls.loadSource(playlist);
    hls.attachMedia(video);
    // Pressed before or while hls.js was loaded: no `play` will come any more.
    if (playing || !video.paused) {
      hls.startLoad(-1);
      video.play().catch(() => {});
    } else {
      video.addEventListener("play", () => hls.startLoad(-1), { once: true });
    }
  }

  // Players ask for nothing before they can be seen: a page may have twenty.
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      if (target.dataset.hls && !NATIVE_HLS) playByScript(target);
      else if (target.preload === "none") target.preload = "metadata";
    }
  });

  function adopt(element) {
    if (element.dataset.adopted) return;
    element.dataset.adopted = "yes";
    if (element.tagName !== "IMG") seen.observe(element);
    // What failed before this script ran.
    const broken = element.tagName === "IMG"
      ? element.complete && element.naturalWidth === 0 && element.loading !== "lazy"
      : element.error;
    if (broken) failed(element);
  }

  const adoptAll = () => document.querySelectorAll("[data-medium]").forEach(adopt);

  // These events do not bubble, so they are caught on their way down.
  document.addEventListener(
    "error",
    ({ target }) => {
      if (!target.matches?.("[data-medium]")) return;
      if (target.dataset.hls && target.dataset.player !== "hls.js") playByScript(target);
      else if (target.getAttribute("src")) failed(target);
    },
    true,
  );

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest?.("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      // Without HTTPS there is no clipboard: the address is selected instead.
      getSelection().selectAllChildren(button.closest(".address").querySelector("code"));
      return;
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });

  adoptAll();
  new MutationObserver(adoptAll).observe(document.body, { childList: true, subtree: true });
})();

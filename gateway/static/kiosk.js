// A wall screen: nobody touches it, so it stays awake, and heals by itself.
import { cards, plural, settings, setText, start } from "./live.js";

const list = document.getElementById("cards");
const more = document.getElementById("more");
const clock = document.getElementById("clock");

function arrange() {
  const all = [...list.querySelectorAll("[data-sensor]")];
  const most = Number(list.dataset.most);
  all.forEach((element, at) => (element.hidden = at >= most));
  list.dataset.count = Math.min(all.length, most);
  const left = Math.max(0, all.length - most);
  setText(more, plural("more", left));
  more.hidden = !left;
  document.getElementById("empty").hidden = all.length > 0;
}

// Only where the browser has it, and a page may: over HTTPS, or on this machine.
async function stayAwake() {
  if (document.hidden) return;
  await navigator.wakeLock?.request("screen").catch(() => {});
}

const time = new Intl.DateTimeFormat(settings.locale, { timeStyle: "short" });
const tell = () => setText(clock, time.format(new Date()));
setInterval(tell, 1000);
tell();
document.addEventListener("visibilitychange", stayAwake);
stayAwake();
start(arrange);

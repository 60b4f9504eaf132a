// Parts of a page that are the server's to write: fetched again as HTML, which escapes what comes
// from MQTT, and put in the place of the old ones if they differ.
import { localise } from "./live.js";

const PATIENCE_MS = 20000;

export async function renew(url, { replaced = () => {}, signal } = {}) {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const answer = await fetch(url, { signal: signal ? AbortSignal.any([signal, patience]) : patience });
  if (!answer.ok) throw new Error(answer.statusText);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  localise(fresh);
  for (const part of fresh.querySelectorAll("[data-renew]")) {
    const shown = document.getElementById(part.id);
    if (!shown || shown.isEqualNode(part)) continue;
    const focused = shown.contains(document.activeElement) && document.activeElement;
    shown.replaceWith(part);
    if (focused) {
      const alike = (element) =>
        element.tagName === focused.tagName && element.textContent === focused.textContent;
      [...part.querySelectorAll("a, button, summary")].find(alike)?.focus({ preventScroll: true });
    }
    replaced(part, focused);
  }
}

// Every so often while somebody looks. What cannot be renewed is marked: it is no longer news.
export function keepNew(url, everyMs, { may = () => true, replaced } = {}) {
  const turn = async () => {
    if (document.hidden || !may()) return;
    const stale = await renew(url(), { replaced }).then(() => false, () => true);
    for (const part of document.querySelectorAll("[data-renew]")) {
      part.toggleAttribute("data-stale", stale);
    }
  };
  setTimeout(turn, 6000); // who has just begun has no history when the page opens
  setInterval(turn, everyMs);
  document.addEventListener("visibilitychange", turn);
  return turn;
}

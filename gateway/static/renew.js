// Parts of a page that are the server's to write: fetched again as HTML, which escapes what comes
// from MQTT, and put in the place of the old ones if they differ.
import { localise, settings } from "./live.js";

const PATIENCE_MS = 20000;

// The gateway has answered, but with nothing that could be put here.
export class Unwanted extends Error {}

// `wanted` is asked when the answer has come: by then it may be of no use any more.
export async function renew(url, { replaced = () => {}, wanted = () => true, signal } = {}) {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const answer = await fetch(url, { signal: signal ? AbortSignal.any([signal, patience]) : patience });
  if (!answer.ok) throw new Unwanted(answer.status);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!wanted()) return;
  const parts = fresh.querySelectorAll("[data-renew]");
  if (!parts.length) throw new Unwanted("another page");
  const choice = JSON.parse(fresh.documentElement.dataset.settings ?? "null");
  if (choice && (choice.language !== settings.language || choice.units !== settings.units)) {
    location.reload(); // chosen anew in another window: a page has one language, and one unit
    return;
  }
  localise(fresh);
  for (const part of parts) {
    const shown = document.getElementById(part.id);
    if (!shown || shown.isEqualNode(part)) continue;
    const focused = shown.contains(document.activeElement) && document.activeElement;
    shown.replaceWith(part);
    replaced(part); // which may make something of it that can have the focus
    if (focused) {
      const alike = (element) =>
        element.tagName === focused.tagName &&
        (element.hasAttribute("tabindex") || element.textContent === focused.textContent);
      const again = [...part.querySelectorAll("a, button, summary, [tabindex]")].find(alike);
      again?.focus({ preventScroll: true });
    }
  }
}

// What could not be renewed is marked: it is no longer news.
export function markStale(stale) {
  for (const part of document.querySelectorAll("[data-renew]")) {
    part.toggleAttribute("data-stale", stale);
  }
}

// Every so often while somebody looks, and not with all other pages in the same moment.
export function keepNew(url, everyMs, { may = () => true, replaced } = {}) {
  const turn = async () => {
    if (document.hidden || !may()) return;
    const asked = url();
    const wanted = () => may() && url() === asked;
    markStale(await renew(asked, { replaced, wanted }).then(() => false, () => true));
  };
  const plan = (ms) => {
    setTimeout(() => {
      plan(everyMs);
      turn();
    }, ms * (0.75 + Math.random() / 2));
  };
  plan(6000); // who has just begun has no history when the page opens
  document.addEventListener("visibilitychange", turn);
  return turn;
}

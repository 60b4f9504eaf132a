// A sensor's page: its values live, and its past, whose every view has an address.
import { enhance } from "./chart.js";
import { settings, start, texts } from "./live.js";
import { Unwanted, keepNew, markStale, renew } from "./renew.js";

const LONGEST_MS = 20 * 365 * 86400000; // as in past.py

let chart = null;
let going = null;
let missed = false; // what the address says could not be had yet

const past = () => document.getElementById("past");

function dress() {
  chart?.destroy();
  const figure = past().querySelector("figure.chart");
  chart = figure && enhance(figure, { locale: settings.locale, onRange });
  past().querySelector(".free .zone")?.remove(); // the chart has a zone of its own
  // What the form asks for is local time, as what the chart shows is.
  for (const input of past().querySelectorAll("input[type=datetime-local]")) {
    const date = new Date(`${input.defaultValue}Z`); // a browser that reloads may keep our own value
    if (!Number.isNaN(date.getTime())) input.value = local(date);
  }
}

const replaced = (part) => part.id === "past" && dress();

function local(date) {
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * 60000);
  return shifted.toISOString().slice(0, 16);
}

// Show another view of the past. The address changes at once, so that what is copied is what is meant.
async function go(url, { push = true } = {}) {
  going?.abort();
  const mine = (going = new AbortController());
  if (push) history.pushState(null, "", url);
  past().setAttribute("aria-busy", "true");
  try {
    await renew(url, { replaced, signal: mine.signal });
    missed = false;
    markStale(false);
  } catch (error) {
    if (mine.signal.aborted) return;
    if (error instanceof Unwanted) location.assign(url); // it says what is wrong better than we can
    missed = true; // it is away: what is here stays, and this comes when it does
    markStale(true);
  }
  if (mine === going) past().removeAttribute("aria-busy");
}

function query(changes) {
  const now = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) now.delete(name);
    else now.set(name, value);
  }
  return `${location.pathname}?${now}`;
}

// Fingers ask for more than there can be: it is cut to what is answered.
function onRange(fromMs, toMs) {
  const middle = (fromMs + toMs) / 2;
  const half = Math.min(toMs - fromMs, LONGEST_MS) / 2;
  const ends = [Math.max(0, middle - half), Math.max(86400000, middle + half)];
  const [from, to] = ends.map((ms) => new Date(Math.round(ms)).toISOString());
  return go(query({ range: null, from, to }));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("#past a");
  const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!link || !plain || link.hasAttribute("download") || link.pathname !== location.pathname) return;
  event.preventDefault();
  go(link.href);
});
document.addEventListener("submit", (event) => {
  if (!past().contains(event.target)) return;
  event.preventDefault();
  const inputs = ["from", "to"].map((name) => event.target.elements[name]);
  const [from, to] = inputs.map((input) => new Date(input.value));
  if (from >= to) {
    inputs[0].setCustomValidity(texts.range_order);
    inputs[0].reportValidity();
    for (const input of inputs) input.oninput = () => inputs[0].setCustomValidity("");
    return;
  }
  go(query({ range: null, from: from.toISOString(), to: to.toISOString() }));
});
addEventListener("popstate", () => go(location.href, { push: false }));

start();
dress();
// Nothing is taken from under the hands of who is choosing a range or reading the chart.
const inUse = () => past().querySelector("details[open]") || past().matches(":hover, :focus-within");
keepNew(() => location.href, 30000, { may: () => missed || !inUse(), replaced });

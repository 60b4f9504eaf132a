// A sensor's page: its values live, and its past, whose every view has an address.
import { enhance } from "./chart.js";
import { settings, start } from "./live.js";
import { keepNew, renew } from "./renew.js";

let chart = null;
let going = null;

const past = () => document.getElementById("past");

function dress() {
  chart?.destroy();
  const figure = past().querySelector("figure.chart");
  chart = figure && enhance(figure, { locale: settings.locale, onRange });
  past().querySelector(".free .zone")?.remove(); // the chart has a zone of its own
  // What the form asks for is local time, as what the chart shows is.
  for (const input of past().querySelectorAll("input[type=datetime-local]")) {
    const date = new Date(`${input.value}Z`);
    if (!Number.isNaN(date.getTime())) input.value = local(date);
  }
}

function replaced(part, focused) {
  if (part.id !== "past") return;
  dress();
  // Who zooms by keys goes on with them.
  if (focused && focused.matches("figure.chart > svg")) part.querySelector("figure.chart > svg")?.focus({ preventScroll: true });
}

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
  } catch {
    if (!mine.signal.aborted) location.assign(url); // the server says what is wrong better than we can
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

function onRange(fromMs, toMs) {
  const [from, to] = [fromMs, toMs].map((ms) => new Date(Math.round(ms)).toISOString());
  go(query({ range: null, from, to }));
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
  const [from, to] = ["from", "to"].map((name) => new Date(event.target.elements[name].value));
  go(query({ range: null, from: from.toISOString(), to: to.toISOString() }));
});
addEventListener("popstate", () => go(location.href, { push: false }));

start();
dress();
// Nothing is taken from under the hands of who is choosing a range or reading the chart.
const inUse = () => past().querySelector("details[open]") || past().matches(":hover, :focus-within");
keepNew(() => location.href, 30000, { may: () => !inUse(), replaced });

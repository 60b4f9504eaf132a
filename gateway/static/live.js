// Keeps what a page shows of sensors live by server-sent events. All that comes from MQTT is written
// with textContent, and every answer to "how old?" is made here, so that it goes on without a server.
const root = document.documentElement;
export const settings = JSON.parse(root.dataset.settings);
export const texts = JSON.parse(root.dataset.texts);
const STREAM = "/api/v1/stream";
const SILENCE_MS = 40000; // two heartbeats and a half
const digits = new Intl.NumberFormat(settings.locale, {
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
  useGrouping: false,
});

export const fill = (text, n) => text.replace("{num}", n);
export const plural = (key, n) => fill(texts[`${key}_${n}`] ?? texts[`${key}_n`], n);
export const setText = (element, text) => {
  if (element && element.textContent !== text) element.textContent = text;
};
// Never "-0,0"
const number = (value) =>
  value === null || value === undefined ? "–" : digits.format(value).replace(/^-(?=[0.,]+$)/, "");
const temperature = (value) =>
  number(typeof value === "number" && settings.units === "f" ? value * 1.8 + 32 : value);

export function moment(iso, { dated = false } = {}) {
  const date = new Date(iso);
  const sameDay = !dated && date.toDateString() === new Date().toDateString();
  const style = sameDay ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
  return date.toLocaleString(settings.locale, style);
}

// The server writes moments in UTC, since it cannot know where its reader is.
export function localise(part) {
  for (const time of part.querySelectorAll("time[datetime]")) {
    setText(time, moment(time.dateTime, { dated: time.hasAttribute("data-dated") }));
    const zone = time.nextElementSibling;
    if (zone?.classList.contains("zone")) zone.remove();
  }
}

let offsetMs = 0; // the gateway's clock minus ours, once it has said its own
const nowMs = () => Date.now() + offsetMs;

function age(view) {
  if (view.temperature_c === null) return texts.age_none;
  if (view.age_from === null) return texts.age_unknown;
  const seconds = Math.max(0, Math.floor((nowMs() - Date.parse(view.age_from)) / 1000));
  for (const [key, length] of [["age_d", 86400], ["age_h", 3600], ["age_min", 60]]) {
    if (seconds >= length) return fill(texts[key], Math.floor(seconds / length));
  }
  return fill(texts.age_s, seconds);
}

// A gateway that has hung or is out of reach cannot say that a value is late: then we do.
const lateAtMs = (view) =>
  Date.parse(view.age_from) +
  settings.lateAfter * 1000 * (view.interval_s ?? settings.defaultInterval);
export const stateOf = (view) =>
  view.state === "live" && nowMs() > lateAtMs(view) ? "late" : view.state;

// One polite sentence for all that changed within a moment; values are not read out.
const news = document.getElementById("news");
let unsaid = [];
let sayTimer = 0;
function announce(text) {
  unsaid.push(text);
  if (sayTimer) return;
  sayTimer = setTimeout(() => {
    setText(news, unsaid.slice(0, 5).join(". ") + (unsaid.length > 5 ? " …" : ""));
    unsaid = [];
    sayTimer = 0;
  }, 2000);
}

export const cards = new Map(); // "node/sensor" → {element, view, shown}
export const status = { connected: true, feedUp: document.getElementById("feed-lost").hidden };
// The links that choose language and unit stay with what is looked at now.
document.querySelector(".choices")?.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link) return;
  const query = new URLSearchParams(location.search);
  const chosen = new URL(link.href).searchParams;
  for (const name of ["lang", "units"]) {
    if (chosen.has(name)) query.set(name, chosen.get(name));
    else query.delete(name);
  }
  link.search = query;
});

const list = document.querySelector("[data-list]");
const blank = document.getElementById("card")?.content;
const only = list?.dataset.only?.split(" ");
let onChange = () => {};

// In the order of the address where that names them, else by node and name.
function comesAfter(a, b) {
  if (only) return only.indexOf(a) > only.indexOf(b);
  const order = (k) => k.replace("/", "\u0000");
  return order(a) > order(b);
}

function place(key) {
  const element = blank.querySelector("article").cloneNode(true);
  const [node, sensor] = key.split("/");
  element.dataset.sensor = key;
  setText(element.querySelector(".node"), node);
  setText(element.querySelector(".sensor"), sensor);
  element.querySelector("h2 a").href = `/sensors/${node}/${sensor}`;
  const trend = element.querySelector(".trend");
  if (trend) trend.id = `trend-${key}`;
  const all = [...list.querySelectorAll("[data-sensor]")];
  const next = all.find((other) => comesAfter(other.dataset.sensor, key));
  list.insertBefore(element, next ?? null);
  return element;
}

// What the page says of a sensor, until the stream says something newer: enough to grow old, and to sort by.
function written(element) {
  const { state } = element.dataset;
  if (!state) return null;
  const numeric = (text) => (text === undefined ? null : Number(text));
  const value = (name) => numeric(element.querySelector(`.${name} .number`).dataset.value);
  const { from, interval } = element.querySelector(".age").dataset;
  const [node, sensor] = element.dataset.sensor.split("/");
  return {
    node,
    sensor,
    state,
    since: element.querySelector(".since time").dateTime || null,
    temperature_c: value("temperature"),
    humidity_pct: value("humidity"),
    age_from: from ?? null,
    interval_s: numeric(interval),
  };
}

function adopt() {
  for (const element of document.querySelectorAll("[data-sensor]")) {
    cards.set(element.dataset.sensor, { element, view: written(element), shown: element.dataset.state });
  }
}

function show(view) {
  const key = `${view.node}/${view.sensor}`;
  let card = cards.get(key);
  if (!card) {
    if (!list || (only && !only.includes(key))) return;
    card = { element: place(key), view: null, shown: undefined };
    cards.set(key, card);
  }
  card.view = view;
  const find = (name) => card.element.querySelector(name);
  setText(find(".temperature .number"), temperature(view.temperature_c));
  setText(find(".humidity .number"), number(view.humidity_pct));
  for (const [name, value] of [["feels", view.feels_like_c], ["dew", view.dew_point_c]]) {
    const derived = find(`.${name}`);
    if (!derived) continue;
    setText(derived.querySelector(".value"), temperature(value));
    derived.hidden = value === null || value === undefined; // too cold, or too dry, for its formula
  }
  const reason = find(".reason");
  if (reason) {
    const translated = view.reasons?.[settings.language];
    setText(reason, translated || view.reason);
    reason.hidden = !view.reason;
    if (translated || settings.language === "en") reason.removeAttribute("lang");
    else reason.lang = "en";
  }
  setText(find(".source"), texts[`source_${view.source}`] ?? view.source ?? "");
  const gone = find(".gone");
  if (gone) gone.hidden = true;
  tick(card);
}

function tick(card) {
  const { element, view } = card;
  if (!view) return;
  setText(element.querySelector(".age"), age(view));
  const state = stateOf(view);
  const since = state === view.state ? view.since : new Date(lateAtMs(view)).toISOString();
  const when = element.querySelector(".since");
  const time = when.querySelector("time");
  when.hidden = since === null || state === "live"; // how old a live value is, its age says
  const today = new Date().toDateString(); // a moment of today is without its date, until tomorrow
  if (since !== null && (time.dateTime !== since || card.day !== today)) {
    time.dateTime = since;
    setText(time, moment(since));
    card.day = today;
  }
  if (card.shown !== state || element.dataset.state !== state) {
    if (card.shown !== undefined) announce(`${view.node} ${view.sensor}: ${texts[state]}`);
    card.shown = state;
    element.dataset.state = state;
    element.querySelector(".state use").setAttribute("href", `#shape-${state}`);
    setText(element.querySelector(".word"), texts[state]);
    return true;
  }
  return false;
}

function remove(key) {
  if (!list) {
    // the sensor's own page stays, and says so
    const gone = cards.get(key)?.element.querySelector(".gone");
    if (gone) gone.hidden = false;
    return;
  }
  cards.get(key)?.element.remove();
  cards.delete(key);
}

function showFeed(feed) {
  const banner = document.getElementById("feed-lost");
  if (feed.connected) setText(banner.querySelector("span"), texts.feed_lost);
  banner.hidden = status.feedUp = feed.connected;
}

function setConnected(value) {
  const changed = status.connected !== value;
  status.connected = value;
  root.dataset.connection = value ? "up" : "lost";
  document.getElementById("page-lost").hidden = value;
  if (changed) onChange(); // all is well only where it can be known
}

// The stream goes on from the last event that is shown, at first from what the server wrote; where
// that is another gateway's, or an earlier one's, it begins with all sensors.
let lastEvent = root.dataset.beginsAt ?? "";
const one = list ? undefined : document.querySelector("[data-sensor]")?.dataset.sensor;

function streamAddress() {
  const query = new URLSearchParams();
  if (lastEvent) query.set("last_event_id", lastEvent);
  if (one) query.set("sensor", one);
  return `${STREAM}?${query}`;
}

let source = null;
let heardMs = Date.now();
let retryTimer = 0;
let tries = 0;

function heard(event) {
  const data = JSON.parse(event.data);
  heardMs = Date.now();
  offsetMs = Date.parse(data.server_time) - heardMs;
  tries = 0;
  lastEvent = event.lastEventId || lastEvent;
  setConnected(true);
  return data;
}

function open() {
  clearTimeout(retryTimer);
  source?.close();
  heardMs = Date.now();
  source = new EventSource(streamAddress());
  source.addEventListener("state", (event) => {
    const data = heard(event);
    showFeed(data.feed);
    const present = new Set(data.sensors.map((view) => `${view.node}/${view.sensor}`));
    for (const key of [...cards.keys()]) if (!present.has(key)) remove(key);
    data.sensors.forEach(show);
    onChange();
  });
  source.addEventListener("change", (event) => {
    const data = heard(event);
    data.sensors.forEach(show);
    data.removed.forEach(remove);
    onChange();
  });
  source.addEventListener("feed", (event) => {
    showFeed(heard(event).feed);
    onChange();
  });
  source.addEventListener("heartbeat", heard);
  source.onerror = () => {
    setConnected(false);
    // The browser tries again by itself, unless it was answered with an error.
    if (source.readyState === EventSource.CLOSED) again();
  };
}

function again() {
  source.close();
  tries += 1;
  clearTimeout(retryTimer);
  retryTimer = setTimeout(open, Math.min(30000, 1000 * 2 ** tries) * (0.5 + Math.random() / 2));
}

// A browser has six connections to an address: a page that nobody sees leaves its to others.
function seenOrNot() {
  if (document.hidden) {
    clearTimeout(retryTimer);
    source?.close();
  } else if (!source || source.readyState === EventSource.CLOSED) {
    open();
  }
}

// It is remembered by now. In the address it would be chosen again with each renewal, against what
// was chosen in another window since.
function forgetChoice() {
  const address = new URL(location);
  for (const name of ["lang", "units"]) address.searchParams.delete(name);
  if (navigator.cookieEnabled && address.href !== location.href) history.replaceState(null, "", address);
}

// Begin. `changed` is called after all that one event brought, and when time alone changed a state.
export function start(changed = () => {}) {
  onChange = changed;
  adopt();
  localise(document);
  forgetChoice();
  seenOrNot();
  document.addEventListener("visibilitychange", seenOrNot);
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => event.persisted && seenOrNot());
  setInterval(() => {
    if (!document.hidden && Date.now() - heardMs > SILENCE_MS) {
      setConnected(false);
      open();
    }
    let any = false;
    for (const card of cards.values()) any = tick(card) || any;
    if (any) onChange();
  }, 1000);
}

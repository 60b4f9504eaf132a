// Keeps the page live by server-sent events. All that comes from MQTT is written with textContent.
"use strict";
(() => {
  const root = document.documentElement;
  const settings = JSON.parse(root.dataset.settings);
  const texts = JSON.parse(root.dataset.texts);
  const blank = document.getElementById("card").content;
  const list = document.getElementById("cards");
  const news = document.getElementById("news");
  const STREAM = "/api/v1/stream";
  const SILENCE_MS = 40000; // two heartbeats and a half
  const cards = new Map(); // "node/sensor" → {element, view, shown}
  let offsetMs = Date.parse(settings.now) - Date.now(); // the gateway's clock minus ours
  let source = null;
  let heardMs = Date.now();
  let retryTimer = 0;
  let tries = 0;
  let connected = true;
  let feedUp = document.getElementById("feed-lost").hidden;

  const number = (value) => {
    if (value === null) return "–";
    return value.toFixed(1).replace(".", settings.language === "es" ? "," : ".");
  };
  const temperature = (celsius) =>
    number(celsius === null || settings.units === "c" ? celsius : (celsius * 9) / 5 + 32);
  const fill = (text, n) => text.replace("{num}", n);
  const ageMs = (view) => Date.now() + offsetMs - Date.parse(view.age_from);
  const age = (view) => {
    if (view.temperature_c === null) return texts.age_none;
    if (view.age_from === null) return texts.age_unknown;
    const seconds = Math.max(0, Math.floor(ageMs(view) / 1000));
    if (seconds >= 86400) return fill(texts.age_d, Math.floor(seconds / 86400));
    if (seconds >= 3600) return fill(texts.age_h, Math.floor(seconds / 3600));
    if (seconds >= 60) return fill(texts.age_min, Math.floor(seconds / 60));
    return fill(texts.age_s, seconds);
  };
  const moment = (iso) => {
    const date = new Date(iso);
    const sameDay = date.toDateString() === new Date().toDateString();
    const style = sameDay ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
    return date.toLocaleString(settings.locale, style);
  };
  // A gateway that has hung or is out of reach cannot say that a value is late: then we do.
  const lateAtMs = (view) =>
    Date.parse(view.age_from) +
    settings.lateAfter * 1000 * (view.interval_s ?? settings.defaultInterval);
  const stateOf = (view) => {
    const overdue = Date.now() + offsetMs > lateAtMs(view);
    return view.state === "live" && overdue ? "late" : view.state;
  };
  const setText = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  function place(key) {
    const element = blank.querySelector("article").cloneNode(true);
    const [node, sensor] = key.split("/");
    element.dataset.sensor = key;
    element.setAttribute("aria-label", `${node} ${sensor}`);
    setText(element.querySelector(".node"), node);
    setText(element.querySelector(".sensor"), sensor);
    const order = (k) => k.replace("/", "\u0000");
    const next = [...list.children].find((other) => order(other.dataset.sensor) > order(key));
    list.insertBefore(element, next ?? null);
    return element;
  }

  function show(view) {
    const key = `${view.node}/${view.sensor}`;
    let card = cards.get(key);
    if (!card) {
      const there = [...list.children].find((element) => element.dataset.sensor === key);
      card = { element: there ?? place(key), shown: there?.dataset.state };
      cards.set(key, card);
    }
    card.view = view;
    const find = (name) => card.element.querySelector(name);
    setText(find(".temperature .number"), temperature(view.temperature_c));
    setText(find(".humidity .number"), number(view.humidity_pct));
    const reason = view.reasons[settings.language];
    setText(find(".reason"), reason ?? view.reason);
    find(".reason").lang = reason ? settings.language : "en";
    find(".reason").hidden = !view.reason;
    setText(find(".source"), texts[`source_${view.source}`] ?? view.source ?? "");
    tick(card);
  }

  function tick(card) {
    const { element, view } = card;
    setText(element.querySelector(".age"), age(view));
    const state = stateOf(view);
    const since = state === view.state ? view.since : new Date(lateAtMs(view)).toISOString();
    const time = element.querySelector(".since time");
    element.querySelector(".since").hidden = since === null;
    if (since !== null && time.dateTime !== since) {
      time.dateTime = since;
      setText(time, moment(since));
    }
    if (card.shown !== state || element.dataset.state !== state) {
      if (card.shown !== undefined) announce(`${view.node} ${view.sensor}: ${texts[state]}`);
      card.shown = state;
      element.dataset.state = state;
      element.querySelector(".state use").setAttribute("href", `#shape-${state}`);
      setText(element.querySelector(".word"), texts[state]);
    }
  }

  // One polite sentence for all that changed within a moment; values are not read out.
  let unsaid = [];
  let sayTimer = 0;
  function announce(text) {
    unsaid.push(text);
    if (sayTimer) return;
    sayTimer = setTimeout(() => {
      const more = unsaid.length > 5 ? " …" : "";
      setText(news, unsaid.slice(0, 5).join(". ") + more);
      unsaid = [];
      sayTimer = 0;
    }, 2000);
  }

  function summarise() {
    const all = [...cards.values()];
    const troubled = all.filter((card) => card.shown !== "live").length;
    let text = fill(texts[`sensors_${all.length}`] ?? texts.sensors_n, all.length);
    if (troubled) text += ` · ${fill(texts.troubled, troubled)}`;
    else if (all.length && connected && feedUp) text += ` · ${texts.all_well}`;
    setText(document.querySelector(".summary"), text);
    document.getElementById("empty").hidden = all.length > 0;
  }

  function showFeed(feed) {
    const banner = document.getElementById("feed-lost");
    if (feed.connected) setText(banner.querySelector("span"), texts.feed_lost);
    banner.hidden = feedUp = feed.connected;
  }

  function remove(key) {
    [...list.children].find((element) => element.dataset.sensor === key)?.remove();
    cards.delete(key);
  }

  function setConnected(value) {
    connected = value;
    root.dataset.connection = value ? "up" : "lost";
    document.getElementById("page-lost").hidden = value;
  }

  function heard(event) {
    const data = JSON.parse(event.data);
    heardMs = Date.now();
    offsetMs = Date.parse(data.server_time) - heardMs;
    tries = 0;
    setConnected(true);
    return data;
  }

  function open() {
    clearTimeout(retryTimer);
    source?.close();
    heardMs = Date.now();
    source = new EventSource(STREAM);
    source.addEventListener("state", (event) => {
      const data = heard(event);
      showFeed(data.feed);
      const present = new Set(data.sensors.map((view) => `${view.node}/${view.sensor}`));
      for (const element of [...list.children]) {
        if (!present.has(element.dataset.sensor)) remove(element.dataset.sensor);
      }
      data.sensors.forEach(show);
      summarise();
    });
    source.addEventListener("change", (event) => {
      const data = heard(event);
      data.sensors.forEach(show);
      data.removed.forEach(remove);
      summarise();
    });
    source.addEventListener("feed", (event) => showFeed(heard(event).feed));
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

  setInterval(() => {
    if (source.readyState === EventSource.OPEN && Date.now() - heardMs > SILENCE_MS) {
      setConnected(false);
      open();
    }
    cards.forEach(tick);
    summarise();
  }, 1000);
  // What became of the readings is the server's own HTML, which escapes what comes from MQTT.
  const SECTION = "history";
  async function renewHistory() {
    const shown = document.getElementById(SECTION);
    if (document.hidden || !shown) return;
    const url = `/history?lang=${settings.language}`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(20000) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = answer.ok && page.getElementById(SECTION);
    if (!fresh) throw new Error(answer.statusText);
    if (fresh.isEqualNode(shown)) return;
    const focused = shown.contains(document.activeElement) && document.activeElement.href;
    shown.replaceWith(fresh);
    if (focused) [...fresh.querySelectorAll("a")].find((link) => link.href === focused)?.focus();
  }
  // What cannot be renewed is no longer called complete; the page says by itself that it is alone.
  const renew = () =>
    renewHistory().catch(() => document.getElementById(SECTION)?.toggleAttribute("data-stale", true));
  setTimeout(renew, 6000); // who has just begun has no history when the page opens
  setInterval(renew, 30000);
  document.addEventListener("visibilitychange", renew);
  document.querySelectorAll(".since time[datetime]").forEach((time) => {
    setText(time, moment(time.dateTime));
  });
  open();
})();

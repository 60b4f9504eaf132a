// The overview: cards in the order that is asked for, problems first unless it is another.
import { cards, fill, plural, setText, settings, start, stateOf, status, texts } from "./live.js";
import { keepNew } from "./renew.js";

const TOOLS_FROM = 5; // fewer need no search
const RANK = { broken: 0, offline: 1, late: 2, retrying: 3, live: 4 };
const list = document.getElementById("cards");
const tools = document.getElementById("tools");
const found = document.getElementById("found");
const { q, sort, group } = tools.elements;
const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

const value = (name) => (a, b) =>
  (b.view?.[name] ?? -Infinity) - (a.view?.[name] ?? -Infinity) || byName(a, b);
const rank = (card) => RANK[card.view ? stateOf(card.view) : card.shown] ?? 9;
const key = (card) => card.element.dataset.sensor;
const nodeOf = (card) => key(card).split("/")[0];
const sensorOf = (card) => key(card).split("/")[1];
const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const byNode = (a, b) => compare(nodeOf(a), nodeOf(b));
const byName = (a, b) => compare(sensorOf(a), sensorOf(b)) || byNode(a, b);
const ORDERS = {
  state: (a, b) => rank(a) - rank(b) || byNode(a, b) || byName(a, b),
  name: byName,
  temperature: value("temperature_c"),
  humidity: value("humidity_pct"),
};

function arrange() {
  const all = [...cards.values()].sort(ORDERS[sort.value] ?? ORDERS.state);
  if (group.checked) all.sort(byNode);
  const wanted = plain(q.value.trim());
  const focused = list.contains(document.activeElement) && document.activeElement;
  const old = new Map([...list.querySelectorAll(".group")].map((e) => [e.dataset.group, e]));
  let at = list.firstElementChild;
  const put = (element) => {
    if (element === at) at = at.nextElementSibling;
    else list.insertBefore(element, at);
  };
  let last = null;
  let shown = 0;
  for (const card of all) {
    const hidden = !plain(key(card).replace("/", " ")).includes(wanted);
    if (group.checked && !hidden && nodeOf(card) !== last) {
      last = nodeOf(card);
      const heading = old.get(last) ?? Object.assign(document.createElement("h2"), { className: "group" });
      heading.dataset.group = last;
      setText(heading, last);
      old.delete(last);
      put(heading);
    }
    card.element.hidden = hidden;
    shown += !hidden;
    put(card.element);
  }
  old.forEach((heading) => heading.remove());
  if (focused && document.activeElement !== focused) focused.focus({ preventScroll: true });
  setText(found, wanted ? plural("found", shown) : "");
}

function summarise() {
  const all = [...cards.values()];
  const troubled = all.filter((card) => card.shown !== "live").length;
  let text = plural("sensors", all.length);
  if (troubled) text += ` · ${fill(texts.troubled, troubled)}`;
  else if (all.length && status.connected && status.feedUp) text += ` · ${texts.all_well}`;
  setText(document.querySelector(".summary"), text);
  document.getElementById("empty").hidden = all.length > 0;
  tools.hidden = all.length < TOOLS_FROM && !q.value;
}

function asked() {
  const query = new URLSearchParams();
  if (q.value.trim()) query.set("q", q.value.trim());
  if (sort.value !== "state") query.set("sort", sort.value);
  if (group.checked) query.set("group", "node");
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
  arrange();
}

tools.addEventListener("input", asked);
tools.addEventListener("submit", (event) => {
  event.preventDefault();
  asked();
});
start(() => {
  summarise();
  arrange();
});
keepNew(() => `/trends?lang=${settings.language}&units=${settings.units}`, 60000);

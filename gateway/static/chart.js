// Makes a chart that charts.py drew interactive: what is under the pointer, and closer or wider.
// The picture stays the server's; this only adds to it, and asks for another range of time.
const SVG = "http://www.w3.org/2000/svg";
const QUANTITIES = ["temperature", "humidity"];
const DAY_MS = 86400000;
const DRAG_PX = 6; // less is a click
const SHORTEST_MS = 10000;
const SETTLED_MS = 250; // after the last turn of the wheel, and the last key before it is read out
const CLOSER = 0.5;
const GAP_PX = 12;
const BACK = { scale: 1, shift: 0 };

// figure: `<figure class="chart" data-chart>`. onRange(fromMs, toMs) is called for every range
// that is asked for, which may lie beyond what there is; what it returns is waited for, and then
// the curves go back to where they were. Returns an object with destroy().
export function enhance(figure, { locale, onRange = () => {} } = {}) {
  const svg = figure.querySelector("svg");
  const data = decoded(JSON.parse(figure.dataset.chart));
  const ending = new AbortController();
  const listen = (target, type, heard, options = {}) =>
    target.addEventListener(type, heard, { ...options, signal: ending.signal });
  const spanMs = data.to - data.from;
  const bottom = data.panels[1][0] + data.panels[1][1];
  const say = speaker(data, locale);
  const undo = [];
  const timers = {};
  const later = (name, act) => {
    clearTimeout(timers[name]);
    timers[name] = setTimeout(act, SETTLED_MS);
  };

  // ---- what is added

  const added = (parent, element) => {
    parent.append(element);
    undo.push(() => element.remove());
    return element;
  };
  const drawn = (name, className, attributes = {}) => {
    const element = document.createElementNS(SVG, name);
    set(element, { class: className, visibility: "hidden", ...attributes });
    return added(svg, element);
  };
  const selection = drawn("rect", "selection", { y: data.panels[0][0], height: bottom - data.panels[0][0] });
  const cross = drawn("line", "cross", { y1: data.panels[0][0], y2: bottom });
  const dots = QUANTITIES.map((name) => drawn("circle", `here ${name}`, { r: 5 }));
  const readout = document.createElement("div");
  readout.className = "chart-readout";
  readout.hidden = true;
  readout.setAttribute("aria-hidden", "true"); // the same is in `live`, for keys
  const lines = ["when", ...QUANTITIES, "count"].map((name) => {
    const line = document.createElement("span");
    line.className = name;
    readout.append(line);
    return line;
  });
  added(figure, readout);
  const live = document.createElement("p");
  live.className = "chart-live";
  live.setAttribute("aria-live", "polite");
  added(figure, live);

  // A title of an SVG is also what browsers show beside the pointer, over our own.
  const title = svg.querySelector("title");
  const description = svg.querySelector("desc");
  title.remove();
  set(svg, {
    role: "application", // so that a screen reader leaves the arrow keys to us
    tabindex: 0,
    "aria-label": `${title.textContent}. ${description.textContent} ${data.texts.hint}`,
  });
  figure.dataset.interactive = "";
  undo.push(() => {
    svg.prepend(title);
    set(svg, { role: "img" });
    for (const name of ["tabindex", "aria-label"]) svg.removeAttribute(name);
    delete figure.dataset.interactive;
    delete figure.dataset.moving;
  });

  // ---- the time axis, in the reader's zone

  const axis = [...svg.querySelectorAll(".tick")].map((tick) => {
    const text = tick.querySelector("text");
    const wallMs = Number(text.dataset.ms); // a round moment of UTC; here it is made one of ours
    const [stepMs, narrowMs] = data.steps.map((seconds) => seconds * 1000);
    let ms = wallMs + zoneMs(wallMs);
    if (stepMs < DAY_MS) {
      ms = wallMs + modulo(zoneMs(wallMs), stepMs);
      tick.classList.toggle("wide", modulo(ms - zoneMs(ms), narrowMs) !== 0);
    } else {
      ms = wallMs + zoneMs(ms); // where summer begins between the two
    }
    text.textContent = say.tick(ms, data.steps[0]);
    return { tick, ms };
  });
  const zone = svg.querySelector(".zone");
  if (zone) zone.textContent = say.zone(data.to);

  // ---- closer and wider: the curves move with the fingers, until other ones come

  let moved = BACK;
  function move(to) {
    moved = to;
    figure.toggleAttribute("data-moving", to !== BACK);
    for (const plot of svg.querySelectorAll(".plot")) {
      const shift = to.shift * plot.viewBox.baseVal.width;
      plot.firstElementChild.setAttribute("transform", `translate(${shift} 0) scale(${to.scale} 1)`);
    }
    for (const { tick, ms } of axis) {
      const at = ((ms - data.from) / spanMs) * to.scale + to.shift;
      const x = `${at * 100}%`;
      if (at < 0 || at > 1) set(tick, { display: "none" });
      else tick.removeAttribute("display");
      tick.querySelectorAll("line").forEach((line) => set(line, { x1: x, x2: x }));
      set(tick.querySelector("text"), { x });
    }
  }
  move(BACK);

  async function ask(fromMs, toMs) {
    clearTimeout(timers.wheel);
    const lacking = Math.max(0, SHORTEST_MS - (toMs - fromMs)) / 2;
    hide();
    try {
      await onRange(Math.round(fromMs - lacking), Math.round(toMs + lacking));
    } finally {
      if (!ending.signal.aborted) move(BACK);
    }
  }
  const timeAt = (share) => data.from + ((share - moved.shift) / moved.scale) * spanMs;
  const askMoved = () => ask(timeAt(0), timeAt(1));
  function zoom(centreMs, factor) {
    const before = (centreMs - data.from) * factor;
    return ask(centreMs - before, centreMs - before + spanMs * factor);
  }

  // ---- what is at a moment

  let current = -1;
  function show(index) {
    const box = svg.getBoundingClientRect();
    current = index;
    const x = data.places[index] * box.width;
    set(cross, { x1: x, x2: x, visibility: "visible" });
    QUANTITIES.forEach((name, which) => {
      const [top, height, low, high] = data.panels[which];
      const y = top + ((high - data[name].mean[index] / 10) / (high - low)) * height;
      set(dots[which], { cx: x, cy: y, visibility: "visible" });
    });
    say.lines(index).forEach((parts, line) => {
      lines[line].replaceChildren(...parts);
    });
    readout.hidden = false;
    const outer = figure.getBoundingClientRect();
    const left = box.left - outer.left + x;
    const room = outer.width - readout.offsetWidth;
    const beside = left + GAP_PX <= room ? left + GAP_PX : left - GAP_PX - readout.offsetWidth;
    readout.style.transform = `translate(${Math.max(0, Math.min(room, beside))}px, ${data.panels[0][0] + 4}px)`;
  }
  function hide() {
    current = -1;
    for (const element of [cross, selection, ...dots]) set(element, { visibility: "hidden" });
    readout.hidden = true;
    live.textContent = "";
    clearTimeout(timers.live);
  }
  const shareOf = (event) => {
    const box = svg.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  const showAt = (event) => {
    if (data.places.length && moved === BACK) show(nearest(data.places, shareOf(event)));
  };

  // ---- mouse, pen and fingers

  const down = new Map(); // pointers by id: where each began and where it is, as shares of the width
  let pinched = false;
  let dragged = false;
  function pinch() {
    const [one, two] = down.values();
    const apart = two.from - one.from || 1e-3;
    const scale = Math.min(50, Math.max(0.05, (two.to - one.to) / apart));
    const middle = (of) => (one[of] + two[of]) / 2;
    move({ scale, shift: middle("to") - middle("from") * scale });
  }
  function select() {
    const [{ from, to }] = down.values();
    const width = svg.getBoundingClientRect().width;
    dragged = Math.abs(to - from) * width >= DRAG_PX;
    set(selection, {
      x: Math.min(from, to) * width,
      width: Math.abs(to - from) * width,
      visibility: dragged ? "visible" : "hidden",
    });
  }
  function cancel() {
    down.clear();
    pinched = dragged = false;
    set(selection, { visibility: "hidden" });
    move(BACK);
  }
  listen(svg, "pointerdown", (event) => {
    if (event.button !== 0 || down.size === 2) return;
    const at = shareOf(event);
    down.set(event.pointerId, { from: at, to: at });
    svg.setPointerCapture(event.pointerId);
    if (down.size === 2) {
      pinched = true;
      hide();
      for (const pointer of down.values()) pointer.from = pointer.to;
    } else {
      showAt(event);
    }
  });
  listen(svg, "pointermove", (event) => {
    const pointer = down.get(event.pointerId);
    if (pointer) pointer.to = shareOf(event);
    if (pinched) {
      if (pointer && down.size === 2) pinch();
      return;
    }
    showAt(event);
    if (pointer && event.pointerType !== "touch") select();
  });
  listen(svg, "pointerup", (event) => {
    const pointer = down.get(event.pointerId);
    if (!pointer) return;
    down.delete(event.pointerId);
    if (pinched) {
      if (down.size === 1) {
        if (moved !== BACK) askMoved();
      } else {
        pinched = false;
      }
    } else if (dragged) {
      dragged = false;
      ask(timeAt(Math.min(pointer.from, pointer.to)), timeAt(Math.max(pointer.from, pointer.to)));
    }
  });
  listen(svg, "pointercancel", () => {
    cancel(); // the page scrolls
    hide();
  });
  listen(svg, "pointerleave", (event) => {
    if (event.pointerType === "mouse" && !down.size) hide();
  });
  listen(svg, "dblclick", () => zoom(data.from + spanMs / 2, 1 / CLOSER));
  listen(
    svg,
    "wheel",
    (event) => {
      if (!event.ctrlKey) return; // the page scrolls
      event.preventDefault();
      hide();
      const at = shareOf(event);
      const factor = Math.exp(Math.max(-50, Math.min(50, -event.deltaY)) / 100);
      const scale = Math.min(50, Math.max(0.05, moved.scale * factor));
      const ratio = scale / moved.scale;
      move({ scale, shift: at - (at - moved.shift) * ratio });
      later("wheel", askMoved);
    },
    { passive: false },
  );

  // ---- keys

  const last = data.places.length - 1;
  const keys = {
    ArrowRight: () => Math.min(last, current + 1),
    ArrowLeft: () => (current < 0 ? last : Math.max(0, current - 1)),
    Home: () => 0,
    End: () => last,
  };
  listen(svg, "keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape") {
      if (current < 0 && !down.size) return; // it is another's
      cancel();
      hide();
    } else if (keys[event.key]) {
      if (last < 0) return;
      show(keys[event.key]());
      later("live", () => {
        live.textContent = say.sentence(current);
      });
    } else if (event.key === "+" || event.key === "-") {
      const centre = current < 0 ? 0.5 : data.places[current];
      zoom(data.from + centre * spanMs, event.key === "+" ? CLOSER : 1 / CLOSER);
    } else {
      return;
    }
    event.preventDefault();
  });
  listen(svg, "blur", () => {
    if (!down.size) hide();
  });
  // What is shown is in pixels.
  const resized = new ResizeObserver(() => current >= 0 && show(current));
  resized.observe(svg);

  return {
    destroy() {
      ending.abort();
      resized.disconnect();
      Object.values(timers).forEach(clearTimeout);
      undo.reverse().forEach((act) => act());
      undo.length = 0;
    },
  };
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

const modulo = (value, by) => ((value % by) + by) % by;
const zoneMs = (ms) => new Date(ms).getTimezoneOffset() * 60000; // what is to be added to ours

// Columns are a value and then differences; see _data in charts.py.
function decoded(data) {
  let at = 0;
  data.at = data.at.map((difference) => (at += difference));
  for (const name of QUANTITIES) {
    let mean = 0;
    const [means, below, above] = data[name];
    data[name] = { mean: means.map((difference) => (mean += difference)) };
    data[name].min = data[name].mean.map((value, index) => value - below[index]);
    data[name].max = data[name].mean.map((value, index) => value + above[index]);
  }
  // in the middle of what the range has of the bucket, as they are drawn
  data.places = data.at.map((begin) => {
    const inside = (ms) => Math.min(Math.max(ms, data.from), data.to);
    return ((inside(begin) + inside(begin + data.bucket)) / 2 - data.from) / (data.to - data.from);
  });
  return data;
}

function nearest(places, share) {
  let low = 0;
  let high = places.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle] < share) low = middle + 1;
    else high = middle;
  }
  return low > 0 && share - places[low - 1] < places[low] - share ? low - 1 : low;
}

// A format takes a slow device milliseconds to make, and most are for a pointer that may not come.
function once(make) {
  let made;
  return () => (made ??= make());
}

function speaker(data, locale) {
  const fine = data.bucket < 60000 ? { second: "2-digit" } : {};
  const clock = { hour: "2-digit", minute: "2-digit" };
  const numbers = once(
    () => new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 }),
  );
  const format = (options) => once(() => new Intl.DateTimeFormat(locale, options));
  const moment = format({ day: "numeric", month: "short", year: "numeric", ...clock, ...fine });
  const zoned = format({ timeZoneName: "short" });
  const ticks = {
    second: format({ ...clock, second: "2-digit" }),
    minute: format(clock),
    day: format({ day: "numeric", month: "short" }),
    month: format({ month: "short" }),
    year: format({ year: "numeric" }),
  };
  const number = (tenths) => numbers().format(tenths / 10).replace("-", "−");
  const value = (tenths, which) => `${number(tenths)}\u00a0${data.units[which]}`;
  const element = (name, text) => {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  };
  const when = (index) => {
    const begin = data.at[index];
    if (data.bucket < 60000) return moment().format(begin);
    return moment().formatRange(begin, begin + data.bucket);
  };
  const count = (index) => {
    const readings = data.readings[index];
    return readings === 1 ? data.texts.reading : data.texts.readings.replace("{n}", readings.toLocaleString(locale));
  };
  const range = (of, index) => {
    const [low, high] = [of.min[index], of.max[index]];
    return low === high ? "" : `${number(low)} – ${number(high)}`;
  };
  return {
    tick(ms, stepS) {
      const at = new Date(ms);
      const midnight = at.getHours() + at.getMinutes() + at.getSeconds() === 0;
      if (stepS < 86400 && !midnight) return ticks[stepS < 60 ? "second" : "minute"]().format(at);
      if (stepS < 30 * 86400) return ticks.day().format(at);
      return ticks[stepS < 360 * 86400 && at.getMonth() > 0 ? "month" : "year"]().format(at);
    },
    zone: (ms) => zoned().formatToParts(ms).find((part) => part.type === "timeZoneName").value,
    lines(index) {
      const values = QUANTITIES.map((name, which) => [
        element("b", value(data[name].mean[index], which)),
        " ",
        element("small", range(data[name], index)),
      ]);
      return [[when(index)], ...values, [count(index)]];
    },
    sentence(index) {
      const values = QUANTITIES.map((name, which) => {
        const between = range(data[name], index);
        return `${data.titles[which]} ${value(data[name].mean[index], which)}${between && ` (${between})`}`;
      });
      return [when(index), ...values, count(index)].join(", ");
    },
  };
}

// What all widgets share: controls, axes, the text that is read out, and the mean over a normal variable.
//
// Before this file the page has `COLOURS`, the palette of companion.figures, and `DATA`, a widget's numbers or null.
// A widget is an object { controls, numbers, draw, say }: `numbers` is a pure function of the state, the drawing and the
// text are made of what it returns, and window.widgets has it for whoever wants to check it. Nothing moves by itself.

const widgets = (window.widgets ??= {});
const INK = "var(--widget-ink)", QUIET = "var(--widget-quiet)", GROUND = "var(--widget-ground)";
const [BLUE, ORANGE, GREEN, PINK, RED, SKY] = COLOURS.map((colour, k) => `var(--widget-${k}, ${colour})`); // lighter in the dark

// ---- numbers

const expit = (L) => (L < 0 ? Math.exp(L) / (1 + Math.exp(L)) : 1 / (1 + Math.exp(-L)));

// The entropy in nats of a choice with log-odds L.
const choiceEntropy = (L) => Math.log1p(Math.exp(-Math.abs(L))) + Math.abs(L) / (1 + Math.exp(Math.abs(L)));

// E f(L) of a normal L, by the trapezoidal rule in deviations: 601 nodes over 18 of them.
const normalMean = (f, mean, variance) => {
  const deviation = Math.sqrt(variance), step = 0.03;
  let sum = 0;
  for (let k = -300; k <= 300; k++) sum += Math.exp(-0.5 * (k * step) ** 2) * f(mean + deviation * k * step);
  return (sum * step) / Math.sqrt(2 * Math.PI);
};

// E f(L) over two Gaussian classes of one width: L is N(eta +- kappa/2, kappa), eta the prior log-odds.
const twoClassMean = (f, kappa, weight = 0.5) => {
  const eta = Math.log(weight / (1 - weight));
  const first = weight * normalMean(f, eta + kappa / 2, kappa);
  return first + (1 - weight) * normalMean(f, eta - kappa / 2, kappa);
};
const twoClassEntropy = (kappa, weight = 0.5) => twoClassMean(choiceEntropy, kappa, weight);
const twoClassProduction = (kappa, weight = 0.5) => twoClassMean((L) => 0.5 * expit(L) * expit(-L), kappa, weight);

// The zero of a function that changes its sign between two positive places, by halving in the logarithm.
const zero = (f, low, high) => {
  const sign = f(low) > 0;
  for (let k = 0; k < 50; k++) {
    const middle = Math.sqrt(low * high);
    if (f(middle) > 0 === sign) low = middle;
    else high = middle;
  }
  return Math.sqrt(low * high);
};

const range = (count, first, last) => Array.from({ length: count }, (_, k) => first + ((last - first) * k) / (count - 1));
const geometric = (count, first, last) => range(count, Math.log(first), Math.log(last)).map(Math.exp);

// ---- text

const signed = (text) => text.replace(/^-(0\.?0*)$/, "$1").replace(/-/g, "−");
const fixed = (value, digits = 2) => signed(value.toFixed(digits));
const short = (value) => {
  const size = Math.abs(value);
  if (size >= 1e5) return signed(value.toExponential(1).replace(".0", "").replace("e+", "e"));
  return signed(size >= 100 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString());
};

// ---- drawing: strings of SVG

const tag = (name, attributes, inside = "") =>
  `<${name} ${Object.entries(attributes).map(([key, value]) => `${key}="${value}"`).join(" ")}>${inside}</${name}>`;
const words = (x, y, text, more = {}) => tag("text", { x: x.toFixed(1), y: y.toFixed(1), fill: INK, ...more }, text);

const ticksOf = ({ from, to, log }) => {
  const [low, high] = [Math.min(from, to), Math.max(from, to)];
  if (log) return range(41, -20, 20).map((k) => 10 ** k).filter((t) => t >= low * 0.999 && t <= high * 1.001);
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((each) => each * power >= rough * 0.999);
  return range(9, 0, 8).map((k) => (Math.ceil(low / step - 1e-9) + k) * step).filter((t) => t <= high + step * 1e-9);
};

// A frame with its two axes: x and y are { from, to, label, log, ticks, text }; what is drawn in it is put between.
class Chart {
  constructor(left, top, width, height, x, y, title) {
    Object.assign(this, { left, top, width, height, x, y, title, parts: [], over: [] });
  }
  along({ from, to, log }, value) {
    return log ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from);
  }
  X(value) { return this.left + this.width * this.along(this.x, value); }
  Y(value) { return this.top + this.height * (1 - this.along(this.y, value)); }
  add(text) { this.parts.push(text); return this; }
  points(list) {
    const bound = (v) => Math.max(-1e4, Math.min(1e4, v)).toFixed(1);
    return list.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y))
      .map(([x, y]) => `${bound(this.X(x))},${bound(this.Y(y))}`).join(" ");
  }
  line(list, colour, more = {}) {
    return this.add(tag("polyline", { points: this.points(list), fill: "none", stroke: colour, "stroke-width": 2, ...more }));
  }
  area(list, colour, opacity = 0.25) {
    const closed = [[list[0][0], this.y.from], ...list, [list[list.length - 1][0], this.y.from]];
    return this.add(tag("polygon", { points: this.points(closed), fill: colour, "fill-opacity": opacity }));
  }
  band(first, last, colour, opacity = 0.15) {
    const [a, b] = [this.X(first), this.X(last)].map((v) => Math.min(Math.max(v, this.left), this.left + this.width));
    const box = { x: Math.min(a, b), y: this.top, width: Math.abs(b - a), height: this.height };
    return this.add(tag("rect", { ...box, fill: colour, "fill-opacity": opacity }));
  }
  upright(x, colour, more = {}) {
    const place = { x1: this.X(x), x2: this.X(x), y1: this.top, y2: this.top + this.height };
    return this.add(tag("line", { ...place, stroke: colour, "stroke-width": 1.5, ...more }));
  }
  dot(x, y, colour, hollow = false) {
    const place = { cx: this.X(x).toFixed(1), cy: this.Y(y).toFixed(1), r: hollow ? 7 : 5 };
    return this.add(tag("circle", { ...place, fill: hollow ? "none" : colour, stroke: colour, "stroke-width": 2 }));
  }
  // Lines of text, each with its colour's mark, from a corner on, or farther to the left where they need the room.
  legend(rows, wanted, y) {
    const x = Math.min(wanted, this.left + this.width - 12 - 7 * Math.max(...rows.map(([, text]) => text.length)));
    rows.forEach(([colour, text, kind], k) => {
      const at = y + 17 * k;
      const mark = kind === "dot"
        ? tag("circle", { cx: x + 8, cy: at - 4, r: 4.5, fill: colour })
        : tag("line", { x1: x, x2: x + 16, y1: at - 4, y2: at - 4, stroke: colour, "stroke-width": 2.5, "stroke-dasharray": kind || "none" });
      this.over.push(mark + words(x + 22, at, text, { "paint-order": "stroke", stroke: GROUND, "stroke-width": 4 }));
    });
    return this;
  }
  toString() {
    const { left, top, width, height, x, y } = this, bottom = top + height, clip = `c${++Chart.count}`;
    const edge = { stroke: QUIET, "stroke-width": 1 };
    let frame = tag("path", { d: `M${left} ${top}V${bottom}H${left + width}`, fill: "none", ...edge });
    for (const t of x.ticks ?? ticksOf(x)) {
      const at = this.X(t);
      frame += tag("line", { x1: at, x2: at, y1: bottom, y2: bottom + 4, ...edge });
      frame += words(at, bottom + 17, (x.text ?? short)(t), { "text-anchor": "middle" });
    }
    for (const t of y.ticks ?? ticksOf(y)) {
      const at = this.Y(t);
      frame += tag("line", { x1: left - 4, x2: left, y1: at, y2: at, ...edge });
      frame += words(left - 7, at + 4, (y.text ?? short)(t), { "text-anchor": "end" });
    }
    if (x.label) frame += words(left + width / 2, bottom + 34, x.label, { "text-anchor": "middle" });
    frame += words(left - 36, top - 10, this.title, { "font-weight": 600 });
    const hole = tag("clipPath", { id: clip }, tag("rect", { x: left - 6, y: top - 6, width: width + 12, height: height + 12 }));
    return frame + hole + tag("g", { "clip-path": `url(#${clip})` }, this.parts.join("")) + this.over.join("");
  }
}
Chart.count = Math.floor(Math.random() * 1e9); // another widget's clip paths have other names

// ---- controls

const element = (name, attributes = {}, ...inside) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
};

// A control is a slider { name, label, from, to, step, start, value, show } or a list { name, label, options, start };
// `value` makes the state's number of the slider's place.
const control = (spec, id, changed) => {
  const shown = element("output", { for: id });
  const label = element("label", { for: id }, spec.label, " ", spec.options ? "" : shown);
  const input = spec.options
    ? element("select", { id }, ...spec.options.map(([value, text]) => element("option", { value }, text)))
    : element("input", { id, type: "range", min: spec.from, max: spec.to, step: spec.step });
  const value = spec.value ?? ((each) => each);
  const read = () => (spec.options ? input.value : value(Number(input.value)));
  const tell = () => {
    if (spec.options) return;
    shown.textContent = (spec.show ?? short)(read());
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  const put = (place) => { input.value = place; tell(); };
  input.addEventListener("input", () => { tell(); changed(spec.name); });
  return { read, put, box: element("div", { class: spec.narrow ? "widget-narrow" : "widget-control" }, label, input) };
};

// Puts a widget in place of its still picture. `arranged(state, name)` of a widget may return controls to be put elsewhere.
const mount = (name) => {
  const widget = widgets[name], root = document.currentScript.closest(".widget");
  const still = root.querySelector("img"), live = root.querySelector(".widget-live");
  const said = element("p", { class: "widget-said", "aria-live": "polite", id: `${root.id}-said` });
  const holder = element("div");
  holder.innerHTML = "<svg></svg>";
  const picture = holder.firstChild;
  const attributes = { role: "img", "aria-label": still.alt, "aria-describedby": said.id };
  for (const [key, value] of Object.entries(attributes)) picture.setAttribute(key, value);
  const controls = {};
  const state = () => Object.fromEntries(Object.entries(controls).map(([key, each]) => [key, each.read()]));
  const redraw = () => {
    const width = Math.max(300, Math.floor(live.clientWidth)), now = state(), numbers = widget.numbers(now);
    const { height, inside } = widget.draw(numbers, now, width);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("height", height);
    picture.innerHTML = inside;
    const text = widget.say(numbers, now);
    if (said.textContent !== text) said.textContent = text;
  };
  const changed = (which) => {
    for (const [key, place] of Object.entries(widget.arranged?.(state(), which) ?? {})) controls[key].put(place);
    redraw();
  };
  for (const spec of widget.controls) controls[spec.name] = control(spec, `${root.id}-${spec.name}`, changed);
  const start = () => {
    for (const spec of widget.controls) controls[spec.name].put(spec.start);
  };
  const again = element("button", { type: "button" }, "Start again");
  again.addEventListener("click", () => { start(); redraw(); });
  const boxes = (narrow) => widget.controls.filter((spec) => !spec.narrow === !narrow).map(({ name: each }) => controls[each].box);
  const group = widget.group ? [element("fieldset", {}, element("legend", {}, widget.group), ...boxes(true))] : [];
  live.append(element("div", { class: "widget-controls" }, ...boxes(false), ...group, again), holder, said);
  root.classList.add("widget-runs");
  start();
  new ResizeObserver(redraw).observe(live);
};

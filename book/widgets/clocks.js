// Two Gaussian classes sqrt(d) delta apart, of deviation 1, on four clocks: each a time as a function of the log-snr.

const S = 1;
// Time from log-snr and back, |d log-snr / dt|, the last time, the time that the picture ends at, and the end's name.
const clocks = {
  "VP, constant rate": {
    time: (l) => 0.5 * Math.log1p(Math.exp(-l)), logSnr: (t) => -Math.log(Math.expm1(2 * t)),
    speed: (t) => 2 / -Math.expm1(-2 * t), last: Infinity, shown: () => 9,
  },
  "VP, linear rate": {
    time: (l) => (Math.sqrt(0.01 + 39.8 * Math.log1p(Math.exp(-l))) - 0.1) / 19.9,
    logSnr: (t) => -Math.log(Math.expm1(0.1 * t + 9.95 * t * t)),
    speed: (t) => (0.1 + 19.9 * t) / -Math.expm1(-0.1 * t - 9.95 * t * t), last: 1, shown: () => 1,
  },
  "VE, σ = t": {
    time: (l) => Math.exp(-l / 2), logSnr: (t) => -2 * Math.log(t), speed: (t) => 2 / t, last: Infinity,
    shown: (d, delta) => 1.35 * delta * Math.sqrt(d),
  },
  "rectified flow": {
    time: (l) => 1 / (1 + Math.exp(l / 2)), logSnr: (t) => 2 * Math.log((1 - t) / t), speed: (t) => 2 / (t * (1 - t)),
    last: 1, shown: () => 1,
  },
};

const decided = Object.fromEntries([0.1, 0.5, 0.9].map((share) =>
  [share, zero((kappa) => twoClassEntropy(kappa) - (1 - share) * Math.LN2, 1e-3, 100)]));

// The time at which a share of the class is decided, or null where the clean classes or the last time do not allow it.
const timeOf = (clock, share, d, delta) => {
  const noise = (d * delta ** 2) / decided[share] - S ** 2;
  const time = noise > 0 ? clock.time(-Math.log(noise)) : NaN;
  return noise > 0 && time <= clock.last ? time : null;
};

// dH/dt on a clock; what lies beyond kappa = 400 is less than 1e-22.
const perTime = (clock, t, d, delta) => {
  const noise = Math.exp(-clock.logSnr(t)), kappa = (d * delta ** 2) / (S ** 2 + noise);
  if (!(kappa > 0 && kappa < 400)) return 0;
  return kappa * (noise / (S ** 2 + noise)) * twoClassProduction(kappa) * clock.speed(t);
};

// The largest dH/dt, by golden sections of the log-snr between the neighbours of the best of 60 levels; null where the
// classes are told apart at the last time already.
const peakOf = (clock, d, delta) => {
  const apart = d * delta ** 2, end = Number.isFinite(clock.last) ? clock.logSnr(clock.last * (1 - 1e-12)) : -Infinity;
  const [first, last] = [Math.max(Math.log(1e-3 / apart), end), apart > 800 ? Math.log(400 / apart) : 25];
  if (!(first < last)) return null;
  const levels = range(60, first, last);
  const height = (l) => perTime(clock, clock.time(l), d, delta);
  const heights = levels.map(height), best = heights.indexOf(Math.max(...heights)), golden = (Math.sqrt(5) - 1) / 2;
  let [a, b] = [levels[Math.max(best - 1, 0)], levels[Math.min(best + 1, 59)]];
  for (let k = 0; k < 30; k++) {
    const [l, r] = [b - golden * (b - a), a + golden * (b - a)];
    if (height(l) < height(r)) a = l;
    else b = r;
  }
  return { time: clock.time((a + b) / 2), height: height((a + b) / 2) };
};

widgets.clocks = {
  controls: [
    { name: "d", label: "dimension d", from: 0, to: 20, step: 1, start: 8, value: (t) => 2 ** t, show: (d) => d.toLocaleString("en") },
    { name: "delta", label: "distance δ = |μ₁ − μ₂|/√d", from: 0.5, to: 4, step: 0.1, start: 2 },
  ],

  numbers({ d, delta }) {
    const found = {};
    for (const [name, clock] of Object.entries(clocks)) {
      const [first, half, last] = [0.1, 0.5, 0.9].map((share) => timeOf(clock, share, d, delta));
      found[name] = { first, half, last, window: first === null || last === null ? null : first - last, peak: peakOf(clock, d, delta) };
    }
    return found;
  },

  draw(n, { d, delta }, width) {
    const columns = width >= 620 ? 2 : 1, cell = width / columns, tints = [BLUE, GREEN, ORANGE, PINK];
    let inside = "";
    Object.entries(clocks).forEach(([name, clock], k) => {
      const { first, half, last, window, peak } = n[name], shown = clock.shown(d, delta), height = peak ? peak.height : 1;
      const [x, y] = [(k % columns) * cell + 52, Math.floor(k / columns) * 180 + 26];
      const said = window === null ? "no whole window" : `the window lasts ${short(window)}`;
      const chart = new Chart(x, y, cell - 72, 106, { from: shown, to: 0, label: "time t (noise → data)" },
        { from: 0, to: 1.15 * height, ticks: peak ? [0, height] : [0], text: (v) => (v ? short(v) : "0") }, `${name}: ${said}`);
      if (window !== null) chart.band(first, last, tints[k]);
      chart.line(range(301, shown, shown / 1e4).map((t) => [t, perTime(clock, Math.min(t, clock.last * (1 - 1e-9)), d, delta)]), INK);
      if (half !== null) chart.upright(half, BLUE, { "stroke-dasharray": "4 3" });
      if (peak) chart.dot(peak.time, peak.height, RED);
      inside += chart;
    });
    const top = (4 / columns) * 180 + 30, across = 2 * columns;
    const dims = range(81, 0, 20).map((k) => 2 ** k);
    const chart = new Chart(52, top, width - 72, 170, { from: 1, to: 2 ** 20, log: true, label: "dimension d" },
      { from: 1e-4, to: 1e4, log: true, ticks: [1e-4, 1e-2, 1, 1e2, 1e4], text: (v) => (v === 1e-4 ? "0.0001" : short(v)) },
      "Window: a tenth to nine tenths decided").upright(d, QUIET, { "stroke-dasharray": "4 3" });
    Object.entries(clocks).forEach(([name, clock], k) => {
      const widths = dims.map((each) => [each, 0.1, 0.9]).map(([each, a, b]) =>
        [each, timeOf(clock, a, each, delta) === null || timeOf(clock, b, each, delta) === null ? NaN
          : timeOf(clock, a, each, delta) - timeOf(clock, b, each, delta)]);
      chart.line(widths, tints[k]);
      if (n[name].window !== null) chart.dot(d, n[name].window, tints[k]);
    });
    Object.keys(clocks).forEach((name, k) => // below the axis, where no curve goes
      chart.legend([[tints[k], name]], 52 + ((k % across) * (width - 72)) / across, top + 228 + 17 * Math.floor(k / across)));
    return { height: top + 222 + (4 / across) * 17, inside: inside + chart };
  },

  say(n, { d }) {
    const of = Object.entries(n).map(([name, { half, window }]) => half === null ? `${name}: never half decided`
      : `${name}: half at time ${short(half)}, ${window === null ? "no whole window" : `window ${short(window)}`}`);
    return `d = ${d.toLocaleString("en")}. ${of.join("; ")}.`;
  },
};

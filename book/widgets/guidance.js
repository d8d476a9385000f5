// Two Gaussian classes of one width, paths guided to one of them: the law of its log-odds L over kappa.
//
//     diffusion:  dL = (1/2 + (w - 1) logistic(-L)) dkappa + dB      flow:  dr/dtau = 1/2 + (w - 1) logistic(-tau r),
//
// tau = sqrt(kappa) and L = tau r, from r standard normal. The weight is w inside an interval of kappa and 1 outside.

const LAST = 40, SURE = 8; // the last kappa; and -SURE is the first power of two of an interval, which means from nothing
const surprise = (L) => (L < 0 ? -L : 0) + Math.log1p(Math.exp(-Math.abs(L)));
const shown = [0, ...geometric(49, 0.02, LAST)];

// The kappas at which means are wanted, with both ends of the interval among them.
const places = (low, high) => [...new Set([...shown, low, high].filter((k) => k <= LAST))].sort((a, b) => a - b);
const acts = (from, to, w, low, high) => (from >= low * (1 - 1e-12) && to <= high * (1 + 1e-12) ? w - 1 : 0);

// The flow from 121 deviations by Runge and Kutta's rule, in steps of tau of at most 0.05.
const flowLaws = (w, low, high) => {
  const start = range(121, -7.5, 7.5), weights = start.map((u) => (Math.exp(-0.5 * u * u) * 0.125) / Math.sqrt(2 * Math.PI));
  const kappas = places(low, high), laws = [{ kappa: 0, L: start.map(() => 0), weights }];
  let r = start;
  for (let k = 1; k < kappas.length; k++) {
    const [a, b] = [Math.sqrt(kappas[k - 1]), Math.sqrt(kappas[k])], steps = Math.ceil((b - a) / 0.05), h = (b - a) / steps;
    const push = acts(kappas[k - 1], kappas[k], w, low, high);
    const slope = (tau, x) => 0.5 + push * expit(-tau * x);
    for (let j = 0; j < steps; j++) {
      const tau = a + j * h;
      r = r.map((x) => {
        const p = slope(tau, x), q = slope(tau + h / 2, x + (h / 2) * p), s = slope(tau + h / 2, x + (h / 2) * q);
        return x + (h / 6) * (p + 2 * q + 2 * s + slope(tau + h, x + h * s));
      });
    }
    laws.push({ kappa: kappas[k], L: r.map((x) => b * x), weights });
  }
  return laws;
};

// The diffusion's equation for the density, by centred differences in L and Crank and Nicolson's rule in kappa.
const densityLaws = (w, low, high, spacing, refine) => {
  const first = -16, count = Math.round(66 / spacing) + 1, L = range(count, first, first + 66), kappas = places(low, high);
  const drift = (push) => L.map((each) => 0.5 + push * expit(-each));
  let p = L.map(() => 0);
  p[Math.round(-first / spacing)] = 1; // L = 0: all weight on one node
  const laws = [{ kappa: 0, L, weights: p }];
  for (let k = 1; k < kappas.length; k++) {
    const [a, b] = [Math.sqrt(kappas[k - 1]), Math.sqrt(kappas[k])], steps = refine * Math.max(2, Math.ceil((b - a) / 0.05));
    const speed = drift(acts(kappas[k - 1], kappas[k], w, low, high));
    for (let j = 0; j < steps; j++) {
      const h = (a + ((b - a) * (j + 1)) / steps) ** 2 - (a + ((b - a) * j) / steps) ** 2;
      // The first two steps are Euler's, four of a quarter: they take the roughness off a point mass.
      p = k === 1 && j < 2 * refine ? [1, 1, 1, 1].reduce((q) => implicit(q, speed, h / 4, spacing, 1), p) : implicit(p, speed, h, spacing, 0.5);
    }
    laws.push({ kappa: kappas[k], L, weights: p });
  }
  return laws;
};

// (1 - share h A) q = (1 + (1 - share) h A) p for A p = -(speed p)' + p''/2, a tridiagonal system.
const implicit = (p, speed, h, spacing, share) => {
  const n = p.length, d = 0.5 / spacing ** 2, up = new Float64Array(n), q = new Float64Array(n);
  const before = (k) => d + speed[k - 1] / (2 * spacing), after = (k) => d - speed[k + 1] / (2 * spacing);
  let beta = 0;
  for (let k = 0; k < n; k++) {
    const left = k > 0 ? before(k) : 0, right = k < n - 1 ? after(k) : 0, a = -share * h * left;
    const known = p[k] + (1 - share) * h * ((k > 0 ? left * p[k - 1] : 0) - 2 * d * p[k] + (k < n - 1 ? right * p[k + 1] : 0));
    beta = 1 + 2 * share * h * d - (k > 0 ? a * up[k - 1] : 0);
    up[k] = (-share * h * right) / beta;
    q[k] = (known - (k > 0 ? a * q[k - 1] : 0)) / beta;
  }
  for (let k = n - 2; k >= 0; k--) q[k] -= up[k] * q[k + 1];
  return q;
};

const meanOf = (f, { L, weights }) => L.reduce((sum, each, k) => sum + weights[k] * f(each), 0);

// Curves of cross entropy and posterior entropy; the diffusion's error is of second order, and taken off by two spacings.
const kept = new Map();
const curves = (sampler, w, low, high) => {
  const key = [sampler, w, low, high].join();
  if (!kept.has(key)) {
    const laws = sampler === "flow" ? flowLaws(w, low, high) : densityLaws(w, low, high, 0.1, 2);
    const rough = sampler === "flow" ? null : densityLaws(w, low, high, 0.2, 1);
    const mean = (f) => laws.map((law, k) => {
      const fine = meanOf(f, law);
      return rough ? fine + (fine - meanOf(f, rough[k])) / 3 : fine;
    });
    if (kept.size > 20) kept.clear();
    kept.set(key, { laws, kappa: laws.map((law) => law.kappa), cross: mean(surprise), entropy: mean(choiceEntropy) });
  }
  return kept.get(key);
};

// Where a curve is first at half of log 2: log kappa as the cubic in the curve through four points; null if it never is.
const halfOf = (kappa, curve) => {
  const aim = Math.LN2 / 2, k = curve.findIndex((value) => value <= aim);
  if (k < 0) return null;
  const near = [-2, -1, 0, 1].map((j) => Math.min(Math.max(k, 3), curve.length - 2) + j);
  const part = (i) => near.reduce((all, j) => (i === j ? all : (all * (aim - curve[j])) / (curve[i] - curve[j])), 1);
  return Math.exp(near.reduce((sum, i) => sum + part(i) * Math.log(kappa[i]), 0));
};

widgets.guidance = {
  controls: [
    { name: "w", label: "guidance weight w", from: 1, to: 7, step: 0.1, start: 4 },
    { name: "low", label: "guided from κ =", from: -SURE, to: 5, step: 0.25, start: -SURE, value: (t) => (t <= -SURE ? 0 : 2 ** t) },
    { name: "high", label: "guided up to κ =", from: -5, to: 5.25, step: 0.25, start: 5.25, value: (t) => (t < 5.25 ? 2 ** t : LAST) },
    { name: "place", label: "look at point", from: 1, to: 49, step: 1, start: 28, value: (k) => shown[k], show: (k) => `κ = ${short(k)}` },
    { name: "sampler", label: "paths of the", options: [["diffusion", "reverse diffusion"], ["flow", "probability flow"]], start: "diffusion" },
  ],

  arranged({ low, high }, changed) {
    if (low < high) return {};
    return changed === "low" ? { high: 5.25 } : { low: -SURE };
  },

  numbers({ w, low, high, place, sampler }) {
    const found = curves(sampler, w, low, high), k = found.kappa.findIndex((kappa) => kappa >= place * (1 - 1e-9)), law = found.laws[k];
    return {
      kappa: found.kappa, cross: found.cross, entropy: found.entropy,
      at: { cross: found.cross[k], entropy: found.entropy[k], mean: meanOf((L) => L, law), law },
      half: { cross: halfOf(found.kappa, found.cross), entropy: halfOf(found.kappa, found.entropy) },
    };
  },

  draw(n, { w, low, high, place, sampler }, width) {
    const wide = width >= 620, half = wide ? width / 2 : width, drawn = n.kappa.map((kappa, k) => [kappa, n.cross[k], n.entropy[k]]).slice(1);
    const without = shown.slice(1).map((kappa) => [kappa, twoClassEntropy(kappa)]);
    const curve = new Chart(44, 30, half - 64, 220, { from: 0.02, to: LAST, log: true, label: "control parameter κ (noise → data)" },
      { from: 0, to: wide ? 0.8 : 1, ticks: [0, 0.2, 0.4, 0.6] }, "What is left on guided paths (nats)")
      .line(without, QUIET, { "stroke-dasharray": "4 3" })
      .line(drawn.map(([k, c]) => [k, c]), BLUE).line(drawn.map(([k, , e]) => [k, e]), RED)
      .upright(place, QUIET).dot(place, n.at.cross, BLUE, true).dot(place, n.at.entropy, RED, true);
    if (low > 0 || high < LAST) curve.band(Math.max(low, 0.02), high, SKY, 0.2);
    for (const [name, colour] of [["cross", BLUE], ["entropy", RED]]) if (n.half[name]) curve.dot(n.half[name], Math.LN2 / 2, colour);
    curve.legend([[BLUE, "cross entropy"], [RED, "posterior entropy"], [QUIET, "both, unguided", "4 3"]], half - 170, 44);
    const { law } = n.at, spread = Math.sqrt(place), from = Math.min(-3, place / 2 - 3.5 * spread), to = place / 2 + 4 * spread + 6, x = { from, to, label: "log-odds L of the class that guides" };
    const density = law.L.map((L, k) => { // per unit of L
      const gap = k > 0 && k < law.L.length - 1 ? (law.L[k + 1] - law.L[k - 1]) / 2 : Infinity;
      return [L, law.weights[k] / gap];
    });
    const plain = range(321, from, to).map((L) => [L, Math.exp((-0.5 * (L - place / 2) ** 2) / place) / Math.sqrt(2 * Math.PI * place)]);
    const top = 1.25 * Math.max(...density.map(([, y]) => y), ...plain.map(([, y]) => y));
    const right = new Chart(wide ? half + 44 : 44, wide ? 30 : 330, half - 64, 220, x, { from: 0, to: top },
      `At κ = ${short(place)} the mean log-odds are ${short(n.at.mean)}`)
      .area(density, BLUE).line(density, BLUE).line(plain, QUIET, { "stroke-dasharray": "4 3" })
      .legend([[BLUE, "guided"], [QUIET, "unguided paths of the class", "4 3"]], (wide ? half : 0) + half * 0.44, wide ? 44 : 344);
    return { height: wide ? 290 : 595, inside: `${curve}${right}` };
  },

  say(n, { w, low, high, place, sampler }) {
    const where = low > 0 || high < LAST ? `for κ from ${short(low)} to ${short(high)}` : "everywhere";
    const at = (half) => (half === null ? `not before κ = ${LAST}` : `at κ = ${short(half)}`);
    return `Weight ${fixed(w, 1)} ${where}, ${sampler}: the cross entropy is half of log 2 ${at(n.half.cross)}, the posterior entropy ` +
      `${at(n.half.entropy)}, and both at κ = 4.18 without guidance. At κ = ${short(place)} they are ${fixed(n.at.cross, 3)} and ` +
      `${fixed(n.at.entropy, 3)} nats, and the mean log-odds are ${fixed(n.at.mean)}.`;
  },
};

// Two Gaussian classes of one width, drawn as two points at +1 and -1 in the noise that gives kappa = 4 / sigma^2.

// The landmarks of a weight do not change while kappa is moved.
const known = new Map();
const landmarks = (weight) => {
  if (!known.has(weight)) {
    const prior = choiceEntropy(Math.log(weight / (1 - weight)));
    const offset = 0.5 * Math.abs(Math.log(weight / (1 - weight)));
    const split = (kappa) => { // the fold at which a second hump appears
      const y = Math.sqrt(1 - 4 / kappa);
      return (kappa / 4) * y - Math.atanh(y) - offset;
    };
    const fastest = (kappa) => {
      const curvature = twoClassMean((L) => 0.5 * (expit(L) * expit(-L)) ** 2, kappa, weight);
      return twoClassProduction(kappa, weight) - kappa * curvature;
    };
    const varies = (kappa) => { // the slope of the variance of h_b(L)
      const square = twoClassMean((L) => (L * expit(L) * expit(-L)) ** 2, kappa, weight);
      const product = twoClassMean((L) => choiceEntropy(L) * expit(L) * expit(-L), kappa, weight);
      return square - product + 2 * twoClassEntropy(kappa, weight) * twoClassProduction(kappa, weight);
    };
    known.set(weight, {
      prior,
      split: offset === 0 ? 4 : zero(split, 4, 200),
      half: zero((kappa) => twoClassEntropy(kappa, weight) - prior / 2, 0.1, 100),
      varies: zero(varies, 1, 20),
      fastest: zero(fastest, 0.1, 100),
    });
  }
  return known.get(weight);
};

widgets.two_classes = {
  controls: [
    { name: "kappa", label: "control parameter κ", from: -5, to: 5, step: 0.05, start: 0, value: (t) => 4 * 2 ** t },
    { name: "weight", label: "weight of the class at +1", from: 0.05, to: 0.95, step: 0.05, start: 0.5 },
    { name: "x", label: "state x", from: -3, to: 3, step: 0.05, start: 0.5 },
  ],

  numbers({ kappa, weight, x = 0 }) {
    const logOdds = Math.log(weight / (1 - weight)) + (kappa * x) / 2, found = landmarks(weight);
    const entropy = twoClassEntropy(kappa, weight);
    return {
      ...found,
      entropy,
      left: entropy / found.prior,
      production: kappa * twoClassProduction(kappa, weight),
      humps: kappa > found.split ? 2 : 1,
      logSnr: Math.log(kappa / 4),
      posterior: expit(logOdds),
      open: choiceEntropy(logOdds),
    };
  },

  draw(n, { kappa, weight, x }, width) {
    const wide = width >= 620, half = wide ? width / 2 : width, left = 44;
    const deviation = Math.sqrt(4 / kappa), xs = range(241, -3, 3);
    const of = (mean, share) => xs.map((at) => [at, share * Math.exp(-0.5 * ((at - mean) / deviation) ** 2)]);
    const [up, down] = [of(1, weight), of(-1, 1 - weight)], sum = xs.map((at, k) => [at, up[k][1] + down[k][1]]);
    const top = Math.max(...sum.map(([, y]) => y));
    const scaled = (list) => list.map(([at, y]) => [at, y / top]);
    const across = { from: -3, to: 3, ticks: [-2, -1, 0, 1, 2] };
    const humps = n.humps === 1 ? "One hump" : "Two humps";
    const density = new Chart(left, 30, half - left - 20, 110, across, { from: 0, to: 1.5, ticks: [] }, `${humps}: the density of states`)
      .area(scaled(up), BLUE).area(scaled(down), ORANGE).line(scaled(sum), INK).upright(x, RED, { "stroke-dasharray": "4 3" })
      .legend([[BLUE, "class at +1"], [ORANGE, "class at −1"]], left + 8, 44);
    const odds = Math.log(weight / (1 - weight));
    const curve = xs.map((at) => [at, expit(odds + (kappa * at) / 2)]);
    const posterior = new Chart(left, 190, half - left - 20, 110, { ...across, label: "state x = x₀ + σε" },
      { from: 0, to: 1, ticks: [0, 0.5, 1] }, `At x = ${fixed(x)} the class +1 has posterior ${fixed(n.posterior)}`)
      .line(curve, BLUE).upright(x, RED, { "stroke-dasharray": "4 3" }).dot(x, n.posterior, RED);
    const kappas = geometric(121, 0.1, 150);
    const [l, t] = wide ? [half + left + 4, 30] : [left, 370];
    const entropy = new Chart(l, t, half - left - 24, wide ? 270 : 220, { from: 0.1, to: 150, log: true, label: "control parameter κ" },
      { from: 0, to: wide ? 0.75 : 1.1, ticks: [0, 0.2, 0.4, 0.6] }, `${fixed(100 * n.left, 0)}% of the class entropy is left (nats)`)
      .line(kappas.map((k) => [k, twoClassEntropy(k, weight)]), INK).upright(kappa, RED, { "stroke-dasharray": "4 3" });
    const marks = [[GREEN, "a second hump", n.split], [BLUE, "half is left", n.half], [PINK, "varies most over x", n.varies],
      [ORANGE, "falls fastest in log κ", n.fastest]];
    for (const [colour, , at] of marks) entropy.dot(at, twoClassEntropy(at, weight), colour);
    entropy.dot(kappa, n.entropy, RED, true);
    const column = l + (half - left - 24) * 0.44;
    entropy.legend(marks.map(([colour, text, at]) => [colour, `${text}: ${fixed(at)}`, "dot"]), column, t + 12);
    return { height: wide ? 345 : 640, inside: `${density}${posterior}${entropy}` };
  },

  say(n, { kappa, weight, x }) {
    return `κ = ${fixed(kappa)}, which is log-snr ${fixed(n.logSnr)} for points at ±1: ${fixed(n.entropy, 3)} nats ` +
      `of ${fixed(n.prior, 3)} are left, and ${fixed(n.production, 3)} go per unit of log κ. ` +
      `The density has ${n.humps === 1 ? "one hump" : "two humps"}. At x = ${fixed(x)} the class at +1 has posterior ` +
      `${fixed(n.posterior, 3)}. With weight ${fixed(weight)} the landmarks are: second hump at κ = ${fixed(n.split)}, ` +
      `half entropy at ${fixed(n.half)}, largest variance at ${fixed(n.varies)}, fastest fall at ${fixed(n.fastest)}.`;
  },
};

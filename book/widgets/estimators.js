// The error of two estimators at the worst level: its bias without sampling, by the number of levels, and chance.
//
//     error^2 = bias^2 + deviation^2 300 / paths,    deviation that of 300 paths, at 64 levels
//
// DATA: `levels`; for each case its title and of each rule the bias at these levels and the deviation; and `measured`,
// errors of whole runs of one case.

const RULES = { published: ORANGE, default: BLUE };

const errorOf = (each, step, paths) => {
  const bias = Math.abs(each.bias[step]), chance = each.deviation * Math.sqrt(300 / paths);
  return { bias, chance, error: Math.hypot(bias, chance) };
};

widgets.estimators = {
  controls: [
    { name: "which", label: "two Gaussian classes", options: Object.entries(DATA.cases).map(([key, { title }]) => [key, title]), start: "near" },
    { name: "step", label: "noise levels", from: 0, to: DATA.levels.length - 1, step: 1, start: 1, show: (k) => String(DATA.levels[k]) },
    { name: "paths", label: "paths", from: 2, to: 4.5, step: 0.02, start: 2.5, value: (t) => Math.round(10 ** t), show: (v) => v.toLocaleString("en") },
  ],

  numbers({ which, step, paths }) {
    const found = { evaluations: 2 * DATA.levels[step] * paths };
    for (const rule of Object.keys(RULES)) {
      found[rule] = errorOf(DATA.cases[which][rule], step, paths);
    }
    return found;
  },

  draw(n, { which, step, paths }, width) {
    const wide = width >= 620, half = wide ? width / 2 : width, { cases, levels, measured, target } = DATA;
    const error = { from: 3e-5, to: 0.2, log: true, ticks: [1e-4, 1e-3, 1e-2, 1e-1], text: (v) => String(v) };
    const title = `${levels[step]} levels: published ${short(n.published.error)}, default ${short(n.default.error)}`;
    const left = new Chart(52, 30, half - 72, 230, { from: 30, to: 32000, log: true, label: "paths" }, { ...error, label: "" }, title);
    const right = new Chart(wide ? half + 52 : 52, wide ? 30 : 340, half - 72, 230, { from: 28, to: 600, log: true, ticks: levels, label: "noise levels" },
      error, "Bias without sampling (nats)");
    for (const [rule, colour] of Object.entries(RULES)) {
      const each = cases[which][rule];
      left.line(geometric(61, 30, 32000).map((m) => [m, errorOf(each, step, m).error]), colour)
        .line([[30, n[rule].bias], [32000, n[rule].bias]], colour, { "stroke-dasharray": "2 4", "stroke-width": 1.5 })
        .dot(paths, n[rule].error, colour);
      right.line(levels.map((l, k) => [l, Math.abs(each.bias[k])]), colour).dot(levels[step], n[rule].bias, colour);
      if (which === measured.case && levels[step] === measured.levels) {
        measured.paths.forEach((m, k) => left.dot(m, measured[rule][k], colour, true));
      }
    }
    for (const chart of [left, right]) chart.line([[chart.x.from, target], [chart.x.to, target]], QUIET, { "stroke-width": 1 });
    left.upright(paths, QUIET, { "stroke-dasharray": "4 3" })
      .legend([[ORANGE, "published"], [BLUE, "default"], [QUIET, "a hundredth of a nat"]], 64, 205);
    return { height: wide ? 305 : 615, inside: `${left}${right}` };
  },

  say(n, { step, paths }) {
    const of = Object.keys(RULES).map((rule) => {
      const { bias, chance, error } = n[rule];
      const enough = bias < DATA.target ? "" : ", which no number of paths brings to 0.01 at this number of levels";
      return `The ${rule} rule’s error is ${short(error)} nats, of bias ${short(bias)} and chance ${short(chance)}${enough}`;
    });
    return `${DATA.levels[step]} levels and ${paths.toLocaleString("en")} paths take ${n.evaluations.toLocaleString("en")} evaluations. ${of.join(". ")}.`;
  },
};

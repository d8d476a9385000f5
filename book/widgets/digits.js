// Three trajectories of the digits network, from noise to data, with the posterior of the ten digits at each level.
//
// DATA: `log_snr` of the levels; for each path its seed, the digit asked for, and at each level the state and the
// prediction as 64 hexadecimal greys, row by row, and the posterior in ten-thousandths.

const at = (path, level) => DATA.paths[path].levels[level];

const picture = (greys, left, top, size) => {
  let inside = "";
  for (let k = 0; k < 64; k++) {
    const shade = 255 - 17 * parseInt(greys[k], 16), cell = size / 8;
    const place = { x: left + cell * (k % 8), y: top + cell * Math.floor(k / 8), width: cell + 0.5, height: cell + 0.5 };
    inside += tag("rect", { ...place, fill: `rgb(${shade},${shade},${shade})` });
  }
  return inside + tag("rect", { x: left, y: top, width: size, height: size, fill: "none", stroke: QUIET });
};

const entropyOf = (posterior) => posterior.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0);
const posteriorOf = (path, level) => {
  const counts = at(path, level).posterior, all = counts.reduce((sum, each) => sum + each, 0);
  return counts.map((each) => each / all);
};

widgets.digits = {
  controls: [
    { name: "path", label: "trajectory", options: DATA.paths.map(({ seed }, k) => [k, `seed ${seed}`]), start: 0 },
    { name: "level", label: "log-snr, noise to data", from: 0, to: DATA.log_snr.length - 1, step: 1, start: 22, show: (k) => fixed(DATA.log_snr[k]) },
  ],

  numbers({ path, level }) {
    const posterior = posteriorOf(path, level), likely = posterior.indexOf(Math.max(...posterior));
    return { logSnr: DATA.log_snr[level], digit: DATA.paths[path].digit, posterior, likely, entropy: entropyOf(posterior) };
  },

  draw(n, { path, level }, width) {
    const wide = width >= 620, size = wide ? 120 : 130, { state, prediction } = at(path, level);
    let inside = words(8, 20, "State (noisy)", { "font-weight": 600 }) + picture(state, 8, 30, size);
    inside += words(24 + size, 20, "Prediction", { "font-weight": 600 }) + picture(prediction, 24 + size, 30, size);
    const [x, y, w] = wide ? [2 * size + 84, 30, width - 2 * size - 104] : [44, 205, width - 64];
    const chart = new Chart(x, y, w, size, { from: -0.6, to: 9.6, ticks: range(10, 0, 9) }, { from: 0, to: 1, ticks: [0, 0.5, 1] },
      `Posterior: most likely ${n.likely}, probability ${fixed(n.posterior[n.likely])}`);
    n.posterior.forEach((p, k) => chart.area([[k - 0.35, p], [k + 0.35, p]], k === n.digit ? RED : BLUE, 1));
    const entropies = DATA.log_snr.map((l, k) => [l, entropyOf(posteriorOf(path, k))]);
    const below = y + size + 60, x2 = { from: DATA.log_snr[0], to: DATA.log_snr[DATA.log_snr.length - 1], label: "log-snr (noise → data)" };
    const curve = new Chart(44, below, width - 64, 110, x2, { from: 0, to: 2.5, ticks: [0, 1, 2] }, `${fixed(n.entropy)} of ${fixed(Math.log(10))} nats are open on this path`)
      .line(entropies, INK).upright(n.logSnr, QUIET).dot(n.logSnr, n.entropy, RED);
    return { height: below + 155, inside: `${inside}${chart}${curve}` };
  },

  say(n, { path }) {
    const ranked = n.posterior.map((p, k) => [p, k]).sort((a, b) => b[0] - a[0]).slice(0, 3);
    return `Seed ${DATA.paths[path].seed}, log-snr ${fixed(n.logSnr)}: ${ranked.map(([p, k]) => `${k} with ${fixed(p, 3)}`).join(", ")}; ` +
      `${fixed(n.entropy, 3)} nats open. The digit asked for is ${n.digit} (the orange bar), and the posterior was not told.`;
  },
};

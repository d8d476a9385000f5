// Eight points on a line in a tree: two halves, each of two quarters of two points; each distance is `ratio` of the one before.

const CLASSES = range(8, 0, 7);
const QUESTIONS = {
  half: ["which half", "AAAABBBB"], quarter: ["which quarter of the first half", "AABB----"], point: ["which of the first two", "AB------"],
  one: ["the first against all others", "ABBBBBBB"], parity: ["odd against even", "ABABABAB"], own: ["my own", null],
};
const POINTS = (ratio) => CLASSES.map((k) => [1, ratio, ratio * ratio].reduce((x, size, bit) => x + size * ((k >> (2 - bit)) & 1 ? 1 : -1), 0));

// Means over the noised states of each class, by the trapezoidal rule in deviations: 71 nodes over 14 of them.
// Returned are the entropies, in nats, of all classes, of the half, of the quarter given the half, of the point given the
// quarter, and of the asked question among the classes that it is about; sides are weighted by their classes.
const entropiesAt = (logSnr, points, sides) => {
  const sigma = Math.exp(-logSnr / 2), count = CLASSES.filter((k) => sides[k] !== "-").length;
  const found = { all: 0, half: 0, quarter: 0, point: 0, asked: 0 }, surprise = new Float64Array(8);
  for (const i of CLASSES) {
    for (let j = -35; j <= 35; j++) {
      const u = 0.2 * j, weight = (0.2 * Math.exp(-0.5 * u * u)) / Math.sqrt(2 * Math.PI);
      let least = Infinity, all = 0, half = 0, quarter = 0, same = 0, both = 0;
      for (let k = 0; k < 8; k++) {
        surprise[k] = 0.5 * (u + (points[i] - points[k]) / sigma) ** 2;
        least = Math.min(least, surprise[k]);
      }
      for (let k = 0; k < 8; k++) {
        const like = Math.exp(least - surprise[k]);
        all += like;
        if (k >> 2 === i >> 2) half += like;
        if (k >> 1 === i >> 1) quarter += like;
        if (sides[k] === sides[i]) same += like;
        if (sides[k] !== "-") both += like;
      }
      const point = least - surprise[i];
      found.all += (weight * (Math.log(all) - point)) / 8;
      found.half += (weight * Math.log(all / half)) / 8;
      found.quarter += (weight * Math.log(half / quarter)) / 8;
      found.point += (weight * (Math.log(quarter) - point)) / 8;
      if (sides[i] !== "-") found.asked += (weight * Math.log(both / same)) / count;
    }
  }
  return found;
};

// The log-snr at which half of an entropy is left, between -12 and 40: nine halvings, then five secants.
const halfLevel = (curve, prior) => {
  let [low, high] = [-12, 40];
  for (let k = 0; k < 9; k++) {
    const middle = (low + high) / 2;
    if (curve(middle) > prior / 2) low = middle;
    else high = middle;
  }
  let [a, b] = [low, high], [at, bt] = [a, b].map((level) => curve(level) - prior / 2);
  for (let k = 0; k < 5 && Math.abs(bt - at) > 1e-14; k++) {
    [a, at, b] = [b, bt, b - (bt * (b - a)) / (bt - at)];
    bt = curve(b) - prior / 2;
  }
  return b;
};

const kept = new Map();
const halfOf = (points, sides, prior) => halfLevel((level) => entropiesAt(level, points, sides).asked, prior);
const branched = new Map();
const branchings = (ratio) => {
  const names = ["half", "quarter", "point"], find = (name) => halfOf(POINTS(ratio), QUESTIONS[name][1], Math.LN2);
  if (!branched.has(ratio)) branched.set(ratio, Object.fromEntries(names.map((name) => [name, find(name)])));
  return branched.get(ratio);
};
const profileOf = (ratio, sides) => {
  const key = `${ratio} ${sides}`;
  if (!kept.has(key)) {
    const points = POINTS(ratio), share = [...sides].filter((s) => s === "A").length / [...sides].filter((s) => s !== "-").length;
    const whole = share > 0 && share < 1, prior = whole ? choiceEntropy(Math.log(share / (1 - share))) : 0;
    const at = (level) => entropiesAt(level, points, sides), levels = range(66, -5, 8);
    if (kept.size > 30) kept.clear();
    kept.set(key, {
      points, prior, levels, curves: levels.map(at),
      half: {
        asked: whole ? halfOf(points, sides, prior) : null,
        ...branchings(ratio),
      },
    });
  }
  return kept.get(key);
};

const sidesOf = (state) => CLASSES.map((k) => state[`side${k}`]).join("");

widgets.tree = {
  group: "side of each point",
  controls: [
    { name: "ratio", label: "each distance, as a share of the one before", from: 0.1, to: 0.5, step: 0.01, start: 0.25 },
    { name: "level", label: "log-snr looked at", from: -5, to: 8, step: 0.1, start: 0.5 },
    { name: "question", label: "question", options: Object.entries(QUESTIONS).map(([key, [text]]) => [key, text]), start: "quarter" },
    ...CLASSES.map((k) => ({
      name: `side${k}`, label: `point ${k + 1}`, narrow: true, options: [["A", "A"], ["B", "B"], ["-", "out"]], start: QUESTIONS.quarter[1][k],
    })),
  ],

  arranged(state, changed) {
    if (changed.startsWith("side")) return { question: "own" };
    const sides = changed === "question" && QUESTIONS[state.question][1];
    return sides ? Object.fromEntries(CLASSES.map((k) => [`side${k}`, sides[k]])) : {};
  },

  numbers(state) {
    const sides = sidesOf(state), found = profileOf(state.ratio, sides);
    return { ...found, sides, at: entropiesAt(state.level, found.points, sides) };
  },

  draw(n, { level }, width) {
    const x = { from: -5, to: 8 }, reach = 1.25 * n.points[7], tint = { A: BLUE, B: ORANGE, "-": QUIET };
    const narrow = width < 620, tree = new Chart(44, 30, width - 90, 170, x, { from: -reach, to: reach, ticks: [] }, "Each branching is where it is half decided");
    const middle = (ks) => ks.reduce((sum, k) => sum + n.points[k], 0) / ks.length;
    const branch = (from, members, names) => { // from a level on, these points are one branch
      const at = names.length ? Math.min(n.half[names[0]], x.to) : x.to;
      tree.line([[from, middle(members)], [Math.max(from, at), middle(members)]], INK, { "stroke-width": 1.5 });
      if (members.length === 1) return;
      const cut = members.length / 2, [low, high] = [members.slice(0, cut), members.slice(cut)];
      tree.line([[at, middle(low)], [at, middle(high)]], INK, { "stroke-width": 1.5 });
      for (const part of [low, high]) branch(at, part, names.slice(1));
    };
    branch(x.from, CLASSES, ["half", "quarter", "point"]);
    for (const k of CLASSES) {
      const text = n.sides[k] === "-" ? "·" : n.sides[k], place = [tree.X(x.to) + 8 + 12 * (k % 2), tree.Y(n.points[k]) + 4];
      tree.over.push(words(...place, text, { fill: tint[n.sides[k]], "font-weight": 700 }));
    }
    const lower = new Chart(44, 256, width - 90, 190, { ...x, label: "log-snr (noise → data)" }, { from: 0, to: narrow ? 4 : 2.2, ticks: [0, 0.5, 1, 1.5, 2] },
      n.half.asked === null ? "Give A and B a point each" : `The question is half decided at log-snr ${fixed(n.half.asked)}`);
    const curve = (name) => n.levels.map((l, k) => [l, n.curves[k][name]]);
    if (n.half.asked !== null) lower.line(curve("asked"), RED, { "stroke-width": 7, "stroke-opacity": 0.45 });
    const drawn = [["all", INK, "all eight points", "none"], ["half", GREEN, "which half", "5 3"], ["quarter", PINK, "which quarter, given the half", "5 3"],
      ["point", SKY, "which point, given the quarter", "5 3"]];
    for (const [name, colour, , dash] of drawn) lower.line(curve(name), colour, { "stroke-dasharray": dash });
    for (const chart of [tree, lower]) {
      chart.upright(level, QUIET);
      if (n.half.asked !== null && n.half.asked < x.to) chart.upright(n.half.asked, RED, { "stroke-dasharray": "4 3" });
    }
    if (n.half.asked !== null) lower.dot(n.half.asked, n.prior / 2, RED);
    const right = Math.max(44 + (width - 90) * 0.5, width - 290);
    lower.legend([...drawn.map(([, colour, text, dash]) => [colour, text, dash]), [RED, "the question, A or B (wide)"]], right, 272);
    return { height: 496, inside: `${tree}${lower}` };
  },

  say(n, { level }) {
    const { all, half, quarter, point, asked } = n.at;
    const question = n.half.asked === null ? "The question has no points on one side."
      : `The question has ${fixed(asked, 3)} of ${fixed(n.prior, 3)} nats left, and is half decided at log-snr ${fixed(n.half.asked)}.`;
    return `At log-snr ${fixed(level, 1)} the entropy of all eight is ${fixed(all, 3)} nats: ${fixed(half, 3)} for the half, ` +
      `${fixed(quarter, 3)} for the quarter and ${fixed(point, 3)} for the point. ${question}`;
  },
};

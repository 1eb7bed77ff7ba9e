// ---- the representation map -----------------------------------------------------------------------------------------

class RolloutMap {
  constructor(element, onClick) {
    this.plane = new Plane(element, {
      onClick,
      onDraw: (context, toScreen) => this.paint(context, toScreen),
      onHover: (place) => [make("b", {}, domainOf(this.run, place) + ", " + verdictOf(this.run, place)), make("span", {}, teaser(this.run, place, 200))],
    });
    this.labels = [make("span", { class: "axis across" }), make("span", { class: "axis up" })];
    element.append(...this.labels);
    this.shown = "";
  }

  draw(run, state, visible) {
    const at = run.at[state.space];
    Object.assign(this, { run, state, at });
    this.visible = visible.filter((place) => at[0][place] !== null);
    const key = run.run + "/" + state.space;
    if (key !== this.shown) {
      this.shown = key;
      this.plane.setBounds([...range(at[0]), ...range(at[1])]);
    }
    const pairs = (state.place !== null && run.pairs[state.place]) || { positives: [], negatives: [] };
    // Those met stay clickable where a filter hides them.
    const met = [...pairs.negatives, ...pairs.positives].map((pair) => pair[0]).filter((place) => at[0][place] !== null);
    this.plane.setPoints([...new Set([...this.visible, ...met])].map((place) => [at[0][place], at[1][place], place]));
    const shares = run.explained[state.space];
    const percent = (share) => (100 * share).toFixed(0) + "%";
    this.labels.forEach((label, number) => { label.textContent = `component ${number + 1}, ${percent(shares[number])} of the variance`; });
    return { missing: visible.length - this.visible.length, held: percent(shares[0] + shares[1]) };
  }

  paint(context, toScreen) {
    const { run, state, at, visible } = this;
    const screen = (place) => toScreen(at[0][place], at[1][place]);
    const ink = { ground: colour("raised"), soft: colour("soft"), ink: colour("ink"), bad: colour("bad"), link: colour("link") };
    context.fillStyle = ink.soft;
    context.globalAlpha = 0.2;
    for (let place = 0; place < run.count; place += 1) {
      if (at[0][place] === null) continue;
      const [x, y] = screen(place);
      context.fillRect(x - 1, y - 1, 2, 2);
    }
    context.globalAlpha = 1;
    if (state.step !== null) this.paintPaths(context, toScreen);
    this.paintLinks(context, screen, ink);
    const size = visible.length > 1500 ? 3.2 : visible.length > 400 ? 4 : 5;
    for (const place of visible) symbol(context, ...screen(place), verdictOf(run, place), page.colours[domainOf(run, place)], size, ink.ground);
    this.paintRings(context, screen, ink);
  }

  // Where each domain's centre went, up to the step that is shown; smoothed, as each step asks other problems.
  paintPaths(context, toScreen) {
    const { run, state, at } = this;
    page.domains.forEach((domain, number) => {
      const centres = run.steps.slice(0, state.step + 1).map((step) => centre(run, at, step, number)).filter((place) => place !== null);
      if (centres.length < 2) return;
      const reach = Math.max(1, Math.round(centres.length / 12));
      context.beginPath();
      centres.forEach((_, step) => {
        const some = centres.slice(Math.max(0, step - reach), step + reach + 1);
        const mean = (axis) => some.reduce((sum, place) => sum + place[axis], 0) / some.length;
        context[step ? "lineTo" : "moveTo"](...toScreen(mean(0), mean(1)));
      });
      Object.assign(context, { strokeStyle: page.colours[domain], lineWidth: 2.4, lineJoin: "round", lineCap: "round", globalAlpha: 0.65 });
      context.stroke();
      context.globalAlpha = 1;
    });
  }

  // From the rollout that is read to its positives (full lines, wider for a higher score) and its hardest negatives (dotted).
  paintLinks(context, screen, ink) {
    const { run, state, at } = this;
    const pairs = state.place === null ? null : run.pairs[state.place];
    if (!pairs || at[0][state.place] === null) return;
    const line = (pair, width, stroke, dash) => {
      if (at[0][pair[0]] === null) return;
      context.beginPath();
      context.moveTo(...screen(state.place));
      context.lineTo(...screen(pair[0]));
      context.setLineDash(dash);
      Object.assign(context, { strokeStyle: stroke, lineWidth: width });
      context.stroke();
      context.setLineDash([]);
    };
    for (const pair of pairs.negatives) line(pair, 1.2, ink.bad, [2, 4]);
    for (const pair of pairs.positives) line(pair, 1.2 + 2 * Math.max(0, pair[2] ?? pair[1] ?? 0), ink.ink, []);
  }

  paintRings(context, screen, ink) {
    const { run, state, at } = this;
    if (state.place === null) return;
    const pairs = run.pairs[state.place] || { positives: [], negatives: [] };
    const ring = (place, radius, stroke, fill) => {
      if (at[0][place] === null) return;
      const [x, y] = screen(place);
      symbol(context, x, y, verdictOf(run, place), page.colours[domainOf(run, place)], 5.5, ink.ground);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      Object.assign(context, { strokeStyle: stroke, lineWidth: 2.4, fillStyle: fill });
      context.stroke();
    };
    for (const pair of pairs.negatives) ring(pair[0], 9, ink.bad);
    for (const pair of pairs.positives) ring(pair[0], 10, ink.ink);
    ring(state.place, 13, ink.link);
  }
}

// A filled circle is correct, a cross incorrect, a diamond one that the verifier failed on.
function symbol(context, x, y, verdict, ink, size, ground) {
  context.beginPath();
  if (verdict === "correct") {
    context.arc(x, y, size, 0, 2 * Math.PI);
    Object.assign(context, { fillStyle: ink, strokeStyle: ground, lineWidth: 1 });
    context.fill();
  } else if (verdict === "incorrect") {
    const arm = size * 0.8;
    context.moveTo(x - arm, y - arm); context.lineTo(x + arm, y + arm);
    context.moveTo(x + arm, y - arm); context.lineTo(x - arm, y + arm);
    Object.assign(context, { strokeStyle: ink, lineWidth: 2 });
  } else {
    context.moveTo(x, y - size); context.lineTo(x + size, y); context.lineTo(x, y + size); context.lineTo(x - size, y); context.closePath();
    Object.assign(context, { strokeStyle: ink, lineWidth: 1.8 });
  }
  context.stroke();
}

function centre(run, at, step, domain) {
  let x = 0, y = 0, count = 0;
  for (let place = step.first; place < step.first + step.count; place += 1) {
    if (run.domain[place] !== domain || at[0][place] === null) continue;
    x += at[0][place]; y += at[1][place]; count += 1;
  }
  return count ? [x / count, y / count] : null;
}

function range(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value === null) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [-1, 1];
}

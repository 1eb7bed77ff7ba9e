// ---- the probe set: the same rollouts at every step, so that what moves is the model --------------------------------

class ProbeMap {
  constructor() {
    this.state = { kind: "pca", step: 0, place: null, shown: 0 };  // `shown` runs after `step`, so that points are seen to move
    this.plane = new Plane(byId("probe-plot"), {
      onDraw: (context, toScreen) => this.paint(context, toScreen),
      onClick: (place) => { this.state.place = place; this.draw(); },
      onHover: (place) => [make("b", {}, this.domainOf(place) + ", " + VERDICTS[this.probe.verdict[place]]), make("span", {}, this.textOf(place).slice(0, 160))],
    });
    byId("probe-run").addEventListener("change", (event) => this.selectRun(Number(event.target.value)));
    byId("probe-kind").addEventListener("change", (event) => this.selectKind(event.target.value));
    byId("probe-step").addEventListener("input", (event) => { this.stop(); this.showStep(Number(event.target.value)); });
    byId("probe-play").addEventListener("click", () => this.play());
    byId("probe-trails").addEventListener("change", () => this.plane.redraw());
    onTheme.push(() => { if (this.probe) this.draw(); });
  }

  async selectRun(number) {
    this.stop();
    this.probe = await read(byId("probe-" + number).textContent);
    this.state.place = null;
    byId("probe-run").value = number;
    const kinds = Object.keys(this.probe.maps);
    byId("probe-kind").replaceChildren(...kinds.map((kind) => new Option(page.probeKinds[kind], kind)));
    this.selectKind(kinds.includes(this.state.kind) ? this.state.kind : kinds[0]);
  }

  selectKind(kind) {
    this.state.kind = kind;
    this.map = this.probe.maps[kind];
    byId("probe-kind").value = kind;
    const last = this.map.steps.length - 1;
    byId("probe-step").max = last;
    this.state.step = this.state.shown = Math.min(last, Math.max(0, this.state.step || last));
    const all = (axis) => this.map.at.flatMap((step) => step[axis]);
    this.plane.setBounds([...range(all(0)), ...range(all(1))]);
    this.draw();
  }

  domainOf(place) { return this.probe.names[this.probe.domain[place]]; }
  textOf(place) { return wholeText(this.probe.completion[place]); }
  colourOf(place) { return page.colours[this.domainOf(place)] || colour("soft"); }

  // Where number `index` of the map is now, between two steps while it moves.
  placeOf(index) {
    const { shown } = this.state, before = Math.floor(shown), after = Math.ceil(shown), part = shown - before;
    return [0, 1].map((axis) => this.map.at[before][axis][index] * (1 - part) + this.map.at[after][axis][index] * part);
  }

  draw() {
    const { map, state } = this;
    byId("probe-step").value = state.step;
    byId("probe-shown").textContent = map.steps[state.step];
    const held = map.explained ? `The two axes hold ${(100 * (map.explained[0] + map.explained[1])).toFixed(0)}% of the variance, and distances are to scale.`
      : "Neighbours mean something here, distances and axes do not.";
    byId("probe-note").textContent = `${plural(map.rollouts.length, "rollout")}${this.probe.origin ? " of " + this.probe.origin : ""}, the same at every step. ${held}`;
    this.plane.setPoints(map.rollouts.map((place, index) => [...this.placeOf(index), place]));
    this.read();
  }

  paint(context, toScreen) {
    const { map, state, probe } = this;
    const ground = colour("raised"), several = map.rollouts.length > 250;
    if (byId("probe-trails").checked) {
      map.rollouts.forEach((place, index) => {
        context.beginPath();
        for (let step = 0; step <= Math.floor(state.shown); step += 1) context[step ? "lineTo" : "moveTo"](...toScreen(map.at[step][0][index], map.at[step][1][index]));
        context.lineTo(...toScreen(...this.placeOf(index)));
        Object.assign(context, { strokeStyle: this.colourOf(place), lineWidth: place === state.place ? 2.5 : 1, globalAlpha: place === state.place ? 1 : several ? 0.15 : 0.28 });
        context.stroke();
      });
      context.globalAlpha = 1;
    }
    map.rollouts.forEach((place, index) => {
      const [x, y] = toScreen(...this.placeOf(index));
      symbol(context, x, y, VERDICTS[probe.verdict[place]], this.colourOf(place), several ? 4 : 5, ground);
      if (place !== state.place) return;
      context.beginPath();
      context.arc(x, y, 12, 0, 2 * Math.PI);
      Object.assign(context, { strokeStyle: colour("link"), lineWidth: 2.4 });
      context.stroke();
    });
  }

  read() {
    const { probe, state: { place } } = this;
    const block = (text) => make("pre", { tabindex: "0" }, typeof text === "string" ? text || "(empty)" : `${text[0]}\n\n[… ${text[1].toLocaleString("en")} characters are left out …]\n\n${text[2]}`);
    byId("probe-reader").replaceChildren(...(place === null ? [] : [
      make("div", { class: "reader-head" }, make("div", {}, chip(this.domainOf(place)), verdictBadge(VERDICTS[probe.verdict[place]]))),
      make("div", { class: "texts" }, make("div", {}, make("h4", {}, "Prompt"), block(probe.prompts[probe.prompt[place]])),
        make("div", {}, make("h4", {}, "Completion"), block(probe.completion[place])))]));
  }

  showStep(step) {
    this.state.step = step;
    cancelAnimationFrame(this.frame);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) { this.state.shown = step; this.draw(); return; }
    const from = this.state.shown, began = performance.now(), seconds = 0.4;
    const move = (now) => {
      const part = Math.min(1, Math.max(0, now - began) / 1000 / seconds);
      this.state.shown = from + (step - from) * part * part * (3 - 2 * part);
      if (part < 1) { this.plane.redraw(); this.frame = requestAnimationFrame(move); } else { this.state.shown = step; this.draw(); }
    };
    this.frame = requestAnimationFrame(move);
    byId("probe-shown").textContent = this.map.steps[step];
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    byId("probe-play").textContent = "Play";
    byId("probe-play").setAttribute("aria-pressed", "false");
  }

  play() {
    if (this.timer) { this.stop(); return; }
    const last = this.map.steps.length - 1;
    if (this.state.step >= last) { this.state.shown = 0; this.showStep(0); }
    byId("probe-play").textContent = "Pause";
    byId("probe-play").setAttribute("aria-pressed", "true");
    const next = () => {
      if (this.state.step >= last) { this.stop(); return; }
      byId("probe-step").value = this.state.step + 1;
      this.showStep(this.state.step + 1);
    };
    this.timer = setInterval(next, 600);
  }
}

let probeMap = null;

async function setUpProbe() {
  if (!page.probes.length || typeof DecompressionStream === "undefined") return;
  probeMap = new ProbeMap();
  await probeMap.selectRun(page.probes.length - 1);
}

// ---- the explorer: map, list and reader of one run, and what is shown of it -----------------------------------------

class Explorer {
  constructor() {
    this.state = { run: page.explorer.length - 1, step: 0, space: "features", domains: new Set(page.domains), verdicts: new Set(VERDICTS), words: "", place: null };
    this.timer = null;
    this.visible = [];
    this.map = new RolloutMap(byId("map-plot"), (place) => this.choose(place, true));
    this.list = new RolloutList(byId("rollout-list"), (place) => this.choose(place));
    this.reader = new Reader(byId("reader"), (place) => this.choose(place), (by) => this.move(by));
    this.setUpControls();
  }

  async selectRun(number, place = null) {
    this.stop();
    this.run = await unpack(number);
    this.run.paired = this.run.steps.some((step) => step.paired);
    this.state.run = number;
    this.state.place = place;
    const spaces = Object.keys(this.run.explained);
    if (!spaces.includes(this.state.space)) this.state.space = spaces[0] ?? null;
    byId("map-run").value = number;
    byId("map-space").replaceChildren(...spaces.map((name) => new Option(page.spaces[name], name)));
    byId("map-space").closest("label").hidden = spaces.length < 2;
    if (spaces.length) byId("map-space").value = this.state.space;
    byId("map-plot").hidden = !spaces.length;
    byId("map-step").max = this.run.steps.length - 1;
    byId("map-step").disabled = byId("map-play").disabled = this.run.steps.length < 2;
    this.state.step = place === null ? this.run.steps.length - 1 : this.run.stepOf[place];
    byId("all-steps").checked = false;
    this.refresh();
  }

  // Finds what is visible and draws everything; everything that changes ends here.
  refresh() {
    const { run, state } = this;
    const step = state.step === null ? { first: 0, count: run.count } : run.steps[state.step];
    const words = state.words.toLowerCase();
    const texts = words ? searchable(run) : null;
    const numbers = { domains: new Map(), verdicts: new Map() };
    this.visible = [];
    for (let place = step.first; place < step.first + step.count; place += 1) {
      const domain = domainOf(run, place), verdict = verdictOf(run, place);
      const of = [state.domains.has(domain), state.verdicts.has(verdict), !words || texts[place].includes(words)];
      // A chip says how many there would be with it on.
      if (of[1] && of[2]) numbers.domains.set(domain, (numbers.domains.get(domain) || 0) + 1);
      if (of[0] && of[2]) numbers.verdicts.set(verdict, (numbers.verdicts.get(verdict) || 0) + 1);
      if (of.every(Boolean)) this.visible.push(place);
    }
    this.drawControls(numbers);
    this.list.show(run, this.visible, state.place);
    this.reader.show(run, state.place);
    this.drawMap();
  }

  drawMap() {
    const { run, state } = this;
    const note = [];
    const steps = state.step === null ? run.steps : [run.steps[state.step]];
    const held = steps.reduce((sum, step) => sum + step.count, 0), of = steps.reduce((sum, step) => sum + step.of, 0);
    note.push(`${this.visible.length.toLocaleString("en")} of ${plural(held, "rollout")} shown` + (held < of ? ` (the page holds ${held.toLocaleString("en")} of the ${of.toLocaleString("en")} that were kept)` : ""));
    if (state.space !== null) {
      const drawn = this.map.draw(run, state, this.visible);
      if (drawn.missing) note.push(`${drawn.missing} without a representation`);
      note.push(`the two axes hold ${drawn.held} of the variance`);
    } else note.push("no representations were kept, so there is no map");
    byId("map-note").textContent = note.join("; ") + ".";
  }

  choose(place, fromMap = false) {
    const { run, state } = this;
    state.place = place;
    if (state.step !== null) state.step = run.stepOf[place];
    history.replaceState(null, "", "#rollout/" + state.run + "/" + place);
    this.refresh();
    // On a phone the reader is below the fold.
    if (fromMap && !matchMedia("(min-width: 900px)").matches) byId("reader").scrollIntoView({ block: "start" });
    if (!fromMap && byId("reader").getBoundingClientRect().top < 0) byId("reader").scrollIntoView({ block: "start" });
  }

  move(by) {
    const number = this.visible.indexOf(this.state.place);
    const next = this.visible[Math.max(0, Math.min(this.visible.length - 1, number + by))];
    if (next !== undefined) this.choose(next);
  }

  showStep(step) {
    this.state.step = step;
    this.state.place = null;
    byId("all-steps").checked = step === null;
    this.refresh();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    byId("map-play").textContent = "Play";
    byId("map-play").setAttribute("aria-pressed", "false");
  }

  play() {
    if (this.timer !== null) { this.stop(); return; }
    const last = this.run.steps.length - 1;
    if (this.state.step === null || this.state.step >= last) this.showStep(0);
    byId("map-play").textContent = "Pause";
    byId("map-play").setAttribute("aria-pressed", "true");
    this.timer = setInterval(() => { if (this.state.step >= last) this.stop(); else this.showStep(this.state.step + 1); }, Math.max(120, Math.min(500, 12000 / last)));
  }

  // -- controls --

  setUpControls() {
    byId("map-run").addEventListener("change", (event) => this.selectRun(Number(event.target.value)));
    byId("map-space").addEventListener("change", (event) => { this.state.space = event.target.value; this.drawMap(); });
    byId("map-step").addEventListener("input", (event) => { this.stop(); this.showStep(Number(event.target.value)); });
    byId("map-play").addEventListener("click", () => this.play());
    byId("all-steps").addEventListener("change", (event) => { this.stop(); this.showStep(event.target.checked ? null : Number(byId("map-step").value)); });
    let waiting = null;
    byId("words").addEventListener("input", (event) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => { this.state.words = event.target.value.trim(); this.refresh(); }, 150);
    });
    onTheme.push(() => { if (this.run) this.drawMap(); });
  }

  drawControls(numbers) {
    const { run, state } = this;
    if (state.step !== null) byId("map-step").value = state.step;
    byId("map-shown").textContent = state.step === null ? "all" : run.steps[state.step].step;
    const chips = (names, chosen, counts, label) => names.map((name) => make("button", { type: "button", class: "filter", "aria-pressed": String(chosen.has(name)), "data-name": name,
      style: page.colours[name] ? "--c:" + page.colours[name] : "", onclick: () => { if (chosen.has(name)) chosen.delete(name); else chosen.add(name); this.refresh(); } },
      label(name), make("small", {}, (counts.get(name) || 0).toLocaleString("en"))));
    const present = new Set(run.domain.map((number) => page.domains[number]));
    refill(byId("filter-domains"), chips(page.domains.filter((name) => present.has(name)), state.domains, numbers.domains, (name) => name));
    refill(byId("filter-verdicts"), chips(VERDICTS.filter((name) => run.verdict.includes(VERDICTS.indexOf(name))), state.verdicts, numbers.verdicts, (name) => MARKS[name] + " " + name));
  }
}

// Replaces the elements and keeps the keyboard where it was.
function refill(element, children) {
  const name = element.contains(document.activeElement) ? document.activeElement.dataset.name : null;
  element.replaceChildren(...children);
  if (name) children.find((child) => child.dataset.name === name)?.focus();
}

let explorer = null;

async function setUpExplorer() {
  if (!page.explorer.length) return;
  if (typeof DecompressionStream === "undefined") {
    byId("reader").replaceChildren(make("p", { class: "missing" }, "This browser is too old to unpack the rollouts: it has no DecompressionStream (Chrome 80, Firefox 113, Safari 16.4 have it)."));
    return;
  }
  explorer = new Explorer();
  const [, run, place] = /^#rollout\/(\d+)\/(\d+)$/.exec(location.hash) || [];
  const linked = run !== undefined && Number(run) < page.explorer.length;
  await explorer.selectRun(linked ? Number(run) : page.explorer.length - 1);
  if (linked && Number(place) < explorer.run.count) {
    explorer.choose(Number(place));
    byId("rollouts").scrollIntoView();
  }
}

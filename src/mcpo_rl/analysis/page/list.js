// ---- the list of rollouts -------------------------------------------------------------------------------------------

const ROW_HEIGHT = 58;
const ROWS_BEYOND = 8;

// Holds any number of rows and makes elements of those on the screen alone.
class RolloutList {
  constructor(element, onClick) {
    this.element = element;
    this.onClick = onClick;
    this.rows = [];
    this.run = null;
    this.chosen = null;
    this.space = make("div", { class: "rows", role: "presentation" });
    element.append(this.space);
    element.addEventListener("scroll", () => requestAnimationFrame(() => this.fill()), { passive: true });
    element.addEventListener("keydown", (event) => this.press(event));
    new ResizeObserver(() => this.fill()).observe(element);
  }

  show(run, rows, chosen) {
    if (rows !== this.rows || run !== this.run) this.element.scrollTop = 0;
    this.run = run;
    this.rows = rows;
    this.chosen = chosen;
    this.space.style.height = rows.length * ROW_HEIGHT + "px";
    const number = rows.indexOf(chosen);
    if (number >= 0) {
      const top = number * ROW_HEIGHT;
      const { scrollTop, clientHeight } = this.element;
      if (top < scrollTop || top + ROW_HEIGHT > scrollTop + clientHeight) this.element.scrollTop = top - clientHeight / 3;
    }
    this.fill();
  }

  fill() {
    const first = Math.max(0, Math.floor(this.element.scrollTop / ROW_HEIGHT) - ROWS_BEYOND);
    const last = Math.min(this.rows.length, Math.ceil((this.element.scrollTop + this.element.clientHeight) / ROW_HEIGHT) + ROWS_BEYOND);
    this.space.replaceChildren(...this.rows.slice(first, last).map((place, number) => this.row(place, first + number)));
    if (this.rows.includes(this.chosen)) this.element.setAttribute("aria-activedescendant", "rollout-" + this.chosen);
    else this.element.removeAttribute("aria-activedescendant");
  }

  row(place, number) {
    const run = this.run;
    const verdict = verdictOf(run, place);
    return make("div", { class: "row", role: "option", id: "rollout-" + place, "aria-selected": String(place === this.chosen), "aria-setsize": this.rows.length,
      "aria-posinset": number + 1, style: `top:${number * ROW_HEIGHT}px;height:${ROW_HEIGHT}px;--c:${page.colours[domainOf(run, place)]}`, onclick: () => this.onClick(place) },
      make("span", { class: "mark " + verdict, title: verdict }, MARKS[verdict]),
      make("span", { class: "of" }, make("b", {}, domainOf(run, place)), " " + verdict,
        make("small", {}, "step " + stepOf(run, place).step + (run.tokens[place] === null ? "" : " · " + plural(run.tokens[place], "token")))),
      make("span", { class: "teaser" }, teaser(run, place, 120)));
  }

  press(event) {
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity };
    if (!(event.key in moves) || !this.rows.length) return;
    event.preventDefault();
    const number = this.rows.indexOf(this.chosen);
    const next = number < 0 ? 0 : Math.max(0, Math.min(this.rows.length - 1, number + moves[event.key]));
    this.onClick(this.rows[next]);
  }
}

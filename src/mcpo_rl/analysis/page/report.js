"use strict";
const page = JSON.parse(document.getElementById("page-data").textContent);
const finePointer = matchMedia("(pointer: fine)").matches;
const config = { displayModeBar: false, responsive: true };

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

// A figure comes without ground, text and grid colours; it gets those of the page, and again when the theme changes.
function themed(figure) {
  const axis = { gridcolor: colour("grid"), zerolinecolor: colour("grid"), linecolor: colour("line"), ticks: "", automargin: true, fixedrange: true };
  const layout = Object.assign({}, figure.layout, {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("soft") },
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink"), size: 13 }, align: "left" },
    dragmode: false,
  });
  layout.xaxis = Object.assign({}, axis, figure.layout.xaxis);
  layout.yaxis = Object.assign({}, axis, figure.layout.yaxis);
  const data = figure.data.map((trace) =>
    trace.type === "heatmap" ? Object.assign({}, trace, { textfont: { color: colour("ink"), size: 13 } }) : trace);
  return { data, layout };
}

function drawFigure(element) {
  const { data, layout } = themed(page.figures[Number(element.dataset.figure)]);
  Plotly.react(element, data, layout, config);
}

// ---- the representation map -----------------------------------------------------------------------------------------

const SYMBOLS = { correct: "circle", incorrect: "x-thin", error: "diamond-open" };
const chosen = { run: 0, space: "features", step: 0 };

function points(step, keep) {
  const at = step.at[chosen.space];
  const rows = [];
  for (let row = 0; row < step.domain.length; row += 1) {
    if (at[0][row] !== null && keep(row)) rows.push(row);
  }
  return { rows, x: rows.map((row) => at[0][row]), y: rows.map((row) => at[1][row]) };
}

function centre(step, domain) {
  const { x, y } = points(step, (row) => step.domain[row] === domain);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return x.length ? [mean(x), mean(y)] : null;
}

function mapTraces(map) {
  const now = map.steps[chosen.step];
  const ghost = { x: [], y: [], mode: "markers", type: "scatter", hoverinfo: "skip", marker: { color: colour("soft"), size: 3, opacity: 0.26 } };
  for (const step of map.steps) {
    const some = points(step, () => true);
    ghost.x.push(...some.x);
    ghost.y.push(...some.y);
  }
  const traces = [ghost];
  page.domains.forEach((domain, number) => {
    const ink = page.colours[domain];
    for (const verdict of Object.keys(SYMBOLS)) {
      const some = points(now, (row) => now.domain[row] === number && now.verdict[row] === verdict);
      if (!some.rows.length) continue;
      const marker = { symbol: SYMBOLS[verdict], size: verdict === "correct" ? 9 : 8, color: ink, opacity: 0.92,
        line: verdict === "correct" ? { color: colour("ground"), width: 1 } : { color: ink, width: 2 } };
      // The texts were escaped when the page was written; the domain's name is of the same kind.
      const name = document.createElement("i");
      name.textContent = domain + ", " + verdict;
      traces.push({ x: some.x, y: some.y, mode: "markers", type: "scatter", marker, text: some.rows.map((row) => now.text[row]),
        hovertemplate: "<b>" + name.innerHTML + "</b><br>%{text}<extra></extra>" });
    }
    const path = map.steps.slice(0, chosen.step + 1).map((step) => centre(step, number)).filter((place) => place !== null);
    if (path.length > 1) {
      traces.push({ x: path.map((p) => p[0]), y: path.map((p) => p[1]), mode: "lines", type: "scatter", hoverinfo: "skip",
        line: { color: ink, width: 2, shape: "spline" } });
    }
  });
  return traces;
}

function mapRange(map, axis) {
  const values = map.steps.flatMap((step) => step.at[chosen.space][axis].filter((value) => value !== null));
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const room = 0.05 * (high - low || 1);
  return [low - room, high + room];
}

function drawMap() {
  const map = page.maps[chosen.run];
  const now = map.steps[chosen.step];
  const shares = map.explained[chosen.space];
  const percent = (share) => (100 * share).toFixed(0) + "%";
  const axis = (number) => ({ range: mapRange(map, number), title: { text: "component " + (number + 1) + " (" + percent(shares[number]) + " of the variance)", font: { size: 13 } },
    showticklabels: false, zeroline: false, fixedrange: !finePointer });
  const figure = themed({ data: mapTraces(map), layout: { xaxis: axis(0), yaxis: axis(1), showlegend: false, hovermode: "closest",
    margin: { l: 34, r: 8, t: 8, b: 40 }, uirevision: chosen.run + chosen.space } });
  figure.layout.dragmode = finePointer ? "zoom" : false;
  Plotly.react("map-plot", figure.data, figure.layout, config);
  document.getElementById("map-shown").textContent = now.step;
  const missing = now.domain.length - points(now, () => true).rows.length;
  document.getElementById("map-note").textContent = "Step " + now.step + ": " + now.domain.length + " of " + now.of + " rollouts shown" +
    (missing ? ", " + missing + " without a representation" : "") + ". Together the axes hold " + percent(shares[0] + shares[1]) + " of the variance.";
}

function selectRun() {
  const map = page.maps[chosen.run];
  const space = document.getElementById("map-space");
  space.replaceChildren(...Object.keys(map.explained).map((name) => new Option(page.spaces[name], name)));
  if (!(chosen.space in map.explained)) chosen.space = Object.keys(map.explained)[0];
  space.value = chosen.space;
  const slider = document.getElementById("map-step");
  slider.max = map.steps.length - 1;
  chosen.step = Math.min(chosen.step, map.steps.length - 1);
  slider.value = chosen.step;
  drawMap();
}

function setUpMap() {
  const slider = document.getElementById("map-step");
  const button = document.getElementById("map-play");
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; button.textContent = "Play"; button.setAttribute("aria-pressed", "false"); };
  const show = (step) => { chosen.step = step; slider.value = step; drawMap(); };
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  document.getElementById("map-run").addEventListener("change", (event) => { stop(); chosen.run = Number(event.target.value); selectRun(); });
  document.getElementById("map-space").addEventListener("change", (event) => { chosen.space = event.target.value; drawMap(); });
  button.addEventListener("click", () => {
    if (timer !== null) { stop(); return; }
    const last = page.maps[chosen.run].steps.length - 1;
    if (chosen.step >= last) show(0);
    button.textContent = "Pause";
    button.setAttribute("aria-pressed", "true");
    timer = setInterval(() => { if (chosen.step >= page.maps[chosen.run].steps.length - 1) stop(); else show(chosen.step + 1); }, 450);
  });
  chosen.run = page.maps.length - 1;
  document.getElementById("map-run").value = chosen.run;
  chosen.step = page.maps[chosen.run].steps.length - 1;
  selectRun();
}

function drawAll() {
  document.querySelectorAll("[data-figure]").forEach(drawFigure);
  if (page.maps.length) drawMap();
}

document.querySelectorAll("[data-figure]").forEach(drawFigure);
if (page.maps.length) setUpMap();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

"use strict";
// The page as a whole: its data, its colours, its figures. The files of this folder are one script, in the order of report.py.

const page = JSON.parse(document.getElementById("page-data").textContent);
const plotSettings = { displayModeBar: false, responsive: true };
// Makes an element. Text only ever enters the page here as text: nothing that a model wrote is read as HTML.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value;
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function byId(id) { return document.getElementById(id); }

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

function plural(count, one, many) {
  return count.toLocaleString("en") + " " + (count === 1 ? one : many || one + "s");
}

// ---- figures --------------------------------------------------------------------------------------------------------

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
  const names = Object.keys(figure.layout).filter((name) => /^[xy]axis\d*$/.test(name));
  for (const name of new Set(["xaxis", "yaxis", ...names])) layout[name] = Object.assign({}, axis, figure.layout[name]);
  const data = figure.data.map((trace) =>
    trace.type === "heatmap" ? Object.assign({}, trace, { textfont: Object.assign({ color: colour("ink"), size: 13 }, trace.textfont) }) : trace);
  return { data, layout };
}

const drawing = new Map();

// Drawing takes its time and is not to overtake itself: what is asked for meanwhile is drawn afterwards.
async function drawFigure(element) {
  if (drawing.has(element)) { drawing.set(element, "again"); return; }
  do {
    drawing.set(element, "once");
    const { data, layout } = themed(page.figures[Number(element.dataset.figure)]);
    await Plotly.react(element, data, layout, plotSettings);
  } while (drawing.get(element) === "again");
  drawing.delete(element);
  element.dataset.drawn = "";
}

// Figures are drawn when they come near the screen: a comparison of many runs has hundreds.
const nearScreen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    nearScreen.unobserve(entry.target);
    drawFigure(entry.target);
  }
}, { rootMargin: "800px 0px" });
const allFigures = () => document.querySelectorAll("[data-figure]");

addEventListener("beforeprint", () => allFigures().forEach((element) => {
  if (!("drawn" in element.dataset)) drawFigure(element);
}));

// ---- theme ----------------------------------------------------------------------------------------------------------

// Asked anew each time: where Chromium is asked between a change and its event, the query that was asked sends no event.
const darkSystem = () => matchMedia("(prefers-color-scheme: dark)");
const darkChanges = darkSystem();
const onTheme = [() => document.querySelectorAll("[data-drawn]").forEach(drawFigure)];

function isDark() {
  const asked = document.documentElement.dataset.theme;
  return asked ? asked === "dark" : darkSystem().matches;
}

function setUpTheme() {
  const button = byId("theme");
  const say = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", "Show the page in " + (isDark() ? "light" : "dark") + " colours");
  };
  const redraw = () => { say(); onTheme.forEach((draw) => draw()); };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    redraw();
  });
  darkChanges.addEventListener("change", redraw);
  say();
}

// ---- navigation -----------------------------------------------------------------------------------------------------

// Marks the section that is being read.
function setUpNavigation() {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.getAttribute("href").slice(1), link]));
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      const link = links.get(entry.target.id);
      if (!link) continue;
      link.setAttribute("aria-current", "true");
      const bar = link.parentElement;
      bar.scrollTo({ left: link.offsetLeft - bar.clientWidth / 2 + link.clientWidth / 2 });
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => observer.observe(section));
}

// ---- the rollouts of a run ------------------------------------------------------------------------------------------

const VERDICTS = ["correct", "incorrect", "error"];
const MARKS = { correct: "●", incorrect: "✕", error: "◇" };
const NO_PART = 0, NEGATIVE = 1, ANCHOR = 2;
const unpackedRuns = new Map();

// A run is unpacked when it is first looked at.
function unpack(number) {
  if (!unpackedRuns.has(number)) unpackedRuns.set(number, read(byId("rollouts-" + number).textContent).then(indexed));
  return unpackedRuns.get(number);
}

async function read(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// A pair is [place, similarity s, transferability t, share of the push]; what is unknown is null.
// Adds what is found the other way round: the step of a rollout, its group, and whose positive or negative it was.
function indexed(run) {
  run.count = run.domain.length;
  run.stepOf = new Array(run.count);
  run.groups = new Map();
  run.positiveOf = new Map();
  run.negativeOf = new Map();
  const note = (map, key, value) => { if (map.has(key)) map.get(key).push(value); else map.set(key, [value]); };
  run.steps.forEach((step, number) => {
    for (let place = step.first; place < step.first + step.count; place += 1) {
      run.stepOf[place] = number;
      note(run.groups, number + "/" + run.group[place], place);
    }
  });
  run.pairs.forEach((pairs, place) => {
    if (!pairs) return;
    for (const pair of pairs.positives) note(run.positiveOf, pair[0], [place, ...pair.slice(1)]);
    for (const pair of pairs.negatives) note(run.negativeOf, pair[0], [place, ...pair.slice(1)]);
  });
  return run;
}

const verdictOf = (run, place) => VERDICTS[run.verdict[place]];
const domainOf = (run, place) => page.domains[run.domain[place]];
const stepOf = (run, place) => run.steps[run.stepOf[place]];
const groupOf = (run, place) => run.groups.get(run.stepOf[place] + "/" + run.group[place]);

// A text is a string, or [beginning, characters left out, end].
function wholeText(text) {
  return typeof text === "string" ? text : text[0] + " … " + text[2];
}

const found = new WeakMap();

// What a search looks through, in small letters; made once for a run.
function searchable(run) {
  if (!found.has(run)) {
    const prompts = run.prompts.map((text) => wholeText(text).toLowerCase());
    found.set(run, run.completion.map((text, place) =>
      wholeText(text).toLowerCase() + "\n" + prompts[run.prompt[place]] + "\n" + run.answer[place].toLowerCase()));
  }
  return found.get(run);
}

function teaser(run, place, most) {
  const text = run.completion[place];
  const start = (typeof text === "string" ? text : text[0]).slice(0, 3 * most).replace(/\s+/g, " ").trim();
  return start.length > most ? start.slice(0, most) + " …" : start || "(empty)";
}

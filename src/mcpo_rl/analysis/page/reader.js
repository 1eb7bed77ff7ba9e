// ---- one rollout and what it met ------------------------------------------------------------------------------------

const SCORERS = {
  centered: "the cosine t of their hidden states, each domain's mean taken out first",
  cosine: "the cosine t of their embeddings",
  random: "scores t drawn at random (the ablation)",
};

class Reader {
  constructor(element, onChoose, onMove) {
    this.element = element;
    this.onChoose = onChoose;
    this.onMove = onMove;
  }

  show(run, place) {
    if (place === null) {
      this.element.replaceChildren(make("p", { class: "missing" }, "Choose a point of the map or a line of the list to read the rollout, and to see which rollouts it was compared with."));
      return;
    }
    const parts = [this.head(run, place), this.group(run, place), this.texts(run, place), ...this.why(run, place)];
    this.element.replaceChildren(...parts.filter((part) => part !== null));
  }

  head(run, place) {
    const step = stepOf(run, place);
    const facts = ["step " + step.step, run.reward[place] === null ? "no reward" : "reward " + run.reward[place]];
    if (run.tokens[place] !== null) facts.push(plural(run.tokens[place], "token"));
    if (run.cut[place]) facts.push("cut at the token limit");
    return make("header", { class: "reader-head" },
      make("div", {}, chip(domainOf(run, place)), verdictBadge(verdictOf(run, place)), make("span", { class: "note" }, facts.join(" · "))),
      make("div", { class: "moves" },
        make("button", { type: "button", onclick: () => this.onMove(-1), "aria-label": "The rollout before it in the list" }, "← Before"),
        make("button", { type: "button", onclick: () => this.onMove(1), "aria-label": "The next rollout in the list" }, "Next →")));
  }

  // The rollouts of the same prompt: what the policy's advantage compares.
  group(run, place) {
    const group = groupOf(run, place);
    if (group.length < 2) return null;
    const right = group.filter((other) => verdictOf(run, other) === "correct").length;
    const marks = group.map((other) => make("button", { type: "button", class: "sibling " + verdictOf(run, other), "aria-pressed": String(other === place),
      "aria-label": "rollout " + (group.indexOf(other) + 1) + " of this prompt, " + verdictOf(run, other), onclick: () => this.onChoose(other) }, MARKS[verdictOf(run, other)]));
    return make("div", { class: "group" }, make("span", { class: "note" }, `The same prompt, ${plural(group.length, "rollout")}, ${right} correct`), make("span", { class: "siblings" }, ...marks));
  }

  texts(run, place) {
    const answer = run.answer[place] && make("p", { class: "read" }, make("span", { class: "note" }, "The verifier read "), make("code", {}, run.answer[place]));
    const detail = run.detail[place] && make("p", { class: "read" }, make("span", { class: "note" }, "It says "), run.detail[place]);
    return make("div", { class: "texts" },
      make("div", {}, make("h4", {}, "Prompt"), textBlock(run.prompts[run.prompt[place]], run, place)),
      make("div", {}, make("h4", {}, "Completion"), textBlock(run.completion[place], run, place), answer || null, detail || null));
  }

  why(run, place) {
    const pairs = run.pairs[place];
    const parts = [];
    if (pairs) {
      parts.push(this.positives(run, place, pairs), this.negatives(run, place, pairs), this.own(run, place, pairs));
    } else {
      parts.push(make("div", { class: "why" }, make("h4", {}, "Its part in the contrastive term"), make("p", {}, noPairs(run, place))));
    }
    const positiveOf = run.positiveOf.get(place) || [];
    if (positiveOf.length) {
      parts.push(this.others(run, `It was itself a positive of ${plural(positiveOf.length, "anchor")} shown here`, positiveOf, (pair) => scores(pair[2], pair[1], null)));
    }
    const negativeOf = (run.negativeOf.get(place) || []).sort((a, b) => (b[3] ?? b[1] ?? 0) - (a[3] ?? a[1] ?? 0));
    if (negativeOf.length) {
      parts.push(this.others(run, `It is among the hardest negatives of ${plural(negativeOf.length, "anchor")} shown here`, negativeOf, (pair) => scores(null, pair[1], pair[3])));
    }
    return parts;
  }

  positives(run, place, pairs) {
    const cards = pairs.positives.map((pair) => this.card(run, pair, scores(pair[2], pair[1], null), true));
    return make("div", { class: "why" }, make("h4", {}, "Its positives, from other domains ", count(pairs.positives.length, pairs.counts[0])),
      make("p", {}, whyPositives(run, place, pairs)), cards.length ? make("div", { class: "cards" }, ...cards) : null);
  }

  negatives(run, place, pairs) {
    const cards = pairs.negatives.map((pair) => this.card(run, pair, scores(null, pair[1], pair[3]), false));
    return make("div", { class: "why" }, make("h4", {}, "Its negatives ", count(pairs.negatives.length, pairs.counts[1])),
      make("p", {}, whyNegatives(run, place, pairs)), cards.length ? make("div", { class: "cards small" }, ...cards) : null);
  }

  own(run, place, pairs) {
    if (!pairs.counts[2]) return null;
    const mean = pairs.ownSimilarity === null ? "" : `, at a mean similarity of ${pairs.ownSimilarity.toFixed(2)}`;
    const heading = `It is also drawn to ${plural(pairs.counts[2], "correct rollout")} of its own domain${mean}`;
    return this.others(run, heading, pairs.own, (pair) => scores(null, pair[1], null), "The nearest:");
  }

  others(run, heading, pairs, scoresOf, lead) {
    const most = 6;
    const items = pairs.slice(0, most).map((pair) => make("button", { type: "button", class: "other", onclick: () => this.onChoose(pair[0]) },
      make("span", {}, chip(domainOf(run, pair[0])), verdictBadge(verdictOf(run, pair[0]))), scoresOf(pair), make("span", { class: "teaser" }, teaser(run, pair[0], 140))));
    return make("div", { class: "why" }, make("h4", {}, heading), lead && items.length ? make("p", { class: "note" }, lead) : null, make("div", { class: "cards small" }, ...items),
      pairs.length > most ? make("p", { class: "note" }, `… and ${pairs.length - most} more.`) : null);
  }

  card(run, pair, bars, isPositive) {
    const other = pair[0];
    return make("article", { class: "card" + (isPositive ? " positive" : " negative"), style: "--c:" + page.colours[domainOf(run, other)] },
      make("header", {}, chip(domainOf(run, other)), verdictBadge(verdictOf(run, other))), bars,
      make("p", { class: "prompt", title: "Its prompt" }, wholeText(run.prompts[run.prompt[other]]).slice(0, 400)),
      textBlock(run.completion[other], run, other),
      make("button", { type: "button", class: "open", onclick: () => this.onChoose(other) }, "Read this one"));
  }
}

function chip(domain) {
  return make("span", { class: "chip", style: "--c:" + page.colours[domain] }, domain);
}

function verdictBadge(verdict) {
  const words = { correct: "correct", incorrect: "incorrect", error: "verifier failed" };
  return make("span", { class: "verdict " + verdict }, MARKS[verdict] + " " + words[verdict]);
}

function count(shown, all) {
  return make("small", {}, shown < all ? `${shown} of ${all.toLocaleString("en")}` : String(all));
}

function textBlock(text, run, place) {
  if (typeof text === "string") return make("pre", { tabindex: "0" }, text || "(empty)");
  const cut = `\n\n[… ${text[1].toLocaleString("en")} characters are left out here; the whole text is row ${run.row[place]} of step ${stepOf(run, place).step} in rollouts/]\n\n`;
  return make("pre", { tabindex: "0" }, text[0], make("span", { class: "cut" }, cut), text[2]);
}

// Bars for what decided: transferability t, similarity s (both cosines), and a negative's share of the push.
function scores(t, s, share) {
  const bar = (name, value, text, title) => value === null || value === undefined ? null : make("div", { class: "score", title },
    make("span", {}, name), make("b", {}, text(value)), make("span", { class: "bar" }, make("i", { style: `width:${Math.round(100 * Math.max(0, Math.min(1, value)))}%` })));
  return make("div", { class: "scores" },
    bar("transferability t", t, signedNumber, "How alike the two reason, the domains' means taken out: decides which rollouts are chosen."),
    bar("similarity s", s, signedNumber, "Cosine of the two embeddings: what the loss moves."),
    bar("share of the push", share, percentage, "Of the push away from all negatives of the anchor, by exp(s / temperature)."));
}

function percentage(share) {
  return (100 * share).toFixed(share < 0.1 ? 1 : 0) + "%";
}

function signedNumber(value) {
  return value.toFixed(2).replace("-", "−");
}

function total(counts, keep) {
  return Object.entries(counts).reduce((sum, [domain, number]) => sum + (keep(domain) ? number : 0), 0);
}

// ---- in words -------------------------------------------------------------------------------------------------------

function whyPositives(run, place, pairs) {
  const step = stepOf(run, place), term = step.term, domain = domainOf(run, place);
  const lenders = total(step.correct, (other) => other !== domain);
  const floor = term.min_transferability ?? 0;
  if (term.share_weight === 0) return "Sharing across domains was switched off (share_weight 0): no positives were chosen.";
  if (!lenders) return "No rollout of another domain was correct in this step: there was nothing to borrow.";
  if (!pairs.counts[0]) return `None of the ${plural(lenders, "correct rollout")} of other domains reached a transferability of ${floor}.`;
  const by = SCORERS[term.transferability] || (term.transferability ? "the scores t of " + term.transferability : "their transferability t");
  const kept = pairs.positives.some((pair) => pair[2] !== null) ? "" : " The scores themselves were not kept with this run.";
  return `Of the ${plural(lenders, "correct rollout")} of other domains in this step, ${pairs.counts[0] === 1 ? "this one is" : "these are"} the most alike by ${by}: ` +
    `at most ${term.num_positives ?? "a few"}, one of each prompt, none below t = ${floor}. The loss draws their embeddings together, that is, it raises s.${kept}`;
}

function whyNegatives(run, place, pairs) {
  const term = stepOf(run, place).term;
  if (!pairs.counts[1]) return "No incorrect rollout stands against it in this step.";
  const scope = { all: "of all domains", domain: "of its domain", prompt: "of its prompt" }[term.negatives ?? "all"];
  const stand = pairs.counts[1] === 1 ? "The one usable incorrect rollout" : `The ${pairs.counts[1].toLocaleString("en")} usable incorrect rollouts`;
  const shown = pairs.negatives.length ? "Shown: those nearest to it, on which the loss pushes hardest" : "Without embeddings it cannot be said which were the hardest";
  return `${stand} ${scope} in this step. ${shown}${pairs.negatives.some((pair) => pair[3] !== null) ? `, by exp(s / ${term.temperature})` : ""}.`;
}

function noPairs(run, place) {
  const step = stepOf(run, place);
  if (!run.paired) return "This run has no contrastive term: nothing was drawn together or pushed apart.";
  if (run.part[place] === NO_PART) return verdictOf(run, place) === "error" ? "None: the verifier failed on it, so it is neither right nor wrong." : "None: it was not usable (cut off and masked, or its hidden states were not finite).";
  if (!step.paired) return "None in this step: the term needs correct and incorrect rollouts, and two domains.";
  if (run.part[place] === NEGATIVE) {
    const scope = step.term.negatives ?? "all";
    if (scope === "prompt") return "It is incorrect, so it has no positives: it is a negative of the correct rollouts of its prompt, if there are any, and pushed away from them.";
    const anchors = total(step.correct, (domain) => scope === "all" || domain === domainOf(run, place));
    return `It is incorrect, so it has no positives: it is a negative of the ${plural(anchors, "correct rollout")} of ${scope === "all" ? "this step" : "its domain"}, and pushed away from ${anchors === 1 ? "it" : "them"}.`;
  }
  return "None was kept.";
}

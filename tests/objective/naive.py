"""The method once more, in plain Python loops over lists of floats, written from docs/method.md and from nothing else.

Slow and obvious on purpose: it shares no code and no idea (blocks, sorting, compaction) with the library.
"""

import math


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def cosine(a, b):
    length = math.sqrt(dot(a, a)) * math.sqrt(dot(b, b))
    return dot(a, b) / length if length > 1e-12 else 0.0


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values) if values else 0.0


class Pool:
    """The pool as lists, with the sets of docs/method.md as methods."""

    def __init__(self, pool, z, config):
        self.h, self.dom, self.q = pool.features.tolist(), pool.domains.tolist(), pool.prompts.tolist()
        self.c, self.u, self.z = pool.correct.tolist(), pool.usable.tolist(), z.tolist()
        self.n, self.config = len(self.dom), config
        self.usable = [i for i in range(self.n) if self.u[i]]
        self.right = [i for i in self.usable if self.c[i]]
        self.wrong = [i for i in self.usable if not self.c[i]]
        domains = {self.dom[i] for i in self.usable}
        self.empty = not self.right or not self.wrong or len(domains) < 2
        self.anchors = [] if self.empty else self.right
        self.chosen = {i: self.positives(i) if config.share_weight > 0 else [] for i in self.anchors}
        if config.mutual_positives:
            asked_of = {j: {self.q[p] for p in chosen} for j, chosen in self.chosen.items()}
            self.chosen = {i: [j for j in chosen if self.q[i] in asked_of[j]] for i, chosen in self.chosen.items()}
        self.same = {i: self.in_domain(i) if config.consolidate_weight > 0 else [] for i in self.anchors}
        self.taking_part = [i for i in self.anchors if self.chosen[i] or self.same[i]]

    def centre(self, i):
        rows = [self.h[j] for j in self.usable if self.dom[j] == self.dom[i]]
        middle = [mean(column) for column in zip(*rows, strict=True)]
        return [x - m for x, m in zip(self.h[i], middle, strict=True)]

    def t(self, i, j):
        if self.config.transferability == "cosine":
            return cosine(self.z[i], self.z[j])
        return cosine(self.centre(i), self.centre(j))

    def s(self, i, j):
        return dot(self.z[i], self.z[j])

    def positives(self, i):
        scored = [(self.t(i, j), j) for j in self.right if self.dom[j] != self.dom[i]]
        scored = [(t, j) for t, j in scored if t >= self.config.min_transferability]
        chosen, prompts = [], set()
        for _, j in sorted(scored, key=lambda pair: (-pair[0], pair[1])):
            if len(chosen) < self.config.num_positives and self.q[j] not in prompts:
                chosen.append(j)
                prompts.add(self.q[j])
        return chosen

    def in_domain(self, i):
        return [j for j in self.right if j != i and self.dom[j] == self.dom[i]]

    def negatives(self, i):
        label = {"all": lambda j: 0, "domain": lambda j: self.dom[j], "prompt": lambda j: self.q[j]}
        scope = label[self.config.negatives]
        return [n for n in self.wrong if scope(n) == scope(i)]

    def loss_of_pair(self, i, j):
        tau = self.config.temperature
        up = math.exp(self.s(i, j) / tau)
        return -math.log(up / (up + math.fsum(math.exp(self.s(i, n) / tau) for n in self.negatives(i))))

    def share(self):
        return mean(mean(self.loss_of_pair(i, p) for p in self.chosen[i]) for i in self.anchors if self.chosen[i])

    def consolidate(self):
        def pair(i, q):
            return 1 - self.s(i, q) if self.config.consolidation == "align" else self.loss_of_pair(i, q)

        return mean(mean(pair(i, q) for q in self.same[i]) for i in self.anchors if self.same[i])

    def loss(self):
        return self.config.share_weight * self.share() + self.config.consolidate_weight * self.consolidate()

    def metrics(self):
        cross = [(i, p) for i in self.anchors for p in self.chosen[i]]
        inside = [(i, q) for i in self.anchors for q in self.same[i]]
        against = [(i, n) for i in self.taking_part for n in self.negatives(i)]

        def distance(i, j):
            return math.fsum((a - b) ** 2 for a, b in zip(self.z[i], self.z[j], strict=True))

        spread = mean(math.exp(-2 * distance(i, j)) for i in self.usable for j in self.usable if i < j)
        domains = sorted({self.dom[i] for i in self.usable})
        return {
            "share_loss": self.share(),
            "consolidate_loss": self.consolidate(),
            "anchors": len(self.taking_part),
            "positives": len(cross),
            "in_domain_positives": len(inside),
            "negatives": len(against),
            "transferability": mean(self.t(*pair) for pair in cross),
            "similarity/cross_positive": mean(self.s(*pair) for pair in cross),
            "similarity/in_domain_positive": mean(self.s(*pair) for pair in inside),
            "similarity/negative": mean(self.s(*pair) for pair in against),
            "alignment": mean(distance(*pair) for pair in cross + inside),
            "uniformity": math.log(spread) if spread else 0.0,
        } | {
            f"borrow/{to}/{origin}": sum(1 for i, p in cross if self.dom[i] == to and self.dom[p] == origin)
            for to in domains
            for origin in domains
            if to != origin
        }


def differentiable_loss(z, oracle):
    """The same loss of torch scalars, pair by pair, so that autograd can take it from there: z (N, m) -> ()."""
    config = oracle.config

    def pair(i, j, align=False):
        s = z @ z[i]
        to_positive = z[i] @ z[j].detach() if config.detach_positives else s[j]
        if align:
            return 1 - to_positive
        wrong = [s[n] for n in oracle.negatives(i)]
        logits = [x / config.temperature for x in (to_positive, *wrong)]
        return sum(x.exp() for x in logits).log() - logits[0]

    def average(values):
        return sum(values) / len(values) if values else 0 * z.sum()

    align = config.consolidation == "align"
    share = average([average([pair(i, p) for p in chosen]) for i, chosen in oracle.chosen.items() if chosen])
    inside = average([average([pair(i, q, align) for q in same]) for i, same in oracle.same.items() if same])
    return config.share_weight * share + config.consolidate_weight * inside

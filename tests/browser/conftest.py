"""A real browser, headless, and pages to open in it: Debian's chromium driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcpo_rl.analysis import write_report
from mcpo_rl.runs import RolloutBatch, RunDirectory
from mcpo_rl.runs.probe import ProbeDirectory, ProbeSet, ProbeState

DOMAINS = ("math", "code", "logic")
EVIL = "</script><script>window.hacked = true</script> <img src=x onerror='window.hacked = true'> & <b>bold</b> %{x}"
TERM = {"temperature": 0.1, "negatives": "all", "transferability": "centered", "min_transferability": 0.0}


def missing() -> str:
    """Say what the tests in here lack; nothing where they can run."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "needs playwright (pip install 'mcpo-rl[dev]')"
    return "" if shutil.which("chromium") else "needs chromium (apt install chromium)"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, started once. Where it is missing the tests are skipped, but not in CI: there they fail."""
    if reason := missing():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@dataclass
class Opened:
    """A page in the browser, and what it complained of or asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def wait(self, condition: str, argument: Any = None) -> None:
        """Wait until `condition` holds; Playwright's own way needs `eval`, which the page's policy forbids."""
        for _ in range(500):
            if self.page.evaluate(condition, argument):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"still not true after 10 seconds: {condition}")

    def listed(self) -> list[str]:
        """Return the texts of the rows that the list shows."""
        texts: list[str] = self.page.locator("#rollout-list .row").all_inner_texts()
        return texts

    def shown(self) -> str:
        """Return the note under the map: how many rollouts are shown."""
        text: str = self.page.locator("#map-note").inner_text()
        return text

    def click_point(self, place: int) -> None:
        """Click where rollout `place` lies on the map."""
        x, y = self.page.evaluate(
            "place => { const { map } = explorer; return map.plane.toScreen(map.at[0][place], map.at[1][place]); }",
            place,
        )
        self.page.locator("#map-plot canvas").click(position={"x": x, "y": y})


@pytest.fixture(scope="session")
def open_page(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file; in the end: nothing was complained of, and nothing but the file was asked for."""
    opened: list[tuple[Opened, Any]] = []

    def call(path: Path, *, width: int = 1280, height: int = 900, anchor: str = "", **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **options)
        found = Opened(context.new_page())
        found.page.on("console", lambda line: found.complaints.append(f"{line.type}: {line.text}"))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(path.as_uri() + anchor)
        found.wait("explorer === null || explorer.run !== undefined")
        opened.append((found, context))
        return found

    yield call
    for found, context in opened:
        requests = [url for url in found.requests if not url.startswith("data:")]
        context.close()
        assert found.complaints == []
        assert len(requests) == 1 and requests[0].startswith("file:")


def batch(step: int, *, count: int = 48, term: bool = True, words: str = "") -> RolloutBatch:
    """Rollouts that lie apart by domain, six to a prompt; anchors have positives in both other domains."""
    generator = np.random.default_rng(step)
    domains = [DOMAINS[row // 6 % 3] for row in range(count)]
    correct = [row % 6 < 3 for row in range(count)]
    numbers = np.array([DOMAINS.index(domain) for domain in domains])
    features = np.eye(3, 12)[numbers] * 6 + generator.normal(size=(count, 12))
    z = features[:, :6] / np.linalg.norm(features[:, :6], axis=1, keepdims=True)
    good = [row for row in range(count) if correct[row]]
    positives = [[o for o in good if domains[o] != domains[r]][:3] if correct[r] and term else [] for r in range(count)]
    return RolloutBatch(
        step=step,
        prompts=[
            [{"role": "user", "content": f"Question {step}-{row // 6} of {domains[row]}{words}"}]
            for row in range(count)
        ],
        completions=[f"Thought {step}-{row}.\nThe answer is {row}.{words}" for row in range(count)],
        domains=domains,
        prompt_ids=[row // 6 for row in range(count)],
        rewards=[None if row % 6 == 5 else float(correct[row]) for row in range(count)],
        correct=correct,
        usable=[row % 6 != 5 for row in range(count)],
        verdicts=["error" if row % 6 == 5 else "correct" if correct[row] else "incorrect" for row in range(count)],
        features=features.astype(np.float32),
        embeddings=z.astype(np.float32) if term else None,
        positives=positives,
        positive_scores=[[0.75 - 0.25 * place for place in range(len(rows))] for rows in positives],
        answers=[str(row) for row in range(count)],
        details=["" if flag else "expected 1" for flag in correct],
        tokens=[20 + row for row in range(count)],
        truncated=[False] * count,
        term=TERM if term else {},
    )


def make_run(path: Path, *, term: bool = True, steps: int = 4, words: str = "", count: int = 48) -> Path:
    """Write a run with curves and rollouts."""
    run = RunDirectory.create(path, {"seed": 0})
    for step in range(1, steps + 1):
        row: dict[str, Any] = {"step": step}
        row |= {f"domain/{domain}/accuracy": 0.2 + 0.1 * step for domain in DOMAINS}
        if term:
            row |= {"contrastive/share_loss": 2.0 - 0.1 * step, "contrastive/anchors": 9.0}
            row |= {f"contrastive/borrow/{a}/{b}": 2.0 + step for a in DOMAINS for b in DOMAINS if a != b}
        run.append_metrics(row)
        run.write_rollouts(batch(step, term=term, words=words, count=count))
    run.write_manifest(method="mcpo" if term else "grpo", status="finished", model=words or "builtin:tiny")
    return path


def add_probe(path: Path, count: int = 12) -> None:
    """Record a probe set that drifts apart over three steps."""
    domains = [DOMAINS[row % 3] for row in range(count)]
    rollouts = ProbeSet(
        prompts=[f"Probe question {row}" for row in range(count)],
        completions=[f"Probe answer {row}" for row in range(count)],
        domains=domains,
        keys=[str(row) for row in range(count)],
        verdicts=["correct" if row % 2 else "incorrect" for row in range(count)],
        truncated=[False] * count,
    )
    probe = ProbeDirectory(path / "probe")
    probe.write_set(rollouts)
    noise = np.random.default_rng(0).normal(size=(count, 8))
    for step in (0, 2, 4):
        apart = np.eye(3, 8)[[DOMAINS.index(domain) for domain in domains]] * step
        features = (noise + apart).astype(np.float32)
        probe.write_state(ProbeState(step=step, features=features, fingerprint=rollouts.fingerprint))


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain run, one whose texts are hostile, and a contrastive one with a probe."""
    folder = tmp_path_factory.mktemp("report")
    runs = [
        make_run(folder / "grpo", term=False),
        make_run(folder / "evil", words=" " + EVIL),
        make_run(folder / "mcpo"),
    ]
    add_probe(runs[2])
    return write_report(runs, folder / "report.html")


@pytest.fixture(scope="session")
def opened_once(open_page: Callable[..., Opened], report: Path) -> Opened:
    """The report, opened by a link to rollout 7 of the plain run."""
    return open_page(report, anchor="#rollout/0/7", color_scheme="light")


@pytest.fixture
def opened(opened_once: Opened) -> Opened:
    """The report as it is when it is opened: to open it anew for each test would take most of the time."""
    opened_once.page.set_viewport_size({"width": 1280, "height": 900})
    opened_once.page.evaluate(
        """async () => {
            const { state, map } = explorer;
            Object.assign(state, { space: "features", words: "" });
            state.domains = new Set(page.domains);
            state.verdicts = new Set(VERDICTS);
            byId("words").value = "";
            unpackedRuns.clear();
            await explorer.selectRun(2);
            map.plane.reset();
        }"""
    )
    return opened_once

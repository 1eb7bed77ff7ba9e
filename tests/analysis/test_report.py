"""The page: whole, honest, safe, and drawn without complaint where a browser is there."""

import base64
import gzip
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from mcpo_rl.analysis import write_report
from mcpo_rl.errors import MissingDependencyError, RunError
from mcpo_rl.runs import RolloutBatch, RunDirectory

EVIL = "</script><script>window.hacked = true</script> <img src=x onerror=alert(1)> & <b>bold</b> %{x}"
DOMAINS = ["math", "code", "logic"]


class Page(HTMLParser):
    """What a browser would make of a page: its elements, their attributes, its text and its scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and self.scripts[-1] == "":
            self.scripts[-1] = data
        elif self.elements and self.elements[-1][0] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found

    def rollouts(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(self.scripts[1 + number])))
        return found


@pytest.fixture(scope="module")
def page(two_runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(two_runs, tmp_path_factory.mktemp("page") / "report.html"))


def evil_batch(step: int = 10) -> RolloutBatch:
    return RolloutBatch(
        step=step,
        prompts=[EVIL, [{"role": "user", "content": EVIL}]] * 2,
        completions=[EVIL, "多言語 \u2028 ∑ 🙂", "x" * 100_000, EVIL],
        domains=["math", "<i>evil</i>", "math", "<i>evil</i>"],
        prompt_ids=[0, 1, 0, 1],
        rewards=[1.0, 0.0, None, 1.0],
        correct=[True, False, False, True],
        usable=[True, True, False, True],
        features=np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32),
        positives=[[3], [], [], [0]],
    )


class TestSelfContained:
    def test_nothing_is_loaded_from_anywhere(self, page: Page) -> None:
        for tag, attributes in page.elements:
            assert "src" not in attributes, tag
            assert tag not in {"link", "iframe", "object", "img", "embed", "base"}
            assert not attributes.get("href") or str(attributes["href"]).startswith("#")
        own_css = re.search(r"<style>(.*?)</style>", page.source, re.DOTALL)
        assert own_css is not None and "url(" not in own_css.group(1) and "@import" not in own_css.group(1)

    def test_a_policy_forbids_every_request(self, page: Page) -> None:
        policies = [attributes["content"] for tag, attributes in page.elements if attributes.get("http-equiv")]
        assert len(policies) == 1 and str(policies[0]).startswith("default-src 'none';")
        assert "http" not in str(policies[0])

    def test_plotly_is_there_once(self, page: Page) -> None:
        assert len(page.scripts) == 1 + 2 + 2
        assert page.source.count("Copyright 2012-") == 1 and len(page.source) < 8_000_000


class TestContent:
    def test_the_sections_and_the_links_to_them(self, page: Page) -> None:
        anchors = [a["id"] for tag, a in page.elements if tag == "section"]
        links = [str(a["href"]) for tag, a in page.elements if tag == "a" and "href" in a]
        assert anchors[0] == "summary" and anchors[-2:] == ["rollouts", "about"]
        assert {"curves", "borrowing", "term"} < set(anchors)
        assert [f"#{anchor}" for anchor in anchors] == links

    def test_every_figure_is_placed_once_and_valid(self, page: Page) -> None:
        placed = [int(str(a["data-figure"])) for _, a in page.elements if "data-figure" in a]
        assert sorted(placed) == list(range(len(page.data["figures"])))
        for figure in page.data["figures"]:
            go.Figure(figure)  # raises for an attribute that plotly does not know

    def test_the_explorer_holds_every_kept_rollout(self, page: Page) -> None:
        plain, contrastive = page.rollouts(0), page.rollouts(1)
        assert [run["name"] for run in page.data["explorer"]] == [plain["run"], contrastive["run"]] == ["grpo", "mcpo"]
        assert list(plain["explained"]) == ["features"] and list(contrastive["explained"]) == ["features", "embeddings"]
        assert [step["step"] for step in contrastive["steps"]] == [10, 20, 30, 40, 50, 60]
        assert len(contrastive["completion"]) == len(contrastive["at"]["embeddings"][0]) == 360
        assert not any(plain["pairs"]) and any(contrastive["pairs"])

    def test_facts_of_the_run(self, page: Page) -> None:
        for word in ("builtin:tiny", "seed 0", "60 steps", "finished", "mcpo-rl 0."):
            assert word in page.text


class TestSafety:
    def test_text_of_models_stays_text(self, empty_run: Callable[[str], RunDirectory], tmp_path: Path) -> None:
        run = empty_run("</title><script>hacked()<")
        run.append_metrics({"step": 1, "domain/<script>x/accuracy": 0.5, "contrastive/borrow/<b>/<i>": 2.0})
        run.write_rollouts(evil_batch())
        run.write_manifest(model=EVIL, error=EVIL)
        page = Page(write_report([run.path], tmp_path / "report.html"))
        assert len(page.scripts) == 1 + 1 + 2
        assert not any(tag in {"img", "b"} for tag, _ in page.elements)
        assert page.text.count(EVIL) >= 2  # model and error
        assert not any("window.hacked" in script for script in page.scripts)
        assert page.rollouts(0)["completion"][0] == page.rollouts(0)["prompts"][0] == EVIL

    def test_json_cannot_end_its_element(self, empty_run: Callable[[str], RunDirectory], tmp_path: Path) -> None:
        run = empty_run("run")
        run.write_rollouts(evil_batch())
        page = Page(write_report([run.path], tmp_path / "report.html"))
        assert "<" not in page.scripts[0] and "\u2028" not in page.scripts[0]
        assert page.data["explorer"][0]["name"] == "run" and page.data["domains"] == ["math", "<i>evil</i>"]
        assert set(page.scripts[1]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")

    def test_long_texts_are_cut_and_say_so(self, empty_run: Callable[[str], RunDirectory], tmp_path: Path) -> None:
        run = empty_run("run")
        run.write_rollouts(evil_batch())
        page = Page(write_report([run.path], tmp_path / "report.html"))
        assert page.rollouts(0)["completion"][2] == ["x" * 7200, 88_000, "x" * 4800]


class TestMissingPieces:
    def test_an_empty_run(self, empty_run: Callable[[str], RunDirectory], tmp_path: Path) -> None:
        page = Page(write_report([empty_run("run").path], tmp_path / "report.html"))
        for sentence in ("No run here has an evaluation", "No metrics per domain", "None of these runs", "No rollouts"):
            assert sentence in page.text

    def test_no_correct_rollout_and_no_representation(
        self, empty_run: Callable[[str], RunDirectory], tmp_path: Path
    ) -> None:
        run = empty_run("run")
        run.write_rollouts(
            RolloutBatch(
                step=1,
                prompts=["p"],
                completions=[""],
                domains=["math"],
                prompt_ids=[0],
                rewards=[0.0],
                correct=[False],
                usable=[True],
            )
        )
        page = Page(write_report([run.path], tmp_path / "report.html"))
        found = page.rollouts(0)
        assert found["explained"] == {} and found["verdict"] == [1] and found["pairs"] == [None]

    def test_remarks_about_damage_are_shown(self, empty_run: Callable[[str], RunDirectory], tmp_path: Path) -> None:
        run = empty_run("run")
        run.append_metrics({"step": 1})
        with run.metrics_file.open("a") as file:
            file.write("{")
        assert "skipped 1 unreadable line" in Page(write_report([run.path], tmp_path / "r.html")).text

    def test_without_the_extra(self, monkeypatch: pytest.MonkeyPatch, two_runs: list[Path], tmp_path: Path) -> None:
        monkeypatch.setitem(sys.modules, "plotly.offline", None)
        with pytest.raises(MissingDependencyError, match=r"pip install 'mcpo-rl\[report\]'"):
            write_report(two_runs, tmp_path / "report.html")

    def test_a_place_that_cannot_be_written(self, two_runs: list[Path], tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(RunError, match=r"Cannot write .*report\.html"):
            write_report(two_runs, tmp_path / "file" / "report.html")

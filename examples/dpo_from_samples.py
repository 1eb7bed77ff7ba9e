"""Offline: a model answers, verifiers judge, and DPO trains on pairs of a right and a wrong answer to a problem.

    python examples/dpo_from_samples.py --problems 100 --samples 8 --steps 20

Nothing is sampled while it trains. The contrastive term works as it does with GRPO: the chosen completions are its
correct rollouts, the rejected ones its incorrect rollouts, and the pool is what one optimizer step sees.
"""

import argparse
from collections import defaultdict

from datasets import Dataset

from mcpo_rl.data import load_problems
from mcpo_rl.evaluation import evaluate
from mcpo_rl.models import load_model_and_tokenizer
from mcpo_rl.trainers.trl import MCPODPOConfig, MCPODPOTrainer
from mcpo_rl.types import Problem, Status


def preference_rows(problems: list[Problem], answers: list[tuple[int, str, Status]]) -> list[dict]:
    """Pair the right and the wrong answers (problem, text, status) to each problem, first with first.

    An answer that could not be verified is neither right nor wrong, and is left out.
    """
    found: dict[tuple[int, Status], list[str]] = defaultdict(list)
    for row, text, status in answers:
        if text not in found[row, status]:  # a pair of each two different answers, once
            found[row, status].append(text)

    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    return [
        {"prompt": problem.prompt, "chosen": said(right), "rejected": said(wrong), "domain": problem.domain}
        for row, problem in enumerate(problems)
        for right, wrong in zip(found[row, Status.CORRECT], found[row, Status.INCORRECT], strict=False)
    ]


def main(arguments: list[str] | None = None) -> None:
    """Sample, verify, pair, train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin:tiny")
    parser.add_argument("--problems", type=int, default=100, help="of each domain")
    parser.add_argument("--samples", type=int, default=8, help="answers to each problem")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--output-dir", default="runs/dpo")
    options = parser.parse_args(arguments)

    model, tokenizer = load_model_and_tokenizer(options.model)
    problems = [
        problem
        for domain in ("math", "code", "logic")
        for problem in load_problems({"source": "procedural", "domain": domain, "count": options.problems})
    ]
    result = evaluate(model, tokenizer, problems, samples=options.samples, max_new_tokens=64, batch_size=128)
    answers = [(item.problem, item.text, item.verdict.status) for item in result.completions]
    rows = preference_rows(problems, answers)
    print(f"{len(rows)} pairs from {len(answers)} answers to {len(problems)} problems")

    config = MCPODPOConfig(
        output_dir=options.output_dir,
        max_steps=options.steps,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=4,  # the pool: 32 pairs
        learning_rate=1e-5,
        contrastive_grad_ratio=0.2,
        logging_steps=5,
        bf16=False,
        report_to="none",
        precompute_ref_log_probs=True,  # of the model as it is now
    )
    MCPODPOTrainer(model, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer).train()


if __name__ == "__main__":
    main()

"""Run the command: `python -m mcpo_rl`, or `accelerate launch -m mcpo_rl train RECIPE.yaml`."""

from mcpo_rl.cli import main

if __name__ == "__main__":
    raise SystemExit(main())

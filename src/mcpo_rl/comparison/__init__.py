"""Methods side by side: what is run for a fair comparison, how far it is, and what came out.

    <out>/
      comparison.yaml                            the plan: recipe, methods, seeds, variants, budget
      recipes/mcpo/seed_0.yaml                   what each run is, to be started by hand just as well
      runs/mcpo/seed_0/                          run directories
      runs/single/seed_0/math/                   those of specialists, and of the stages of `sequential`
      logs/mcpo/seed_0.log                       what each run printed
      comparison.json  comparison.md  comparison.tex

Runs are separate commands (`mcpo-rl train`, `mcpo-rl merge`): this package plans them, starts them and reads the run
directories that they leave. It imports neither torch nor a trainer.

    methods     the methods by name, and the two conventions of a budget;  variants: those that a user defines
    budget      a recipe cut down to one domain's part
    planning    from a recipe to a plan;  plan: its tasks and its files
    running     runs the tasks;  processes: as processes of their own
    outcomes    what the runs left;  seeds, averages: estimates and tests;  curves, learning: how they got there
    result      all of it, rows: a method's part;  table, evidence, cells: for people
"""

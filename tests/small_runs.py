"""Overrides for a run of about a second."""

SMALL = ["logger=none", "training.updates=12", "training.batch_size=32", "evaluation.samples=40",
         "evaluation.latency_repeats=2", "evaluation.throughput_repeats=1",
         "evaluation.time_limit_seconds=0.1", "training.validations=3",
         "evaluation.pairwise_examples=100", "evaluation.training_examples=100"]  # fmt: skip
MOONS = ["data=moons", "data.train=500", "data.val=100", "data.test=100"]

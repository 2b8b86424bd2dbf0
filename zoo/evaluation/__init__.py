"""The evaluation of models: one protocol for every family, see :mod:`zoo.evaluation.protocol`."""

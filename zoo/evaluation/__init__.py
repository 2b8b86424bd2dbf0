"""How every model is judged: one protocol, whatever the family. See :mod:`zoo.evaluation.protocol`."""

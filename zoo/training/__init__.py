"""How a model learns: one LightningModule per training rule, none of which knows which model it holds."""

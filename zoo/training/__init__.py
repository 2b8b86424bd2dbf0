"""How a model learns: one LightningModule for each training objective, which knows no model by name."""

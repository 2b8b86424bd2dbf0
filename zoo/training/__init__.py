"""Training: one LightningModule for each objective, independent of any particular model."""

"""Data sets as LightningDataModules, and the :class:`DataSpec` that models are built from."""

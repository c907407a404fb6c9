"""The lab: how good members and ensembles are, on tasks with known answers. Knows no page and no visitor."""

"""The lab: measures members and ensembles on tasks with known answers. Knows no page and no visitor."""

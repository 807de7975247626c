"""A module a cohort: what its download holds, its labels, its people, its readers."""

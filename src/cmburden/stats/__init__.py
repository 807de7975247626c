"""Pure statistics on arrays: intervals, agreement, regression, matching of points."""

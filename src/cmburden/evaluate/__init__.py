"""Predictions and truth in; measures, figures and a page out."""

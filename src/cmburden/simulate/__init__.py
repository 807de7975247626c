"""Simulated GRE and SWI scans with known microbleeds: physics over real or template anatomy."""

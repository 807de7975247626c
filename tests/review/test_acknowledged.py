"""An acknowledged decision is on disk once, whatever happens meanwhile (acknowledged.py)."""

import acknowledged
import pytest


@pytest.mark.endurance
def test_no_acknowledged_decision_is_lost_or_doubled(tmp_path):
    readers = acknowledged.trial(tmp_path, decisions=1200, times=1)
    assert {name: acknowledged.faults_of(reader) for name, reader in readers.items()} == {
        "AB": [],
        "CD": [],
    }
    assert sum(len(reader.acknowledged) for reader in readers.values()) == 1200
    for reader in readers.values():
        assert reader.events == dict.fromkeys((event.__name__ for event in acknowledged.EVENTS), 1)
    # The room on disk did end, and a decision was refused for it.
    assert all(reader.refusals[507] for reader in readers.values())

"""Worklists, sittings, and which requests the server refuses."""

import contextlib
import dataclasses
import gzip
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from urllib.parse import quote

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import reviewable
import uvicorn

from cmburden.cohort import verdicts
from cmburden.core.errors import CMBurdenError
from cmburden.core.scan import LEFT_RIGHT, Outcome
from cmburden.core.tables import CANDIDATES, FREE_HAND_SAMPLE, PARTICIPANTS, REVIEWS, SUMMARY
from cmburden.review import connections, sample, server, store
from cmburden.review.pictures import Pictures
from cmburden.review.session import Refused, Sitting
from cmburden.review.worklist import Options, Study, definite_threshold, worklist
from cmburden.run import cli
from cmburden.train import label_table, lesions

TOKEN = "t" * 43
TOKEN_OF_ANOTHER = "another-token"
TOKENS = (TOKEN, TOKEN_OF_ANOTHER)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return reviewable.cohort(tmp_path_factory.mktemp("review"), participants=10)


@pytest.fixture
def study(made):
    yield Study.read(made.layout)
    for path in made.layout.reader_file("x").parent.glob("*"):
        if not path.name.startswith("net."):
            path.unlink()
    made.layout.reviews.unlink(missing_ok=True)


# --- worklists ---


def test_useful_order_begins_at_the_threshold_and_stays_in_a_scan(study):
    items = worklist(study, "A", Options())
    far = [round(abs(item.probability - reviewable.DEFINITE), 6) for item in items]
    assert far[0] == min(far) and len(items) > 10
    assert {item.label for item in items} == {"definite", "possible"}
    scans = [item.scan_id for item in items]
    order = list(dict.fromkeys(scans))
    assert scans == sorted(scans, key=order.index)
    by_scan = [[d for d, s in zip(far, scans, strict=True) if s == one] for one in order]
    assert all(own == sorted(own) for own in by_scan)
    assert [own[0] for own in by_scan] == sorted(own[0] for own in by_scan)


def test_a_reader_sees_the_scans_that_they_are_given(study):
    own = frozenset(sorted(study.scans)[:3])
    items = worklist(study, "A", Options(scans=own, free_hand=8))
    assert {item.scan_id for item in items} <= own and items


def test_the_threshold_is_the_one_that_the_run_used(study):
    assert definite_threshold(study.layout) == 0.6
    reviewable.write_threshold(study.layout, thresholds_in_use_definite=0.45)
    assert definite_threshold(study.layout) == 0.45
    reviewable.write_threshold(study.layout)


def test_a_run_that_recorded_no_threshold_is_one_sentence(study):
    path = study.layout.table("summary")
    SUMMARY.write(path, [])
    with pytest.raises(CMBurdenError, match=r"names no threshold.*--order random or scan"):
        worklist(study, "A", Options())
    assert worklist(study, "A", Options(order="scan"))
    path.unlink()
    with pytest.raises(CMBurdenError, match="is not there"):
        worklist(study, "A", Options())
    reviewable.write_threshold(study.layout)


def test_random_order_is_seeded_and_of_each_reader(study):
    one, again, other = (worklist(study, name, Options(order="random")) for name in ("A", "A", "B"))
    assert one == again != other
    assert set(one) == set(other)


def test_near_misses_are_the_most_probable_of_the_rejected(study):
    items = worklist(study, "A", Options(near_misses=3))
    shown = [item.probability for item in items if item.label == "rejected"]
    every = CANDIDATES.read(study.layout.candidates)
    every = every[every["scan_id"].isin(study.scans)]
    rejected = every.loc[every["label"] == "rejected", "probability"]
    assert sorted(shown) == sorted(rejected)[-3:]


def test_every_reader_reads_the_same_sample_and_a_larger_one_holds_it(study):
    few, many = (
        [i.scan_id for i in worklist(study, name, Options(free_hand=n)) if i.mode == "free-hand"]
        for name, n in (("A", 2), ("B", 5))
    )
    assert len(few) == 2 and many[:2] == few


def test_the_sample_is_drawn_once_by_class_and_kept(study):
    """Audit A2: a sample stratified by the software's call, with what its fractions need."""
    first = [i.scan_id for i in worklist(study, "A", Options(free_hand=4))][:4]
    kept = FREE_HAND_SAMPLE.read(study.layout.free_hand_sample)
    chosen = PARTICIPANTS.read(study.layout.table("participants"))["scan_id"]
    assert set(kept["scan_id"]) == set(chosen) and set(first) <= set(chosen)
    lesions = study.lesions.groupby("scan_id")["probability"]
    expected = 1 - (1 - lesions.apply(list).map(np.array)).map(np.prod)
    by_scan = kept.set_index("scan_id")["expected"]
    expected = expected[expected.index.isin(by_scan.index)]
    assert by_scan[expected.index].to_numpy() == pytest.approx(expected.to_numpy())
    # Another seed changes nothing: what was read stays a sample of its class.
    again = [i.scan_id for i in worklist(study, "A", Options(free_hand=4, seed=9))][:4]
    assert again == first


def test_a_plan_says_how_many_to_read_and_opens_nothing(study, capsys, monkeypatch):
    """Audit section 4.16: how many scans to read for a given width."""
    out = str(study.layout.root)
    assert cli.main(["review", out, "--plan", "0.01"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["GRE", "SWI"]
    assert all("no reading gives a width of 0.01" in line for line in lines)
    assert cli.main(["review", out, "--plan", "7"]) == 2
    assert "between 0 and 1" in capsys.readouterr().err
    assert not study.layout.free_hand_sample.exists()
    # The 1,000 people of the figures in docs/statistics.md, called or not.
    many = pd.DataFrame(
        {
            "contrast": "GRE",
            "reading_class": np.repeat([0, 4], [724, 276]),
            "expected": np.repeat([0.04, 0.6], [724, 276]),
        }
    )
    monkeypatch.setattr(sample, "_frame", lambda *_: many)
    (line,) = sample.plan(study, 0.12)
    assert "read 88 free-hand for a 95 % interval 0.12 wide (50 give 0.1" in line


def test_a_second_reading_is_asked_for_not_named(study, capsys):
    out = str(study.layout.root)
    assert cli.main(["review", out, "--reader", "B1Again"]) == 2
    assert "give --reader B1 --again" in capsys.readouterr().err
    assert cli.main(["review", out, "--reader", "consensus", "--again"]) == 2
    assert "no second reading" in capsys.readouterr().err


def test_a_run_that_is_not_complete_is_one_sentence(tmp_path, capsys):
    assert cli.main(["review", str(tmp_path), "--reader", "A"]) == 2
    assert "run it first" in capsys.readouterr().err
    assert cli.main(["review", str(tmp_path)]) == 2
    assert "give --reader ID" in capsys.readouterr().err
    assert cli.main(["review", str(tmp_path), "--reader", "../A"]) == 2
    assert "letters and digits" in capsys.readouterr().err


# --- a sitting ---


def accepted(sitting: Sitting, number: int, **more) -> dict:
    return sitting.decide({"item": number, "action": "accept"} | more)


def test_a_scan_of_the_sample_hides_its_detections_until_it_is_read(study):
    sitting = Sitting(study, "A", Options(free_hand=3))
    sample = {i.scan_id for i in sitting.items if i.mode == "free-hand"}
    locked = [i["id"] for i in sitting.overview()["items"] if i.get("locked")]
    assert locked and all(sitting.items[n].scan_id in sample for n in locked)
    shown = sitting.overview()["items"][locked[0]]
    assert not {"at", "software", "region"} & set(shown)
    with pytest.raises(Refused, match="free-hand first"):
        accepted(sitting, locked[0])
    scan_id = sitting.items[locked[0]].scan_id
    hand = next(n for n, i in enumerate(sitting.items) if i.scan_id == scan_id)
    sitting.decide({"item": hand, "action": "read"})
    accepted(sitting, locked[0])


def test_blind_to_the_software_means_that_nothing_of_it_is_sent(study):
    seen, blind = (Sitting(study, "A", Options(blind=b)).overview() for b in (False, True))
    assert len(seen["items"]) > 0
    assert all("software" in item for item in seen["items"])
    text = json.dumps(blind)
    assert not any(word in text for word in ("probability", "p_cnn", "yolo", "definite", "label"))


def test_blind_to_other_readers(study):
    accepted(Sitting(study, "A", Options()), 0, note="surely")
    shown = Sitting(study, "B", Options()).overview()
    assert "surely" not in json.dumps(shown)
    assert len(shown["items"]) > 0
    assert all(item["state"] is None for item in shown["items"])


def test_consensus_is_shown_what_is_disputed_and_settles_it(study):
    a, b = (Sitting(study, name, Options()) for name in "AB")
    for n in range(3):
        accepted(a, n)
        if n == 1:
            b.decide({"item": n, "action": "reject", "class": "vessel"})
        else:
            accepted(b, n)
    place = a.items[5].at
    consensus = Sitting(study, "consensus", Options())
    assert [(i.scan_id, i.at) for i in consensus.items] == [(a.items[1].scan_id, a.items[1].at)]
    assert consensus.overview()["items"][0]["votes"] == ["microbleed", "vessel"]
    accepted(consensus, 0)
    reviews = REVIEWS.read(store.export(study.layout))
    places = verdicts.settle(reviews, study.lesions, study.table).places
    assert places["settled"].value_counts()["consensus"] == 1
    assert "disputed" not in set(places["settled"])
    assert place not in [i.at for i in consensus.items]


def test_moved_and_added_lesions_get_their_region(study):
    sitting = Sitting(study, "A", Options())
    sitting.decide({"item": 0, "action": "accept", "at": [12.0, 3.0, 4.0]})
    sitting.decide({"item": 0, "action": "add", "at": [-12.0, 3.0, 4.0], "note": "small"})
    rows = {row["decision"]: row for row in sitting.store.standing()}
    assert (rows["accept"]["region"], rows["accept"]["hemisphere"]) == ("frontal", "right")
    assert (rows["add"]["hemisphere"], rows["add"]["note"]) == ("left", "small")
    assert rows["accept"]["shown_x_mm"] == sitting.items[0].at[0]
    item = sitting.overview()["items"][0]
    assert item["state"]["at"] == [12.0, 3.0, 4.0] and len(item["marks"]) == 1


def test_a_scan_replaced_since_is_to_be_reviewed_again(study):
    sitting = Sitting(study, "A", Options())
    accepted(sitting, 0)
    scan_id = sitting.items[0].scan_id
    other = dataclasses.replace(study.scans[scan_id], content_key="other")
    again = dataclasses.replace(study, scans=study.scans | {scan_id: other})
    assert Sitting(again, "A", Options()).overview()["items"][0]["state"] is None


def test_undo_returns_to_the_item(study):
    sitting = Sitting(study, "A", Options())
    accepted(sitting, 4)
    accepted(sitting, 2)
    assert sitting.undo()["undone"] == 2 and sitting.undo()["undone"] == 4
    assert sitting.undo()["undone"] is None
    assert all(item["state"] is None for item in sitting.overview()["items"])


WRONG = {
    "item": [None, -1, 10**6, "0", "../0", True, 1.5, [0], {"a": 1}],
    "action": [None, "../accept", "drop", 1, [], "read", "remove"],
    "class": ["../vessel", "microbleeds", 1, ["vessel"]],
    "at": ["../0", [0, 0], [0, 0, "../0"], [1e9, 0, 0], [float("nan"), 0, 0], [True, 0, 0], {}],
    "note": [1, ["../x"], "x" * 2001],
    "mark": [],
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_page_would_not_send_is_refused_and_not_stored(study, name):
    sitting = Sitting(study, "A", Options())
    for value in WRONG[name]:
        sent = {"item": 0, "action": "reject"} | {name: value}
        with pytest.raises(Refused):
            sitting.decide(sent)
    for mark in (None, "../1", 1, -1, True):
        with pytest.raises(Refused):
            sitting.decide({"item": 0, "action": "remove", "mark": mark})
    for sent in (None, [], "x", 1):
        with pytest.raises(Refused):
            sitting.decide(sent)
    assert sitting.store.standing() == []


# --- what a reader says beside yes and no ---


def test_certainty_region_and_seconds_are_kept_with_the_decision(made, study):
    sitting = Sitting(study, "Certain", Options())
    sent = {"item": 0, "action": "accept", "certainty": "possible", "seconds": 3.456}
    sitting.decide(sent | {"region": "insula", "hemisphere": "left"})
    (row,) = sitting.store.standing()
    kept = [row[name] for name in ("certainty", "region", "group", "hemisphere", "region_from")]
    assert kept == ["possible", "insula", "lobar", "left", "reader"] and row["seconds"] == 3.46
    # A rejection has no certainty, and the atlas's region comes back.
    sitting.decide({"item": 0, "action": "reject", "certainty": "possible", "seconds": 99999.0})
    (row,) = sitting.store.standing()
    assert (row["certainty"], row["region_from"], row["seconds"]) == (None, None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"certainty": "sure"},
        {"region": "moon"},
        {"region": "insula", "hemisphere": "up"},
        {"seconds": -1},
        {"seconds": "3"},
        {"action": "scan", "quality": "fine"},
        {"action": "scan", "siderosis": ["focal"]},
        {"action": "scan", "siderosis": "focal", "siderosis_foci": 0},
        {"action": "scan", "siderosis": "absent", "siderosis_foci": 2},
        {"action": "scan", "siderosis_foci": 2},
        {"action": "scan", "siderosis": "focal", "siderosis_foci": True},
        {"action": "scan", "quality_reason": "x" * 2001},
        {"items": [], "key": "k"},
        {"items": [0], "key": None},
        {"items": list(range(61)), "key": "k"},
    ],
)
def test_what_the_page_cannot_have_sent_is_refused(made, study, wrong):
    sitting = Sitting(study, "Wrong", Options())
    with pytest.raises(Refused):
        sitting.decide({"item": 0, "action": "accept"} | wrong)
    assert sitting.store.standing() == []


def test_a_word_on_the_scan_stands_once_and_is_undone(made, study):
    sitting = Sitting(study, "Words", Options())
    for quality in ("usable", "unusable"):
        sitting.decide(
            {"item": 0, "action": "scan", "quality": quality, "quality_reason": "motion"}
        )
    shown = sitting.overview()["items"][0]
    assert (shown["word"]["quality"], shown["state"]) == ("unusable", None)
    sitting.undo()
    assert sitting.overview()["items"][0]["word"]["quality"] == "usable"


def test_many_rejections_of_one_request_are_decisions_of_their_own(made, study):
    sitting = Sitting(study, "Many", Options())
    sent = {"items": [0, 2, 3], "action": "reject", "class": None, "key": "page-1", "item": 0}
    sitting.decide(sent)
    again = sitting.decide(sent)  # a request that was repeated is carried out once
    assert len(again["items"]) >= 3 and len(sitting.store.standing()) == 3
    assert sitting.n_open == len(sitting.items) - 3
    sitting.undo()
    assert len(sitting.store.standing()) == 2
    assert sitting.summary().startswith(f"2 of {len(sitting.items)} lesions decided: 0 definite")


# --- images ---


def unpacked(message: bytes) -> tuple[dict, list[np.ndarray]]:
    content = gzip.decompress(message) if message[:2] == b"\x1f\x8b" else message
    size = int.from_bytes(content[:4], "little")
    header = json.loads(content[4 : 4 + size])
    values = np.frombuffer(content, "<u2", offset=4 + size)
    parts = np.split(values, len(header["channels"]))
    return header, [part.reshape(header["shape"], order="F") for part in parts]


def test_blocks_hold_the_volume_without_loss(made, study):
    sitting = Sitting(study, "A", Options())
    item = sitting.items[0]
    header, (block, mask) = unpacked(sitting.pictures.block(item.scan_id, item.at))
    image = nib.load(made.layout.preproc(study.scans[item.scan_id]))
    box = tuple(slice(a, a + n) for a, n in zip(header["first"], header["shape"], strict=True))
    assert np.array_equal(block * header["unit"], np.asarray(image.dataobj)[box])
    assert np.allclose(
        np.array(header["affine"]) @ [0, 0, 0, 1], image.affine @ [*header["first"], 1]
    )
    brain = np.asarray(nib.load(made.layout.brain_mask(study.scans[item.scan_id])).dataobj)
    assert np.array_equal(mask, brain[box])
    # The lesion lies in it, a dark dot.
    at = np.rint(np.linalg.inv(header["affine"]) @ [*item.at, 1])[:3].astype(int)
    assert block[tuple(at)] * header["unit"] < 0.6
    header, (whole, _) = unpacked(sitting.pictures.whole(item.scan_id))
    assert np.array_equal(whole * header["unit"], np.asarray(image.dataobj))


def test_a_mark_has_no_side_where_left_and_right_are_unknown(made, study):
    name, scan = next(iter(study.scans.items()))
    record = made.layout.record("preprocess", name)
    before = Outcome.read(record)
    place = Pictures(made.layout, {name: scan}).place(name, (20.0, 0.0, 0.0))
    assert place == ("frontal", "lobar", "right")
    dataclasses.replace(before, measures=before.measures | {LEFT_RIGHT: False}).write(record)
    place = Pictures(made.layout, {name: scan}).place(name, (20.0, 0.0, 0.0))
    before.write(record)
    assert place == ("frontal", "lobar", "unknown")


def test_phase_comes_along_where_its_grid_is_the_scans(made, study, tmp_path):
    scan = next(iter(study.scans.values()))
    image = nib.load(made.layout.preproc(scan))
    phase = np.random.default_rng(0).integers(0, 4096, image.shape).astype(np.int16)
    path = tmp_path / "phase.nii.gz"
    nib.save(nib.Nifti1Image(phase, image.affine), path)
    held = dataclasses.replace(scan, phase_path=path)
    header, parts = unpacked(Pictures(made.layout, {scan.scan_id: held}).whole(scan.scan_id))
    assert header["channels"] == ["magnitude", "phase", "mask"] and header["note"] == ""
    assert np.allclose(
        parts[1] / 65535 * (phase.max() - phase.min()) + phase.min(), phase, atol=0.1
    )
    nib.save(nib.Nifti1Image(phase[:-1], image.affine), path)
    header, _ = unpacked(Pictures(made.layout, {scan.scan_id: held}).whole(scan.scan_id))
    assert header["channels"] == ["magnitude", "mask"] and "grid" in header["note"]
    made.layout.brain_mask(scan).rename(tmp_path / "mask")
    header, _ = unpacked(Pictures(made.layout, {scan.scan_id: scan}).whole(scan.scan_id))
    (tmp_path / "mask").rename(made.layout.brain_mask(scan))
    assert header["channels"] == ["magnitude"]  # the reader sees the scan anyway


# --- who is answered ---


@pytest.fixture(scope="module")
def served(made):
    study = Study.read(made.layout)
    sitting, other = (Sitting(study, name, Options()) for name in ("net", "net2"))
    bound = server.listening(0)
    running = uvicorn.Server(
        server.settings({TOKEN: sitting, TOKEN_OF_ANOTHER: other}, server.Place())
    )
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    yield bound.getsockname(), sitting
    running.should_exit = True
    thread.join(10)


def ask(served, path, method="GET", token=TOKEN, host=None, body=None, **headers):
    """Status and body of a request whose path is sent as it is."""
    address, _ = served
    connection = http.client.HTTPConnection(*address, timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", f"127.0.0.1:{address[1]}" if host is None else host)
    if token is not None:
        connection.putheader("Authorization", f"Bearer {token}")
    content = body.encode() if body else b""
    connection.putheader("Content-Length", str(len(content)))
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(content)
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    found = answer.status, answer.read(), headers
    connection.close()
    return found


def test_each_token_opens_the_review_of_its_reader(served):
    for token, reader in ((TOKEN, "net"), (TOKEN_OF_ANOTHER, "net2")):
        status, content, _ = ask(served, "/api/overview", token=token)
        assert status == 200 and json.loads(content)["reader"] == reader
    ask(served, "/api/hanging", "POST", body='{"slab": 20, "second": "T1w"}')
    kept = [json.loads(ask(served, "/api/overview", token=t)[1])["hanging"] for t in TOKENS]
    assert kept == [{"slab": 20, "second": "T1w"}, {}]
    status, *_ = ask(served, "/api/hanging", "POST", body='{"slab": "a lot"}')
    assert status == 400


def test_images_beside_are_named_and_counted(served):
    status, content, _ = ask(served, "/api/beside/0")
    assert status == 200 and json.loads(content) == {"others": []}
    for path in ("/api/beside/0/0/block", "/api/beside/0/x/block", "/api/beside/0/0/all"):
        assert ask(served, path)[0] == 400


PATHS = ("/", "/api/overview", "/api/block/0", "/api/scan/0", "/api/decisions", "/api/undo", "/x")


def test_it_listens_on_the_loopback_only(served):
    assert served[0][0] == "127.0.0.1"


def test_with_the_token_it_answers(served):
    status, page, headers = ask(served, f"/?token={TOKEN}", token=None)
    assert status == 200 and b"<canvas" in page
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert TOKEN.encode() not in page and b"https://" not in page and b"http://" not in page
    assert ask(served, "/api/overview")[0] == 200
    assert ask(served, "/api/block/0")[0] == 200
    assert ask(served, "/api/scan/0", host="localhost:1")[0] == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "x", TOKEN[:-1], TOKEN + "t", "é"])
def test_without_the_token_nothing_is_answered(served, path, token):
    for method in ("GET", "POST", "OPTIONS", "HEAD"):
        status, content, _ = ask(served, path, method, token)
        assert status == 403 and content in (b"Forbidden", b"")
    assert ask(served, f"{path}?token=x", token=None)[0] == 403


def test_the_token_in_an_address_opens_the_page_alone(served):
    for path in PATHS[1:]:
        assert ask(served, f"{path}?token={TOKEN}", token=None)[0] == 403


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:80", "127.0.0.1.evil.example", "192.168.0.1", "[::1]"],
)
@pytest.mark.parametrize("path", PATHS)
def test_another_host_is_refused_token_or_not(served, path, host):
    assert ask(served, path, host=host)[0] == 400
    assert ask(served, f"/?token={TOKEN}", token=None, host=host)[0] == 400


UP = (
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/",
    "../",
    "0/../../x",
    "-1",
    "0x0",
    "1e9",
)


@pytest.mark.parametrize("up", UP)
def test_no_parameter_leads_out_of_the_dataset(served, up):
    for path in (
        f"/api/block/{up}",
        f"/api/scan/{up}",
        f"/{up}",
        f"/api/{up}",
        f"/api/block/0/{up}",
    ):
        status, content, _ = ask(served, path)
        assert status in (400, 404), path
        assert b"root:" not in content
    _, sitting = served
    for name in ("item", "action", "class", "at", "note", "mark"):
        sent = {"item": 0, "action": "reject", "class": "vessel"} | {name: up}
        status, content, _ = ask(served, "/api/decisions", "POST", body=json.dumps(sent))
        # A note is free text and stays text.
        assert status == (200 if name in ("note", "mark") else 400), (name, content)
        if status == 200:
            sitting.undo()
    assert ask(served, "/api/overview?reader=" + up)[0] == 200  # parameters that mean nothing


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"' + "x" * 20_000 + '"', "[" * 9000])
def test_what_is_no_decision_is_refused(served, body):
    assert ask(served, "/api/decisions", "POST", body=body)[0] == 400


def test_methods_and_sites_that_are_not_ours(served):
    assert ask(served, "/api/decisions")[0] == 405
    assert ask(served, "/api/overview", "DELETE")[0] == 405
    _, _, headers = ask(served, "/api/overview", Origin="https://evil.example")
    assert not [name for name in headers if name.startswith("access-control")]


# --- values, connections and languages that nobody expects ---

HUGE = "9" * 4000
VALUES = [
    "null", "true", "-1", "1.5", "1e999", "-1e999", "NaN", HUGE, f"-{HUGE}", "9" * 5000, '""',
    '"\\ud800"', '"\\u0000"', "[]", "{}", "[" * 500 + "]" * 500, f"[{HUGE}, 0, 0]",
    "[1e308, -1e308, 1e308]", "[1e999, 0, 0]", '[["x"], {}, null]', '["\\udfff"]',
]  # fmt: skip
NAMES = ("item", "action", "class", "at", "note", "mark", "key")


@pytest.mark.parametrize("action", ["reject", "add", "remove"])
def test_every_value_of_every_part_of_a_decision_is_answered(served, action):
    """A value is taken, or refused with a sentence; none is an error of the server."""
    for name in NAMES:
        for value in VALUES:
            sent = {"item": "0", "action": f'"{action}"', "at": "[0, 0, 0]"} | {name: value}
            body = "{" + ", ".join(f'"{key}": {text}' for key, text in sent.items()) + "}"
            status, content, _ = ask(served, "/api/decisions", "POST", body=body)
            assert status in (200, 400), (body[:200], content)
            if status == 400:
                assert len(json.loads(content)["error"]) < 200
    for value in VALUES:
        for body in (value, f'{{"key": {value}}}'):
            assert ask(served, "/api/undo", "POST", body=body)[0] in (200, 400)
    assert ask(served, "/api/overview")[0] == 200
    while served[1].store.undo():
        pass


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 20, "٣", "1.0", "+1", "%00", "%ff", "0%0a"])
def test_an_address_that_names_no_item_is_refused(served, number):
    quoted = quote(number, safe="%+.")
    for path in ("block", "scan"):
        assert ask(served, f"/api/{path}/{quoted}")[0] in (400, 404)


def test_images_that_are_gone_are_a_sentence(served, made):
    _, sitting = served
    item = sitting.items[0]
    path = made.layout.preproc(sitting.study.scans[item.scan_id])
    away = path.rename(path.with_suffix(".away"))
    sitting.pictures._volumes.clear()
    try:
        for ask_for in ("/api/block/0", "/api/scan/0"):
            status, content, _ = ask(served, ask_for)
            assert status == 400 and "make it again" in json.loads(content)["error"]
        body = json.dumps({"item": 0, "action": "add", "at": [0, 0, 0]})
        assert ask(served, "/api/decisions", "POST", body=body)[0] == 400
    finally:
        away.rename(path)
    assert ask(served, "/api/block/0")[0] == 200


def test_a_torn_block_in_the_cache_is_cut_again(study):
    sitting = Sitting(study, "A", Options())
    item = sitting.items[0]
    whole = sitting.pictures.block(item.scan_id, item.at)
    path = sitting.pictures._block_path(item.scan_id, item.at)
    for torn in (b"", whole[: len(whole) // 2], whole[:-1] + b"x"):
        path.write_bytes(torn)
        assert sitting.pictures.block(item.scan_id, item.at) == whole == path.read_bytes()


def test_an_answer_that_refuses_closes_the_connection(served):
    assert ask(served, "/", token=None)[2]["connection"] == "close"
    assert ask(served, "/", host="evil.example")[2]["connection"] == "close"
    assert "connection" not in ask(served, "/api/overview")[2]


@pytest.mark.slow
def test_a_half_request_is_closed_after_its_time(served, monkeypatch):
    monkeypatch.setattr(connections, "HEADER_S", 0.3)
    address, _ = served
    for start in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"):
        with socket.create_connection(address, timeout=10) as half:
            half.sendall(start)
            assert half.recv(100) == b""
    # So is the second request of a connection.
    with socket.create_connection(address, timeout=10) as kept:
        header = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        kept.sendall(f"GET /api/block/0 HTTP/1.1\r\n{header}\r\n".encode())
        content = b""
        while not content.count(b"\r\n0\r\n") and len(content) < 100 + _length(content):
            content += kept.recv(100_000)
        kept.sendall(b"GET / HT")
        assert kept.recv(100) == b""


def _length(content: bytes) -> int:
    """Bytes of the whole answer as its header says; many while the header is not there."""
    head, end, _ = content.partition(b"\r\n\r\n")
    if not end:
        return 10**9
    line = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return len(head) + 4 + int(line.split(b":")[1]) - 100


def test_silent_connections_do_not_keep_the_reader_out(served, monkeypatch):
    monkeypatch.setattr(connections, "MOST", 8)
    address, _ = served
    with contextlib.ExitStack() as silent:
        sockets = [silent.enter_context(socket.create_connection(address)) for _ in range(30)]
        assert ask(served, "/api/overview")[0] == 200
        for oldest in sockets[:20]:
            oldest.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert oldest.recv(1) == b""
        assert ask(served, "/api/overview")[0] == 200


@pytest.mark.slow
def test_the_page_comes_in_a_locale_without_utf_8(made):
    """In a Latin-1 locale a text that is read without an encoding is another text."""
    code = "from cmburden.review import server; print(ascii(server._asset('review.html.j2')))"
    said = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code],
        env=os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "LANG": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\\u2192" in said.stdout


# --- labels ---


def test_exported_labels_are_read_back(made, study, capsys, tmp_path):
    sitting = Sitting(study, "A", Options(order="scan"))
    first = sitting.items[0].scan_id
    own = [n for n, item in enumerate(sitting.items) if item.scan_id == first]
    for n in own[1:]:
        accepted(sitting, n)
    sitting.decide({"item": own[0], "action": "reject", "class": "vessel"})
    sitting.decide({"item": own[0], "action": "add", "at": [10.0, 20.0, 5.0]})
    hand = Sitting(study, "B", Options(free_hand=len(study.scans)))
    n, empty = next((n, i.scan_id) for n, i in enumerate(hand.items) if i.scan_id != first)
    hand.decide({"item": n, "action": "read"})
    folder = tmp_path / "labels"
    assert cli.main(["review", str(made.layout.root), "--export-labels", str(folder)]) == 0
    assert "not read free-hand" in capsys.readouterr().out
    run = lesions.Run(made.layout, study.scans, frozenset())
    read = label_table.from_table(folder / "labels.tsv", run, None)
    assert read.problems == () and set(read.lesions) == {first, empty}
    assert read.lesions[empty] == ()
    kinds = [lesion.kind for lesion in read.lesions[first]]
    assert kinds.count("vessel") == 1 and kinds.count("microbleed") == len(own)
    added = next(le for le in read.lesions[first] if le.centre == (10.0, 20.0, 5.0))
    assert added.radius_mm == lesions.RADIUS_MM
    place = sitting.items[own[1]]
    nearest = min(
        read.lesions[first], key=lambda le: np.linalg.norm(np.subtract(le.centre, place.at))
    )
    assert nearest.centre == pytest.approx(place.at, abs=1e-3)
    assert nearest.radius_mm == pytest.approx(place.diameter_mm / 2, abs=1e-3)


def test_labels_of_nothing_settled_are_one_sentence(made, study, tmp_path, capsys):
    command = ["review", str(made.layout.root), "--export-labels", str(tmp_path)]
    assert cli.main(command) == 2
    assert "nobody has reviewed" in capsys.readouterr().err
    Sitting(study, "A", Options()).decide({"item": 0, "action": "note", "note": "later"})
    assert cli.main(command) == 2
    assert "no scan is settled" in capsys.readouterr().err


def test_a_port_in_use_is_one_sentence():
    bound = server.listening(0)
    with pytest.raises(CMBurdenError, match="--port"):
        server.listening(bound.getsockname()[1])
    bound.close()

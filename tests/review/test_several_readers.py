"""Several readers of one review: who is given what, and where it is served."""

import http.client
import shutil
import ssl
import subprocess
import threading

import pytest
import reviewable
import uvicorn

from cmburden.core.errors import CMBurdenError
from cmburden.review import readers, server
from cmburden.review.session import Sitting
from cmburden.review.worklist import Options, Study
from cmburden.run import cli

SCANS = [f"sub-{number:02d}_T2starw" for number in range(31)]


@pytest.mark.parametrize("each", [1, 2, 3])
def test_each_scan_goes_to_so_many_readers_evenly(each):
    lists = readers.shared_out(SCANS, ["AB", "CD", "EF"], each, seed=0)
    for scan_id in SCANS:
        assert sum(scan_id in own for own in lists.values()) == each
    sizes = [len(own) for own in lists.values()]
    assert max(sizes) - min(sizes) <= 1
    assert lists == readers.shared_out(SCANS[::-1], ["EF", "CD", "AB"], each, seed=0)
    if each < 3:
        assert lists != readers.shared_out(SCANS, ["AB", "CD", "EF"], each, seed=1)


@pytest.mark.parametrize("each", [0, 4])
def test_more_readers_than_there_are_is_a_sentence(each):
    with pytest.raises(CMBurdenError, match=f"--each {each}: .*1 to the number of readers"):
        readers.shared_out(SCANS, ["AB", "CD", "EF"], each, seed=0)


def test_a_table_says_who_is_given_what(tmp_path):
    table = tmp_path / "lists.tsv"
    table.write_text(f"reader\tscan_id\nAB\t{SCANS[0]}\nCD\t{SCANS[0]}\nCD\t{SCANS[1]}\n")
    lists = readers.read(table, ["AB", "CD"], SCANS)
    assert lists == {"AB": {SCANS[0]}, "CD": {SCANS[0], SCANS[1]}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("reader,scan_id\nAB,x\n", "under the heading reader and scan_id"),
        ("", "under the heading reader and scan_id"),
        ("reader\tscan_id\nAB\tsub-x\n", "1 scan.s. are not in this review, such as sub-x"),
        (f"reader\tscan_id\nCD\t{SCANS[0]}\n", "has no scan for --reader AB"),
    ],
)
def test_a_table_that_does_not_fit_is_a_sentence(tmp_path, text, words):
    table = tmp_path / "lists.tsv"
    table.write_text(text)
    with pytest.raises(CMBurdenError, match=words):
        readers.read(table, ["AB"], SCANS)
    with pytest.raises(CMBurdenError, match="cannot be read"):
        readers.read(tmp_path / "none.tsv", ["AB"], SCANS)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--reader", "AB,AB"], "name each reader once"),
        (["--reader", "AB,consensus"], "start the consensus alone"),
        (["--reader", "AB", "--host", "review.example"], "only over TLS"),
        (["--reader", "AB", "--tls-key", "k.pem"], "go together"),
        (["--reader", "AB", "--tls-key", "k.pem", "--tls-certificate", "c.pem"], "cannot be used"),
    ],
)
def test_what_does_not_go_together_is_a_sentence(tmp_path, capsys, given, words):
    assert cli.main(["review", str(tmp_path), *given]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_over_tls_by_a_name_of_the_machine(tmp_path):
    """A certificate of one's own; who asks by another name is refused."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made_by = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    named = [
        "-subj",
        "/CN=127.0.0.2",
        "-addext",
        "subjectAltName=IP:127.0.0.2",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run([*made_by, *named], check=True, capture_output=True)
    made = reviewable.cohort(tmp_path / "cohort", participants=2)
    place = server.Place("127.0.0.2", certificate, key)
    bound = server.listening(0, place.host)
    port = bound.getsockname()[1]
    assert place.address(port, "T") == f"https://127.0.0.2:{port}/?token=T"
    sitting = Sitting(Study.read(made.layout), "AB", Options())
    running = uvicorn.Server(server.settings({"T": sitting}, place))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    trusted = ssl.create_default_context(cafile=str(certificate))
    try:
        for host, status in ((f"127.0.0.2:{port}", 200), ("evil.example", 400)):
            asked = http.client.HTTPSConnection("127.0.0.2", port, context=trusted, timeout=60)
            asked.request(
                "GET", "/api/overview", headers={"Host": host, "Authorization": "Bearer T"}
            )
            assert asked.getresponse().status == status
            asked.close()
    finally:
        running.should_exit = True
        thread.join(20)

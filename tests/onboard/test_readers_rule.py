"""The rule for several readers, counted by hand."""

import itertools

from cmburden.onboard.readers import Mark, agreed


def mark(reader, x, kind="microbleed", radius=None):
    return Mark("s", kind, (float(x), 0.0, 0.0), radius, reader)


def none(reader):
    return Mark("s", "none", reader=reader)


def kinds(*marks):
    """Kind and x of the truth; whatever the order of the marks, it is the same."""
    found = {
        tuple((one.kind, one.place and round(one.place[0], 3)) for one in agreed(order))
        for order in itertools.permutations(marks)
    }
    assert len(found) == 1
    return list(found.pop())


def test_half_of_the_readers_make_a_definite_lesion_and_fewer_a_possible_one():
    assert kinds(mark("a", 0), mark("b", 4)) == [("microbleed", 2)]
    assert kinds(mark("a", 0), none("b")) == [("microbleed", 0)]
    assert kinds(mark("a", 0), none("b"), none("c")) == [("faint", 0)]
    assert kinds(mark("a", 0), mark("b", 1), none("c")) == [("microbleed", 0.5)]
    assert kinds(mark("a", 0), mark("b", 0, "faint"), none("c")) == [("faint", 0)]
    assert kinds(none("a"), none("b")) == [("none", None)]


def test_five_millimetres_part_lesions_and_no_reader_marks_one_twice():
    assert kinds(mark("a", 0), mark("b", 5)) == [("microbleed", 2.5)]
    assert kinds(mark("a", 0), mark("b", 5.1), none("c")) == [("faint", 0), ("faint", 5.1)]
    assert kinds(mark("a", 0), mark("a", 4), mark("b", 3)) == [
        ("microbleed", 0),
        ("microbleed", 3.5),
    ]
    # b lies between a and c, which are 8 mm apart: no lesion reaches so far.
    assert kinds(mark("a", 0), mark("b", 3), mark("c", 8)) == [("microbleed", 1.5), ("faint", 8)]


def test_one_reader_is_taken_as_he_marked():
    marks = [mark("a", 0, radius=2.0), mark("a", 1, "faint")]
    assert agreed(marks) == marks


def test_the_size_is_the_mean_of_those_given():
    (one,) = agreed([mark("a", 0, radius=2.0), mark("b", 0), mark("c", 0, radius=1.0)])
    assert one.radius_mm == 1.5

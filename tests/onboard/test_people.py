"""Ages, sexes, diagnoses and sites from invented tables of each cohort, F2 and F4 among them."""

import pytest
from read_images import image

from cmburden.onboard import phenotypes, visits
from cmburden.onboard.parts import Person
from cmburden.onboard.phenotypes import a4, adni, aibl, general, oasis3, ukb

ADNI = image("002_S_0685", "ses-M012", date="2011-07-08", image_id="346239")
WHO = ("sub-ADNI002S0685", "ses-M012")


def write(tmp_path, name, *lines):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


XML = """<?xml version="1.0"?><idaxs xmlns="http://ida.loni.usc.edu"><project xmlns="">
<subject><subjectIdentifier>002_S_0685</subjectIdentifier><researchGroup>LMCI</researchGroup>
<subjectSex>F</subjectSex><study><studyIdentifier>1</studyIdentifier><subjectAge>{age}</subjectAge>
<series><seriesIdentifier>114041</seriesIdentifier><dateAcquired>{day} 07:59:15.0</dateAcquired>
<imagingProtocol><imageUID>{image}</imageUID></imagingProtocol></series></study></subject>
</project></idaxs>"""
COLLECTION = (
    '"Image Data ID","Subject","Group","Sex","Age","Visit","Modality","Description","Type",'
    '"Acq Date","Format","Downloaded"',
    '"I346239","002_S_0685","CN","F","80","v11","MRI","Axial T2-Star","Original","7/08/2011",'
    '"DCM","1/02/2026"',
)
STUDY_ENTRY = (
    "subject_id,entry_visit,entry_age,entry_research_group,entry_date",
    "002_S_0685,bl,70.5,EMCI,2010-07-08",
)
ADNIMERGE = (
    "RID,PTID,VISCODE,EXAMDATE,AGE,PTGENDER,DX_bl,DX",
    "685,002_S_0685,bl,2010-07-08,69.5,Female,CN,CN",
    "685,002_S_0685,m12,2011-07-20,69.5,Female,CN,MCI",
)
PTDEMOG = ("RID,PTID,VISCODE2,PTGENDER,PTDOB", "685,002_S_0685,sc,2,07/1942")


def test_adni_ages_come_from_the_source_of_most_trust(tmp_path):
    def age():
        (person,) = adni([tmp_path], [ADNI])
        return person

    assert age() == Person(*WHO, site="002")
    write(tmp_path, "All_Subjects_PTDEMOG_01Jan2026.csv", *PTDEMOG)
    assert age() == Person(*WHO, 69.0, "F", None, "002")  # 15 July 1942 to 8 July 2011
    write(tmp_path, "ADNIMERGE.csv", *ADNIMERGE)
    assert age() == Person(*WHO, 70.5, "F", "MCI", "002")
    write(tmp_path, "All_Subjects_Study_Entry_01Jan2026.csv", *STUDY_ENTRY)
    assert age().age == 71.5
    write(tmp_path, "collection_1_02_2026.csv", *COLLECTION)
    assert age().age == 80
    write(
        tmp_path,
        "xml/ADNI_002_S_0685_I346239.xml",
        XML.format(age=81.3, image=346239, day="2011-07-08"),
    )
    assert age() == Person(*WHO, 81.3, "F", "MCI", "002")


def test_adni_age_of_another_day_is_not_taken(tmp_path):
    write(tmp_path, "a.xml", XML.format(age=81.3, image=1, day="2015-07-08"))
    assert adni([tmp_path], [ADNI]) == [Person(*WHO, None, "F", "LMCI", "002")]
    write(tmp_path, "b.xml", XML.format(age=71.3, image=2, day="2011-07-08"))
    assert adni([tmp_path], [ADNI])[0].age == 71.3  # another image of that day


def test_adni_entry_without_a_date_counts_the_months_of_the_session(tmp_path):
    lines = [line.rpartition(",")[0] for line in STUDY_ENTRY]
    write(tmp_path, "Study_Entry.csv", *lines)
    assert adni([tmp_path], [ADNI]) == [Person(*WHO, 71.5, None, "EMCI", "002")]


@pytest.mark.parametrize(
    ("lines", "diagnosis"),
    [
        (("PTID,VISCODE2,EXAMDATE,DIAGNOSIS", "002_S_0685,m12,2011-09-01,3"), "AD"),
        (("RID,VISCODE2,EXAMDATE,DXCURREN,DXCHANGE", "685,m12,2011-09-01,-4,5"), "AD"),
        (
            ("RID,VISCODE2,EXAMDATE,DIAGNOSIS", "685,v06,2011-09-01,2", "685,v01,2011-01-15,1"),
            "MCI",
        ),
        (("RID,VISCODE2,EXAMDATE,DIAGNOSIS", "685,v06,2012-09-01,2"), None),
        (("RID,VISCODE2,EXAMDATE,DIAGNOSIS", "685,m12,2011-09-01,-4"), None),
    ],
)
def test_adni_diagnoses_are_of_the_visit_or_the_nearest_within_half_a_year(
    tmp_path, lines, diagnosis
):
    write(tmp_path, "DXSUM_01Jan2026.csv", *lines)
    assert adni([tmp_path], [ADNI])[0].diagnosis == diagnosis


def test_adni_sessions_of_key_mri(tmp_path):
    write(
        tmp_path,
        "All_Subjects_Key_MRI_01Jan2026.csv",
        "image_id,subject_id,image_visit,image_date,series_instance_uid,loni_series",
        "346239,002_S_0685,m12,2011-07-08,1.2.3,114041",
    )
    sessions = phenotypes.adni_sessions([tmp_path])
    for source in (ADNI, image("002_S_0685", date="2011-07-08"), image("x", uid="1.2.3")):
        assert visits.session_of(source.source, sessions) == "M012"
    assert visits.session_of(image("002_S_0685", date="2012-07-08").source, sessions) is None


F2 = {
    "aibl_ptdemog_01-Jan-2020.csv": ("RID,SITEID,VISCODE,PTGENDER,PTDOB", "9,2,bl,2,/1940"),
    "aibl_mri3meta_01-Jan-2020.csv": ("RID,SITEID,VISCODE,EXAMDATE", "9,2,bl,07/08/2011"),
    "aibl_pdxconv_01-Jan-2020.csv": ("RID,SITEID,VISCODE,DXCURREN", "9,2,bl,1", "9,2,m18,3"),
}


def test_aibl_of_f2(tmp_path):
    for name, lines in F2.items():
        write(tmp_path, name, *lines)
    found = [
        image("9", "ses-M000", date="2011-07-08"),
        image("9", "ses-20110708", date="2011-07-08"),
        image("9", "ses-M018"),
        image("10", "ses-M000", date="2011-07-08"),
    ]
    by_visit = {(p.participant_id, p.session_id): p for p in aibl([tmp_path], found)}
    assert by_visit["sub-9", "ses-M000"] == Person("sub-9", "ses-M000", 71, "F", "CN", "2")
    assert by_visit["sub-9", "ses-20110708"].diagnosis == "CN"
    assert by_visit["sub-9", "ses-M018"] == Person("sub-9", "ses-M018", None, "F", "AD", "2")
    assert by_visit["sub-10", "ses-M000"] == Person("sub-10", "ses-M000")
    sessions = phenotypes.aibl_sessions([tmp_path])
    assert visits.session_of(found[0].source, sessions) == "M000"


def test_a4_ages_at_consent(tmp_path):
    write(tmp_path, "A4_SUBJINFO_PRV2_11Aug2025.csv", "BID,AGEYR", "B90000001,71.25")
    write(tmp_path, "A4_PTDEMOG_PRV2_11Aug2025.csv", "BID,PTGENDER,PTAGE", "B90000001,2,71")
    assert a4([tmp_path], [image("B90000001", None)]) == [Person("sub-B90000001", None, 71.2, "F")]


@pytest.mark.parametrize(
    "header",
    [
        "eid,31-0.0,34-0.0,21022-0.0,21003-2.0,21003-3.0",
        "eid,p31,p34,p21022,p21003_i2,p21003_i3",
        "participant.eid,participant.p31,participant.p34,x,participant.p21003_i2,"
        "participant.p21003_i3",
    ],
)
def test_ukb_of_f4(tmp_path, header):
    path = write(tmp_path, "f4.csv", header, "1000001,0,1950,58,66,", "1000002,1,1945,60,70,74")
    images = [image("1000001", "ses-2"), image("1000002", "ses-3"), image("1000001", "ses-3")]
    found = {(p.participant_id[4:], p.session_id): (p.age, p.sex) for p in ukb([path], images)}
    assert found == {
        ("1000001", "ses-2"): (66, "F"),
        ("1000002", "ses-3"): (74, "M"),
        ("1000001", "ses-3"): (None, "F"),
    }


def test_oasis3_counts_days_since_entry(tmp_path):
    write(tmp_path, "OASIS3_demographics.csv", "OASISID,AgeatEntry,GENDER", "OAS30001,65.1,2")
    write(
        tmp_path,
        "OASIS3_UDSb4_cdr.csv",
        "OASISID,OASIS_session_label,days_to_visit,age at visit,dx1",
        "OAS30001,OAS30001_UDSb4_d0700,0700,67,Cognitively normal",
        "OAS30001,OAS30001_UDSb4_d1500,1500,69,AD Dementia",
    )
    images = [image("OAS30001", "ses-d0757"), image("OAS30001", "ses-d1400")]
    assert oasis3([tmp_path], images) == [
        Person("sub-OAS30001", "ses-d0757", 67.2, "F", "CN"),
        Person("sub-OAS30001", "ses-d1400", 68.9, "F", "AD"),
    ]


def test_a_users_own_table(tmp_path):
    path = write(
        tmp_path,
        "people.tsv",
        "participant_id\tsession_id\tage\tsex\tdx\tsite",
        "sub-1\tses-1\t70\tm\tAD\tA",
        "1\t2\t72\tm\tAD\tB",
    )
    assert general([path], [image("1", "ses-1"), image("1", "ses-2"), image("2", None)]) == [
        Person("sub-1", "ses-1", 70, "M", "AD", "A"),
        Person("sub-1", "ses-2", 72, "M", "AD", "B"),
        Person("sub-2", None),
    ]


@pytest.mark.parametrize("tell", [adni, aibl, a4, ukb, oasis3, general])
def test_without_tables_everything_is_unknown(tell, tmp_path):
    assert tell([], [image("1", None)]) == tell([tmp_path], [image("1", None)])
    assert tell([], [image("1", None)]) == [Person("sub-1", None)]

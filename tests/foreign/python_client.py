"""Checks the contract from outside, in Python: python_client.py HOST:PORT [DESCRIPTOR_SET]

Message types come from the descriptor set, or from the server's reflection. The server holds the
sample, and nobody else files meanwhile. One line for each promise; the first broken one ends it.
"""

import sys
import traceback
from contextlib import contextmanager

import grpc
from attache_client import Client, Refused, pool_from_file, pool_from_reflection
from google.protobuf import json_format

SAMPLE_VISIT = "visits/kz-mod-az-2023-10"
SAMPLE_AGREEMENT = "agreements/az-kz-military-cooperation-plan-2024"
VISIT = "visits/foreign-py-visit"
BOTH = [{"states_all": ["AZ", "KZ"]}]

KINDS = {
    "visit": ("GetVisit", "ListVisits", "visits"),
    "meeting": ("GetMeeting", "ListMeetings", "meetings"),
    "agreement": ("GetAgreement", "ListAgreements", "agreements"),
    "exercise": ("GetExercise", "ListExercises", "exercises"),
    "person": ("GetPerson", "ListPersons", "persons"),
    "organization": ("GetOrganization", "ListOrganizations", "organizations"),
    "place": ("GetPlace", "ListPlaces", "places"),
}

DAY = {"edtf": "2023-10-06"}
CONTENT = {
    "visit": {
        "type": "VISIT_TYPE_WORKING",
        "hosts": [{"state": "AZ"}],
        "guests": [{"state": "KZ"}],
        "start": DAY,
        "itinerary": [{"kind": "ITINERARY_KIND_MEETING", "status": "ITINERARY_STATUS_HELD"}],
    },
    "meeting": {"kind": "MEETING_KIND_MEETING", "hosts": [{"state": "AZ"}], "participants": [{"state": "KZ"}], "start": DAY},
    "agreement": {
        "instrument": "INSTRUMENT_COOPERATION_PLAN",
        "parties": [{"state": "AZ"}, {"state": "KZ"}],
        "actions": [{"type": "ACTION_TYPE_SIGNED", "date": DAY}],
    },
    "exercise": {
        "participants": [
            {"state": "AZ", "role": "EXERCISE_ROLE_HOST"},
            {"state": "KZ", "role": "EXERCISE_ROLE_PARTICIPANT"},
        ],
        "start": DAY,
    },
    "person": {"names": [{"language": "en", "text": "A. Attache"}], "postings": [{"post": "attache", "state": "KZ"}]},
    "organization": {"names": [{"language": "en", "text": "A Desk"}], "kind": "ORGANIZATION_KIND_MINISTRY", "state": "KZ"},
    "place": {"names": [{"language": "en", "text": "A City"}], "kind": "PLACE_KIND_CITY", "state": "KZ"},
}


# What the checks have in common.


@contextmanager
def promise(text):
    """One promise: what is asserted inside holds, or the program ends."""
    try:
        yield
    except Exception as broken:  # whatever it is, it is a promise broken
        traceback.print_exc()
        sys.exit(f"BROKEN  {text}\n        {type(broken).__name__}: {broken}")
    print(f"kept    {text}", flush=True)


def refusal(client, rpc, **fields):
    """The error of a call that must be refused."""
    try:
        client.call(rpc, **fields)
    except Refused as refused:
        assert refused.info is not None, f"{rpc}: {refused} carries no ErrorInfo"
        assert refused.info.domain == "attache", f"{rpc}: the domain is {refused.info.domain!r}"
        return refused
    raise AssertionError(f"{rpc} was not refused")


def refuses(refused, code, reason):
    assert (refused.code.name, refused.reason) == (code, reason), f"{refused.code.name} {refused.reason}: {refused}"


def word(message, field):
    """The name of an enum's value."""
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    return descriptor.enum_type.values_by_number[getattr(message, field)].name


def source(id_, kind="PRIMARY_OFFICIAL", published="2023-10-07"):
    return {
        "name": f"sources/foreign-py-{id_}",
        "publisher": {"name_as_stated": f"Foreign desk {id_}"},
        "kind": f"SOURCE_KIND_{kind}",
        "published": published,
    }


def report(name, by, kind="visit", **more):
    """What one source states: the content of the kind, with some fields changed."""
    return {"record": name, "source": by, kind: CONTENT[kind] | more}


def file_reports(client, *reports, **more):
    return client.call("FileReports", reports=list(reports), **more)


def outcomes(answer):
    return [word(result, "outcome").removeprefix("FILING_OUTCOME_") for result in answer.results]


def same(left, right, what):
    """Equal messages, or the first field in which they differ."""
    if left == right:
        return
    a, b = (json_format.MessageToDict(m, preserving_proto_field_name=True) for m in (left, right))
    fields = sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))
    raise AssertionError(f"{what}: {fields[0]} is {a.get(fields[0])} and {b.get(fields[0])}" if fields else what)


def same_events(got, expected, what):
    ids, wanted = [e.id for e in got], [e.id for e in expected]
    assert len(set(ids)) == len(ids), f"{what}: something twice"
    assert ids == wanted, f"{what}: missing {sorted(set(wanted) - set(ids))}, more {sorted(set(ids) - set(wanted))}, or unordered"
    for one, other in zip(got, expected):
        same(one, other, f"{what}: event {one.id}")


def registry(client, token, filters):
    """Every record that matches, of every kind, at a position."""
    found = {}
    for rpc, field in ((list_, field) for _, list_, field in KINDS.values()):
        records, read_at = client.pages(rpc, field, filters=filters, as_of={"token": token}, page_size=1000)
        assert read_at, f"{rpc} has no token"
        found |= {record.name: record for record in records}
    return found


def frames_until_end(client, **fields):
    """The frames of a watch that ends, checked for their order."""
    frames = list(client.watch(**fields))
    kinds = [frame.WhichOneof("frame") for frame in frames]
    assert all(frame.token for frame in frames), "a frame has no token"
    assert kinds[0] == "started", f"the first frame is {kinds[0]}"
    assert kinds[-1] == "end", f"the last frame is {kinds[-1]}"
    assert kinds.count("started") == kinds.count("end") == 1, kinds
    return frames


def events_of(frames):
    return [event for frame in frames if frame.WhichOneof("frame") == "batch" for event in frame.batch.events]


# The promises.


def check_descriptors(client, channel, services):
    with promise("reflection describes the same services as the descriptor set"):
        pool, reflected = pool_from_reflection(channel)
        assert reflected == services, reflected ^ services
        assert Client(channel, pool, reflected).rpcs == client.rpcs
    with promise("reflection knows the messages that carry the details of errors"):
        for name in ("ErrorInfo", "BadRequest", "ResourceInfo", "RetryInfo", "PreconditionFailure", "QuotaFailure"):
            pool.FindMessageTypeByName(f"google.rpc.{name}")


def check_log(client):
    with promise("the log tells its epoch, its ends, its durability and limits"):
        info = client.call("GetLogInfo")
        assert info.epoch and info.token and info.oldest_token and info.version and info.limits, info
        assert info.revision > 0 and info.HasField("recorded_at"), "the sample is not there"
        assert word(info, "durability") in ("DURABILITY_SYNCED", "DURABILITY_UNSYNCED")
    with promise("asking what a trim would drop drops nothing"):
        would = client.call("TrimLog", from_revision="1", dry_run=True)
        assert (would.revisions, would.revision, would.oldest_token) == (0, 0, info.oldest_token), would
        assert client.call("GetLogInfo").revision == info.revision
    with promise("asking what would be erased erases nothing"):
        report = next(iter(client.call("ListReports", parent=SAMPLE_VISIT).reports)).report.name
        would = client.call("Redact", report=report, reason="asked", dry_run=True)
        assert (list(would.reports), would.revision, would.remaining) == ([report], 0, 0), would
        assert would.revisions > 0 and not would.HasField("journal_until"), would
        assert client.call("GetLogInfo").revision == info.revision
    with promise("a backup begins with its position and ends with a digest, and between them is what it said"):
        begin, *pieces, end = client.stream("Backup")
        assert begin.WhichOneof("part") == "begin" and end.WhichOneof("part") == "end", (begin, end)
        assert begin.begin.revision >= info.revision and len(end.end.blake3) == 32, begin
        assert all(p.WhichOneof("part") == "piece" and p.token == begin.token != "" for p in pieces)
        assert sum(len(p.piece) for p in pieces) == begin.begin.size_bytes > 0


def check_sample(client):
    with promise("the sample's visit and plan are found by name and by their states"):
        visit = client.call("GetVisit", name=SAMPLE_VISIT).visit
        assert [s.state for s in visit.hosts] == ["AZ"] and [s.state for s in visit.guests] == ["KZ"]
        assert visit.start.edtf == "2023-10-06", visit.start.edtf
        assert client.call("GetAgreement", name=SAMPLE_AGREEMENT).agreement.name == SAMPLE_AGREEMENT
        visits, _ = client.pages("ListVisits", "visits", filters=BOTH)
        assert SAMPLE_VISIT in [v.name for v in visits]


def check_filing(client):
    """One record of each kind by one source, as one revision."""
    by = source("a")
    reports = [report(f"{field}/foreign-py-{kind}", by, kind) for kind, (_, _, field) in KINDS.items()]
    with promise("validate_only answers as if it had been filed, and files nothing"):
        before = client.call("GetLogInfo").revision
        answer = file_reports(client, *reports, validate_only=True)
        assert outcomes(answer) == ["RECORDED"] * 7, outcomes(answer)
        assert client.call("GetLogInfo").revision == before
        refuses(refusal(client, "GetVisit", name=VISIT), "NOT_FOUND", "RECORD_NOT_FOUND")
    with promise("a filing is one revision with its events in order, and is read at its token"):
        filed = file_reports(client, *reports, request_id="foreign-py-first")
        assert outcomes(filed) == ["RECORDED"] * 7, outcomes(filed)
        assert filed.revision > before and filed.token
        assert {e.revision for e in filed.events} == {filed.revision}
        assert [e.index for e in filed.events] == list(range(len(filed.events)))
        recorded = [e.subject for e in filed.events if word(e, "type") == "EVENT_TYPE_RECORDED"]
        assert recorded == [r["record"] for r in reports], recorded
        assert not any(e.HasField("record") for e in filed.events)
        client.call("GetVisit", name=VISIT, at_least=filed.token)
    with promise("the same request id with the same body is answered as the first time, and files nothing"):
        same(file_reports(client, *reports, request_id="foreign-py-first"), filed, "the answer")
        assert client.call("GetLogInfo").revision == filed.revision
    with promise("the same request id with another body is refused"):
        refused = refusal(client, "FileReports", reports=reports[:1], request_id="foreign-py-first")
        refuses(refused, "INVALID_ARGUMENT", "REQUEST_ID_REUSED")
    with promise("filing the same again changes nothing"):
        assert outcomes(file_reports(client, *reports)) == ["NO_CHANGE"] * 7
    with promise("a report that is not in the state expected is not replaced"):
        wrong = [{"report": f"{VISIT}/reports/foreign-py-a", "expected_etag": ""}]
        refused = refusal(client, "FileReports", reports=reports[:1], preconditions=wrong)
        refuses(refused, "ABORTED", "ETAG_MISMATCH")
    return filed


def check_import(client):
    def item(id_, **more):
        return {"report": {"record": f"visits/foreign-py-{id_}", "visit": CONTENT["visit"] | more}}

    def batch(id_, *items):
        return {"request_id": f"foreign-py-{id_}", "items": list(items), "source": source("list", "DATASET")}

    batches = [batch("1", item("row-1"), item("row-2", start={"edtf": "soon"}), item("row-3")), batch("2", item("row-2"))]
    with promise("an import answers every batch, and every item in it"):
        first = client.exchange("ImportReports", batches)
        assert [a.request_id for a in first] == ["foreign-py-1", "foreign-py-2"]
        assert [[r.WhichOneof("outcome") for r in a.results] for a in first] == [["result", "refusal", "result"], ["result"]]
        refused = first[0].results[1].refusal
        assert word(refused, "reason") == "ERROR_REASON_FIELD_INVALID", refused
        assert list(refused.fields) == ["report.visit.start.edtf"], refused
        client.call("GetVisit", name="visits/foreign-py-row-2", at_least=first[1].token)
    with promise("an import that is sent again is answered as the first time, and files nothing"):
        again = client.exchange("ImportReports", batches)
        assert [list(a.results) for a in again] == [list(a.results) for a in first]
        assert client.call("GetLogInfo").revision == first[1].revision
    with promise("what is derived holds on the day that is asked for"):
        name = SAMPLE_AGREEMENT
        then = client.call("GetAgreement", name=name, valid_at="2024-06-01").agreement.info.status
        assert word(then, "agreement_status") == "AGREEMENT_STATUS_IN_FORCE", then
        assert word(then, "certainty") == "CERTAINTY_INFERRED", then
        now = client.call("GetAgreement", name=name).agreement.info.status
        assert word(now, "agreement_status") == "AGREEMENT_STATUS_EXPIRED", now
        expired = [{"agreement_statuses": ["AGREEMENT_STATUS_EXPIRED"]}]
        assert name in [a.name for a in client.call("ListAgreements", filters=expired).agreements]
        assert name not in [a.name for a in client.call("ListAgreements", filters=expired, valid_at="2024-06-01").agreements]


def check_lookups(client):
    for kind, (get, list_, field) in KINDS.items():
        name = f"{field}/foreign-py-{kind}"
        with promise(f"{get} and {list_} give the same {field}, whatever the size of the pages"):
            everything, token = client.pages(list_, field, page_size=1000)
            assert token, "no token"
            paged, _ = client.pages(list_, field, page_size=2)
            assert [r.name for r in paged] == [r.name for r in everything]
            listed = {record.name: record for record in everything}
            assert len(listed) == len(everything), "something twice"
            answer = client.call(get, name=name, as_of={"token": token})
            assert answer.token, "no token"
            same(getattr(answer, kind), listed[name], name)
    with promise("a list is in the order asked for"):
        by_name, _ = client.pages("ListPlaces", "places", order_by="ORDER_BY_NAME", page_size=3)
        assert [p.name for p in by_name] == sorted(p.name for p in by_name)
        ascending, _ = client.pages("ListVisits", "visits", order_by="ORDER_BY_OCCURRED_ASC", page_size=3)
        days = [v.info.occurred.earliest for v in ascending if v.info.occurred.earliest]
        assert days == sorted(days), days
    with promise("a read mask returns what it names, and nothing else"):
        visit = client.call("GetVisit", name=VISIT, read_mask="start").visit
        assert visit.HasField("start") and not visit.hosts and not visit.guests and not visit.itinerary
    with promise("GetRelationship counts what the lists hold, and says that nobody claims to have watched"):
        relation = client.call("GetRelationship", states=["AZ", "KZ"]).relationship
        visits, _ = client.pages("ListVisits", "visits", filters=[{"states_all": ["AZ", "KZ"]}])
        tally = relation.visits
        assert tally.count + tally.undated + tally.called_off + tally.ahead == len(visits), tally
        assert {(d.guest, d.host) for d in relation.directions} == {("AZ", "KZ"), ("KZ", "AZ")}
        assert word(tally, "observed") == "OBSERVED_PARTLY" and not tally.watched_by, tally
        assert word(relation.observations, "observed") in ("OBSERVED_NO", "OBSERVED_PARTLY")
    with promise("ListRelationships ranks the same relation, whatever the size of the pages"):
        everything, token = client.pages("ListRelationships", "relationships", state="AZ")
        paged, _ = client.pages("ListRelationships", "relationships", state="AZ", page_size=2)
        assert token and list(paged) == list(everything)
        counts = [r.count for r in everything]
        assert counts == sorted(counts, reverse=True), counts
        same(next(r for r in everything if r.state == "KZ").visits, relation.visits, "visits of AZ and KZ")
    with promise("BatchGetRecords keeps the order of the names and lists the missing ones"):
        names = ["places/foreign-py-place", "visits/foreign-py-nowhere", VISIT]
        answer = client.call("BatchGetRecords", names=names)
        assert [r.WhichOneof("kind") for r in answer.records] == ["place", "visit"]
        assert list(answer.missing) == names[1:2] and answer.token


def check_accounts(client, filed):
    """Two accounts of one visit that disagree, then one of them withdrawn."""
    other = source("b", kind="SECONDARY", published="2023-10-08")
    with promise("two accounts that conflict make a dispute, and the better one is resolved"):
        answer = file_reports(client, report(VISIT, other, type="VISIT_TYPE_OFFICIAL"))
        assert outcomes(answer) == ["EXTENDED"] and list(answer.results[0].disputed) == ["type"], answer.results
        visit = client.call("GetVisit", name=VISIT).visit
        assert word(visit, "type") == "VISIT_TYPE_WORKING" and list(visit.info.disputed_fields) == ["type"]
        assert visit.info.account_count == 2
        disputed, _ = client.pages("ListVisits", "visits", filters=[{"disputed": True, "names": [VISIT]}])
        assert [v.name for v in disputed] == [VISIT]
    with promise("ExplainRecord names the report and every account behind a field"):
        explained = client.call("ExplainRecord", name=VISIT)
        fields = {field.path: field for field in explained.fields}
        assert list(fields) == sorted(fields), "not by path"
        field = fields["type"]
        assert field.disputed and field.report == f"{VISIT}/reports/foreign-py-a", field
        assert [word(a, "verdict") for a in field.accounts] == ["VERDICT_RESOLVED", "VERDICT_CONFLICTS"]
        assert not fields["start"].disputed and explained.token
    with promise("ListReports gives what each source states, the better ranked first"):
        reports, token = client.pages("ListReports", "reports", parent=VISIT, page_size=1)
        assert [r.report.name.rsplit("/", 1)[1] for r in reports] == ["foreign-py-a", "foreign-py-b"] and token
        assert all(r.active and r.report.etag and r.report.account for r in reports)
    with promise("ListSources gives the latest block of each source, by name"):
        sources, token = client.pages("ListSources", "sources", page_size=2)
        names = [s.name for s in sources]
        assert names == sorted(set(names)) and {"sources/foreign-py-a", other["name"]} <= set(names) and token
        (mine,), _ = client.pages("ListSources", "sources", publisher="Foreign desk b")
        assert mine.name == other["name"] and word(mine, "kind") == "SOURCE_KIND_SECONDARY"
    with promise("the registry is read as it was known then"):
        before = client.call("GetVisit", name=VISIT, as_of={"token": filed.token})
        assert not before.visit.info.disputed_fields and before.visit.info.revision == filed.revision
    with promise("ListRevisions tells what each filing did, oldest first, and its tokens are readable"):
        revisions, _ = client.pages("ListRevisions", "revisions", name=VISIT, page_size=1)
        assert [r.revision for r in revisions] == [filed.revision, answer.revision]
        assert all(e.subject == VISIT for r in revisions for e in r.events)
        for revision in revisions:
            visit = client.call("GetVisit", name=VISIT, as_of={"token": revision.token}).visit
            assert visit.info.revision == revision.revision
    with promise("a report withdrawn settles the dispute it made"):
        withdrawn = client.call(
            "RetractReports",
            report=f"{VISIT}/reports/foreign-py-b",
            reason="RETRACTION_REASON_SOURCE_WITHDRAWN",
            request_id="foreign-py-withdraw",
        )
        assert withdrawn.remaining == 0 and list(withdrawn.results[0].settled) == ["type"], withdrawn
        assert not withdrawn.results[0].etag
        assert not client.call("GetVisit", name=VISIT, at_least=withdrawn.token).visit.info.disputed_fields
        reports, _ = client.pages("ListReports", "reports", parent=VISIT, show_withdrawn=True)
        assert [(r.report.name.rsplit("-", 1)[1], r.active) for r in reports] == [("a", True), ("b", False)], reports
        assert reports[1].until_revision == withdrawn.revision


def check_search(client):
    with promise("SearchRecords finds a name in another script and with an error, and marks it as it is spelt"):
        for query in ("Жаксылыков", "Jaksilykov", "Zhaksylykof", "Zkahsylykov"):
            answer = client.call("SearchRecords", query=query)
            best = answer.results[0]
            assert best.record.person.name == "persons/ruslan-zhaksylykov" and answer.token, f"{query}: {best.record}"
            highlight = best.highlights[0]
            marked = [highlight.text[r.begin : r.end] for r in highlight.ranges]
            assert highlight.path.startswith("names[") and any(m.endswith("ov") for m in marked), highlight
    with promise("a search comes in pages that hold together, best first"):
        whole, token = client.pages("SearchRecords", "results", query="defence", page_size=1000)
        paged, _ = client.pages("SearchRecords", "results", query="defence", page_size=2)
        assert len(whole) > 2 and token and paged == whole
        assert [r.score for r in whole] == sorted((r.score for r in whole), reverse=True)
    with promise("MatchRecords names the record that a partial one may be, and why"):
        visit = {"hosts": [{"state": "AZ"}], "guests": [{"state": "KZ"}], "start": {"edtf": "2023-10-05"}}
        answer = client.call("MatchRecords", report={"visit": visit})
        best = answer.candidates[0]
        assert SAMPLE_VISIT in [c.record.visit.name for c in answer.candidates] and answer.token
        assert 0 < best.score <= 1 and "the same host and guest" in best.reasons, best.reasons


def check_ruling(client):
    name, by = "visits/foreign-py-ruled", source("c")
    ruling = {"name": name, "reason": "RETRACTION_REASON_FILER_ERROR", "source": source("ruling", kind="EDITOR")}
    filed = file_reports(client, report(name, by))
    with promise("a record retracted by a ruling is refused, and tells where it last stood"):
        assert client.call("RetractRecord", **ruling, validate_only=True).result.record == name
        retracted = client.call("RetractRecord", **ruling)
        assert word(retracted.result, "outcome") == "FILING_OUTCOME_RETRACTED" and retracted.revision > filed.revision
        refused = refusal(client, "GetVisit", name=name)
        refuses(refused, "NOT_FOUND", "RECORD_RETRACTED")
        assert refused.resource.resource_name == name
        token = refused.info.metadata["last_token"]
        assert client.call("GetVisit", name=name, as_of={"token": token}).visit.info.revision == filed.revision
        assert list(client.call("BatchGetRecords", names=[name]).missing) == [name]
    with promise("under the ruling a filing is stored and makes no event"):
        stored = file_reports(client, report(name, source("d")))
        assert outcomes(stored) == ["STORED"] and not stored.events, stored
    with promise("with the ruling lifted the record stands again, with all that was filed"):
        restored = client.call("RestoreRecord", name=name)
        assert word(restored.result, "outcome") == "FILING_OUTCOME_RESTORED"
        assert client.call("GetVisit", name=name, at_least=restored.token).visit.info.account_count == 2
        assert client.call("RestoreRecord", name=name).revision == 0
    with promise("withdrawing a source withdraws all it stated; a record without reports is gone"):
        for id_ in ("c", "d"):
            done = client.call("RetractReports", source=f"sources/foreign-py-{id_}", reason="RETRACTION_REASON_SOURCE_WITHDRAWN")
            assert done.remaining == 0 and [r.record for r in done.results] == [name]
        refuses(refusal(client, "GetVisit", name=name), "NOT_FOUND", "RECORD_RETRACTED")


def check_merge(client):
    loser, survivor = "visits/foreign-py-loser", "visits/foreign-py-survivor"
    ruling = {"loser": loser, "survivor": survivor, "source": source("merger", kind="EDITOR")}
    file_reports(client, report(loser, source("e")))
    file_reports(client, report(survivor, source("f")))
    with promise("two names merged are one record, which answers for both"):
        assert client.call("MergeRecords", **ruling, validate_only=True).revision == 0
        merged = client.call("MergeRecords", **ruling)
        assert word(merged.result, "outcome") == "FILING_OUTCOME_MERGED" and merged.result.record == survivor
        assert [(e.subject, e.other_name) for e in merged.events[:2]] == [(loser, survivor), (survivor, loser)]
        visit = client.call("GetVisit", name=loser, at_least=merged.token).visit
        assert (visit.name, list(visit.info.merged_names), visit.info.account_count) == (survivor, [loser], 2), visit
        batch = client.call("BatchGetRecords", names=[loser])
        assert [(m.name, m.record) for m in batch.merged] == [(loser, survivor)]
        assert client.call("MergeRecords", **ruling).revision == 0
    with promise("filing under the old name goes on working, and a circle is refused"):
        filed = file_reports(client, report(loser, source("g")))
        assert filed.results[0].record == survivor and filed.results[0].warnings, filed
        circle = refusal(client, "MergeRecords", **{**ruling, "loser": survivor, "survivor": loser})
        refuses(circle, "INVALID_ARGUMENT", "FIELD_INVALID")
    with promise("a merge that is lifted leaves two records"):
        parted = client.call("UnmergeRecords", loser=loser)
        assert [r.record for r in parted.results] == [loser, survivor]
        names = (loser, survivor)
        counts = [client.call("GetVisit", name=n, at_least=parted.token).visit.info.account_count for n in names]
        assert counts == [2, 1], counts
        assert client.call("UnmergeRecords", loser=loser).revision == 0


def check_cursors(client, filed):
    cursor, info = "foreign-py-cursor", client.call("GetLogInfo")
    with promise("a cursor is kept, only moves forward, and is compared before it is set"):
        refuses(refusal(client, "GetCursor", name=cursor), "NOT_FOUND", "RECORD_NOT_FOUND")
        first = client.call("CommitCursor", name=cursor, position=filed.token, expected_etag="")
        assert first.cursor.position == filed.token and first.cursor.etag and first.token
        same(client.call("GetCursor", name=cursor).cursor, first.cursor, "the cursor")
        again = {"name": cursor, "position": info.token, "expected_etag": ""}
        refuses(refusal(client, "CommitCursor", **again), "ABORTED", "ETAG_MISMATCH")
        second = client.call("CommitCursor", name=cursor, position=info.token, expected_etag=first.cursor.etag)
        assert second.cursor.etag != first.cursor.etag
        client.call("CommitCursor", name=cursor, position=info.token)
        refuses(refusal(client, "CommitCursor", name=cursor, position=filed.token), "ABORTED", "ETAG_MISMATCH")
        assert client.call("GetCursor", name=cursor).cursor.position == info.token


def check_errors(client):
    with promise("a missing record is NOT_FOUND with its name in the details"):
        refused = refusal(client, "GetVisit", name="visits/foreign-py-nowhere")
        refuses(refused, "NOT_FOUND", "RECORD_NOT_FOUND")
        assert refused.resource.resource_name == "visits/foreign-py-nowhere"
    bad = [
        ("GetVisit", {"name": "visits/No Such"}, "FIELD_INVALID", "name"),
        ("ListVisits", {"page_size": -1}, "FIELD_INVALID", "page_size"),
        ("SearchRecords", {"query": " - "}, "FIELD_INVALID", "query"),
        ("MatchRecords", {"report": {"visit": {}}}, "FIELD_INVALID", "report.visit"),
        ("ListVisits", {"filters": [{}]}, "FILTER_INVALID", "filters[0]"),
        ("ListVisits", {"filters": [{"states_all": ["XX"]}]}, "FILTER_INVALID", "filters[0].states_all[0]"),
        ("GetRelationship", {"states": ["AZ", "Kazakhstan"]}, "FIELD_INVALID", "states[1]"),
        ("ListRelationships", {"state": "XX"}, "FIELD_INVALID", "state"),
        ("GetVisit", {"name": VISIT, "read_mask": "nonsense"}, "MASK_INVALID", "read_mask"),
        ("GetVisit", {"name": VISIT, "at_least": "nonsense"}, "TOKEN_MALFORMED", None),
        ("FileReports", {"reports": []}, "FIELD_INVALID", "reports"),
        (
            "FileReports",
            {"reports": [report("visits/foreign-py-bad", source("bad"), start={"edtf": "2023-13-45"})]},
            "FIELD_INVALID",
            "reports[0].visit.start.edtf",
        ),
    ]
    for rpc, fields, reason, path in bad:
        with promise(f"{rpc} answers {reason}" + (f" with the path {path}" if path else "")):
            refused = refusal(client, rpc, **fields)
            refuses(refused, "INVALID_ARGUMENT", reason)
            assert path is None or any(f.startswith(path) for f in refused.fields), refused.fields
    with promise("a page token goes with its own request only"):
        page = client.call("ListPlaces", page_size=1).next_page_token
        assert page, "the sample has more than one place"
        refused = refusal(client, "ListPlaces", page_size=1, page_token=page, filters=[{"states_any": ["AZ"]}])
        refuses(refused, "INVALID_ARGUMENT", "PAGE_TOKEN_MISMATCH")
    with promise("a watch after an unreadable token is refused"):
        try:
            list(client.watch(after="nonsense", caught_up={}))
            raise AssertionError("it was not refused")
        except Refused as refused:
            refuses(refused, "INVALID_ARGUMENT", "TOKEN_MALFORMED")


def check_watch(client):
    with promise("a watch from the oldest event until caught up is ordered, unique and whole"):
        frames = frames_until_end(client, oldest={}, caught_up={})
        assert [f.WhichOneof("frame") for f in frames].count("caught_up") == 1
        unbroken = events_of(frames)
        places = [(e.revision, e.index) for e in unbroken]
        assert places == sorted(set(places)), "not ordered by (revision, index)"
        expected = {r: i for r, i in places}  # the last index of each revision
        assert len(places) == sum(last + 1 for last in expected.values()), "an index is missing"
        assert all(e.id == f"{e.revision}-{e.index}" for e in unbroken)
        assert {e.source for e in unbroken} == {f"attache/{frames[0].started.epoch}"}
    with promise("ListEvents gives the same events in pages"):
        listed, _ = client.pages("ListEvents", "events", page_size=7)
        same_events(listed, unbroken, "listed")
    with promise("a revision comes in one frame, or in frames marked as continued"):
        whole_revisions(frames_until_end(client, oldest={}, caught_up={}, max_batch_events=3))
    for stop in sorted({1, 2, len(unbroken) // 2, len(unbroken) - 1}):
        with promise(f"a watch broken off after {stop} events resumes without gap or repeat"):
            got, token = read_and_break_off(client, stop)
            got += events_of(frames_until_end(client, after=token, caught_up={}))
            same_events(got, unbroken, "resumed")
    with promise("a watch broken off after every batch resumes without gap or repeat"):
        same_events(hop(client, max(5, len(unbroken) // 20)), unbroken, "resumed")
    with promise("`through` ends the watch after that revision"):
        middle = unbroken[len(unbroken) // 2]
        token = next(f.token for f in frames if any(e.revision >= middle.revision for e in events_in(f)))
        partial = events_of(frames_until_end(client, oldest={}, through=token))
        same_events(partial, unbroken[: len(partial)], "through")
        assert partial[-1].revision >= middle.revision
    with promise("event_types selects"):
        some = events_of(frames_until_end(client, oldest={}, caught_up={}, event_types=["EVENT_TYPE_RECORDED"]))
        same_events(some, [e for e in unbroken if word(e, "type") == "EVENT_TYPE_RECORDED"], "selected")


def events_in(frame):
    return frame.batch.events if frame.WhichOneof("frame") == "batch" else []


def whole_revisions(frames):
    batches = [f.batch for f in frames if f.WhichOneof("frame") == "batch"]
    for before, after in zip(batches, batches[1:]):
        goes_on = before.events[-1].revision == after.events[0].revision
        assert goes_on == before.continued, f"revision {before.events[-1].revision} is torn, or marked without need"
    assert not batches[-1].continued


def read_and_break_off(client, stop):
    """The first events, at least `stop` of them, and the token of the last frame read."""
    got, watch = [], client.watch(oldest={}, max_batch_events=2)
    for frame in watch:
        got += events_in(frame)
        if len(got) >= stop:
            watch.cancel()
            return got, frame.token
    raise AssertionError("the watch ended by itself")


def hop(client, size):
    """Everything there is, with a new watch for every batch."""
    got, start = [], {"oldest": {}}
    while True:
        watch = client.watch(**start, caught_up={}, max_batch_events=size)
        for frame in watch:
            got += events_in(frame)
            start = {"after": frame.token}
            if frame.WhichOneof("frame") == "caught_up":
                return got
            if events_in(frame):
                break
        watch.cancel()


def check_live(client):
    with promise("a watch from now sends what is filed after it started, and nothing before"):
        watch = client.watch(now={})
        assert next(watch).WhichOneof("frame") == "started"
        filed = file_reports(client, report("visits/foreign-py-live", source("live")))
        batch = next(frame.batch for frame in watch if events_in(frame))
        watch.cancel()
        assert [e.id for e in batch.events] == [e.id for e in filed.events]
        assert batch.events[0].record.visit.name == "visits/foreign-py-live"


class Cache:
    """What a client keeps that follows a filtered watch from a snapshot."""

    def __init__(self, client, **options):
        self.client, self.records = client, {}
        self.watch = client.watch(snapshot={}, filters=BOTH, progress_interval="0.1s", **options)
        self.frame = None
        while self.frame != "caught_up":
            token = self.step()
        self.compare(token)

    def step(self):
        frame = next(self.watch)
        self.frame = frame.WhichOneof("frame")
        for event in events_in(frame):
            if word(event, "event_class") == "EVENT_CLASS_REGISTRY" or word(event, "type") == "EVENT_TYPE_SNAPSHOT":
                self.apply(event)
        self.whole = not (self.frame == "batch" and frame.batch.continued)
        return frame.token

    def apply(self, event):
        kind = event.record.WhichOneof("kind")
        if event.left_filter or not kind:
            self.records.pop(event.subject, None)
        else:
            self.records[event.subject] = getattr(event.record, kind)

    def compare(self, token):
        listed = registry(self.client, token, BOTH)
        assert self.records.keys() == listed.keys(), f"after {self.frame}: {self.records.keys() ^ listed.keys()}"
        for name, record in listed.items():
            same(self.records[name], record, f"cached and listed {name}")

    def follow(self):
        """Reads until nothing lies after the frame, and compares at every whole frame."""
        while True:
            token = self.step()
            if self.whole:
                self.compare(token)
                if not self.client.call("ListEvents", after=token, page_size=1).events:
                    return


def check_cache(client):
    a, b, ruling = source("cache-a"), source("cache-b", kind="SECONDARY"), source("cache-ruling", kind="EDITOR")
    name, other = "visits/foreign-py-cache", "visits/foreign-py-elsewhere"
    turkey = {"guests": [{"state": "TR"}]}

    def retract(**what):
        return client.call("RetractReports", reason="RETRACTION_REASON_SOURCE_WITHDRAWN", **what)

    steps = [
        ("a record enters", lambda: file_reports(client, report(name, a)), True),
        ("a record of others is filed", lambda: file_reports(client, report(other, a, **turkey)), True),
        ("a record leaves the filter", lambda: file_reports(client, report(name, a, **turkey)), False),
        ("it enters again", lambda: file_reports(client, report(name, a)), True),
        ("a dispute begins", lambda: file_reports(client, report(name, b, type="VISIT_TYPE_OFFICIAL")), True),
        ("a dispute is settled", lambda: retract(report=f"{name}/reports/foreign-py-cache-b"), True),
        (
            "records of all kinds are filed at once",
            lambda: file_reports(
                client, *(report(f"{field}/foreign-py-cache-{kind}", a, kind) for kind, (_, _, field) in KINDS.items())
            ),
            True,
        ),
        (
            "a ruling retracts a record",
            lambda: client.call("RetractRecord", name=name, reason="RETRACTION_REASON_DUPLICATE", source=ruling),
            False,
        ),
        ("the record retracted is filed again", lambda: file_reports(client, report(name, b)), False),
        ("the ruling is lifted", lambda: client.call("RestoreRecord", name=name), True),
        ("a source is withdrawn", lambda: retract(source=a["name"]), True),
        ("the last report is withdrawn", lambda: retract(report=f"{name}/reports/foreign-py-cache-b"), False),
    ]
    with promise("a snapshot of a filter is the list of the same filter at its token"):
        cache = Cache(client, max_batch_events=2)
        assert SAMPLE_VISIT in cache.records
    for text, act, held in steps:
        with promise(f"a filtered cache equals the list of the same filter after: {text}"):
            act()
            cache.follow()
            assert (name in cache.records) == held, f"{name} is {'not ' if held else ''}there"
            assert other not in cache.records
    cache.watch.cancel()


def check_snapshot_resumes(client):
    with promise("a snapshot broken off in the middle resumes with the same filter"):
        got, watch = [], client.watch(snapshot={}, filters=BOTH, max_batch_events=1)
        frame = next(frame for frame in watch if events_in(frame))
        watch.cancel()
        got += events_in(frame)
        rest = frames_until_end(client, after=frame.token, filters=BOTH, caught_up={})
        got += events_of(rest)
        assert {word(e, "type") for e in got} == {"EVENT_TYPE_SNAPSHOT"}
        names = [e.subject for e in got]
        assert sorted(names) == sorted(registry(client, rest[-1].token, BOTH)), "a gap, or something twice"
    with promise("and is refused with another filter"):
        try:
            list(client.watch(after=frame.token, filters=[{"hosts": ["AZ"]}], caught_up={}))
            raise AssertionError("it was not refused")
        except Refused as refused:
            refuses(refused, "INVALID_ARGUMENT", "TOKEN_FILTER_MISMATCH")


def main():
    address, *file = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        pool, services = pool_from_file(file[0]) if file else pool_from_reflection(channel)
        client = Client(channel, pool, services)
        check_descriptors(client, channel, services)
        check_log(client)
        check_sample(client)
        filed = check_filing(client)
        check_import(client)
        check_lookups(client)
        check_accounts(client, filed)
        check_search(client)
        check_ruling(client)
        check_merge(client)
        check_cursors(client, filed)
        check_errors(client)
        check_watch(client)
        check_live(client)
        check_cache(client)
        check_snapshot_resumes(client)
        with promise(f"every rpc of the descriptors was called, {len(client.rpcs)} of them"):
            assert client.called == client.rpcs, client.called ^ client.rpcs


if __name__ == "__main__":
    main()

//! A report on which more rests than one entry erases goes in parts, each of which stands by itself.

use attache::limits::MAX_REDACTED_REVISIONS;
use tokio::task::JoinSet;

use super::*;

/// Filings about a record beside the first report: a few more than one entry erases some of.
const RESTING: usize = MAX_REDACTED_REVISIONS + 40;

/// A record that rests on a report from its first revision on, though others file about it again and again: what was
/// answered, in the order of revisions.
async fn much_rests_on_one(server: &TestServer) -> Vec<v1::FileReportsResponse> {
    let mut filed = vec![server.file(vec![telling("a", "leak", SECRET)]).await];
    while filed.len() <= RESTING {
        let mut at_once = JoinSet::new();
        for number in filed.len()..=RESTING.min(filed.len() + 100) {
            let reports = vec![telling("a", "ministry", &format!("Other {number}"))];
            let (mut filing, request) = (server.filing(), v1::FileReportsRequest { reports, ..Default::default() });
            at_once.spawn(async move { filing.file_reports(request).await.expect("it is filed").into_inner() });
        }
        filed.extend(at_once.join_all().await);
    }
    filed.sort_by_key(|answer| answer.revision);
    filed
}

/// What a visit is as of a position, or why it is not there.
async fn stood(server: &TestServer, token: &str) -> Result<Option<v1::Visit>, String> {
    let as_of = Some(v1::AsOf { position: Some(as_of::Position::Token(token.to_owned())) });
    let get = v1::GetVisitRequest { name: "visits/a".into(), as_of, ..Default::default() };
    server.registry().get_visit(get).await.map(|r| r.into_inner().visit).map_err(|why| reason(&why))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_on_which_more_rests_than_one_entry_erases_goes_in_parts_the_oldest_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path()).await;
    let filed = much_rests_on_one(&server).await;
    let (first, reached) = (&filed[0].token, &filed[MAX_REDACTED_REVISIONS - 1].token);
    let (next, last) = (&filed[MAX_REDACTED_REVISIONS].token, &filed[RESTING].token);
    let later = (stood(&server, next).await, stood(&server, last).await);
    assert!(format!("{:?}", later.0).contains(SECRET) && format!("{:?}", later.1).contains(SECRET), "they rest on it");

    let planned = ask(&server, Some(report_of("a", "leak")), true).await.expect("a dry run");
    assert_eq!(planned.revisions + planned.remaining_revisions, filed.len() as u64, "a dry run says how many");
    let part = redact(&server, report_of("a", "leak")).await;
    let facts = |r: &v1::RedactResponse| (r.reports.clone(), r.revisions, r.remaining, r.remaining_revisions);
    assert_eq!(facts(&part), facts(&planned), "as the dry run said");
    assert_eq!((part.revisions, part.remaining), (MAX_REDACTED_REVISIONS as u64, 1));

    // What was reached is gone, what is later reads as before, and what stands now does not rest on it.
    for token in [first, reached] {
        assert_eq!(stood(&server, token).await, Err("RECORD_REDACTED".to_owned()));
    }
    assert_eq!((stood(&server, next).await, stood(&server, last).await), later);
    let now = stood(&server, &part.token).await;
    assert!(now.is_ok() && !format!("{now:?}").contains(SECRET), "{now:?}");
    // Nor is the report itself there any more, whatever is asked.
    let list = v1::ListReportsRequest { parent: "visits/a".into(), show_withdrawn: true, ..Default::default() };
    let listed = server.registry().list_reports(list).await.expect("reports").into_inner().reports;
    assert!(!listed.is_empty() && !format!("{listed:?}").contains(SECRET));

    // Whoever asks again after the server was down goes on.
    server.stop().await;
    verify::all(folder.path(), |_| {}).expect("the chain verifies in between, and the rows");
    let server = serve(folder.path()).await;
    let done = redact(&server, report_of("a", "leak")).await;
    assert_eq!((done.revisions, done.remaining, done.remaining_revisions), (planned.remaining_revisions, 0, 0));
    let positions = [first, reached, next, last].map(Clone::clone);
    let said = everything_said(&server, &positions).await.to_lowercase();
    assert_eq!(said.find(&SECRET.to_lowercase()), None);
    let status = ask(&server, Some(report_of("a", "leak")), false).await.expect_err("nothing is left of it");
    assert_eq!(reason(&status), "RECORD_NOT_FOUND");
    server.stop().await;
    assert!(!is_stored(folder.path(), SECRET), "no file has it");
    assert_eq!(verify::folder(folder.path()).expect("the chain verifies").redacted, filed.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replica_goes_on_with_the_parts_where_one_was_left() {
    let log = SharedLog::default();
    let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (a, b) = (replica(&log, here.path()).await, replica(&log, there.path()).await);
    let count = much_rests_on_one(&a).await.len() as u64;
    let part = redact(&a, report_of("a", "leak")).await;
    let applied = async |server: &TestServer, token: String| {
        let read = v1::GetVisitRequest { name: "visits/a".into(), at_least: Some(token), ..Default::default() };
        server.registry().get_visit(read).await.expect("it arrives there");
    };
    applied(&b, part.token).await;
    let done = redact(&b, report_of("a", "leak")).await;
    assert_eq!((part.revisions + done.revisions, done.remaining), (count, 0));
    applied(&a, done.token).await;
    assert_eq!(everything(&a).await, everything(&b).await);
    for (server, folder) in [(a, &here), (b, &there)] {
        server.stop().await;
        assert!(!is_stored(folder.path(), SECRET));
        assert_eq!(verify::folder(folder.path()).expect("it is sound").redacted, count);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_is_finished_in_a_log_that_was_copied_in_between() {
    let (folder, files, other) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let server = serve(folder.path()).await;
    let count = much_rests_on_one(&server).await.len() as u64;
    assert_eq!(redact(&server, report_of("a", "leak")).await.remaining, 1);
    // Made again from the log up to here: the filing itself is erased there already.
    let last = server.file(vec![telling("b", "ministry", "Other")]).await;
    server.file(vec![telling("b", "ministry", "Another")]).await;
    let copy = files.path().join("backup.db.zst");
    attache(vec!["backup".into(), shown(&copy), "--server".into(), server.address.clone()]).await;
    server.stop().await;
    let (data, to) = (shown(other.path()), last.token);
    attache(vec!["restore-backup".into(), shown(&copy), "--data-dir".into(), data, "--to".into(), to]).await;
    let server = serve(other.path()).await;
    assert!(everything_said(&server, &[]).await.contains(SECRET), "what is later rests on it there too");
    // Nothing says any more whom it named: what was begun of a source is finished with whatever is asked of it.
    let about = v1::FiledAbout { source: "sources/leak".into(), person: "persons/anybody".into() };
    let done = redact(&server, What::FiledAbout(about)).await;
    assert_eq!((done.reports.as_slice(), done.remaining), (&["visits/a/reports/leak".to_owned()][..], 0));
    assert_eq!(done.revisions, count - MAX_REDACTED_REVISIONS as u64);
    assert_eq!(everything_said(&server, &[]).await.to_lowercase().find(&SECRET.to_lowercase()), None);
    server.stop().await;
    assert!(!is_stored(other.path(), SECRET), "no file has it");
    verify::folder(other.path()).expect("the chain verifies");
}

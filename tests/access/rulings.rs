//! Rulings win over everybody, so nobody undoes one who may not make one.

use attache::pb::v1::{import_item::Item, import_result::Outcome, retract_reports_request::Selection};

use super::*;

/// A policy in which somebody files for every source, and makes no rulings.
fn rules() -> Files {
    Files::new(&granting(r#"["filer"]"#))
}

fn granting(roles: &str) -> String {
    format!("{TOKENS}[[access.allow]]\nwho = \"token:filer\"\nroles = {roles}\n")
}

/// What an editor says of a visit: of the same source there are other reports, too.
fn ruled(id: &str) -> v1::Report {
    let mut report = plain(id, "2023-05-09");
    report.source.as_mut().unwrap().kind = v1::SourceKind::Editor.into();
    report
}

fn plain(id: &str, day: &str) -> v1::Report {
    visit_report(id, "az-mod", "KZ", "AZ", day)
}

fn filing(reports: Vec<v1::Report>) -> v1::FileReportsRequest {
    v1::FileReportsRequest { reports, ..Default::default() }
}

fn withdrawal(selection: Selection) -> v1::RetractReportsRequest {
    let reason = v1::RetractionReason::FilerError.into();
    v1::RetractReportsRequest { selection: Some(selection), reason, ..Default::default() }
}

impl Caller {
    async fn files(&self, request: v1::FileReportsRequest) -> Result<v1::FileReportsResponse, Status> {
        self.filing().file_reports(request).await.map(tonic::Response::into_inner)
    }

    async fn withdraws(&self, selection: Selection) -> Result<v1::RetractReportsResponse, Status> {
        self.filing().retract_reports(withdrawal(selection)).await.map(tonic::Response::into_inner)
    }

    /// The one answer to a batch.
    async fn imports(&self, batch: &v1::ImportReportsRequest) -> v1::ImportReportsResponse {
        let batches = tokio_stream::once(batch.clone());
        let mut answers = self.filing().import_reports(batches).await.unwrap().into_inner();
        answers.message().await.expect("no error").expect("an answer")
    }
}

/// That it is refused for want of the role, in words that name it and the field.
fn denied<T: std::fmt::Debug>(answer: Result<T, Status>, field: &str) {
    let status = answer.expect_err("it is refused");
    assert_eq!((status.code(), reason(&status)), not_granted(), "{field}");
    assert!(status.message().starts_with(&format!("{field}: ")), "{}", status.message());
    assert!(status.message().contains("visits/v/reports/az-mod") && status.message().contains("editor"), "{status:?}");
}

#[tokio::test]
async fn a_ruling_is_neither_replaced_nor_withdrawn_by_who_may_make_none() {
    let files = rules();
    let [filer, editor] = ["filer", "editor"].map(|name| files.token(name, None));
    let (server, _) = files.serve().await;
    let [filer, editor] = [&filer, &editor].map(|token| Caller::bearer(&server, token));
    editor.files(filing(vec![ruled("v"), plain("w", "2023-05-01")])).await.unwrap();
    let before = editor.info().await.unwrap().token;

    let other = filing(vec![plain("x", "2023-05-01"), plain("v", "2023-05-02")]);
    denied(filer.files(other.clone()).await, "reports[1]");
    denied(filer.files(v1::FileReportsRequest { validate_only: true, ..other.clone() }).await, "reports[1]");
    for (selection, field) in [
        (Selection::Report("visits/v/reports/az-mod".into()), "report"),
        // With the report of `w`, which the filer may withdraw by itself.
        (Selection::Source("sources/az-mod".into()), "source"),
        (Selection::Publisher("Publisher az-mod".into()), "publisher"),
    ] {
        denied(filer.withdraws(selection).await, field);
    }
    assert_eq!(editor.info().await.unwrap().token, before, "nothing of it happened");
    assert_eq!(refusals(&server).await, [0.0, 0.0, 5.0, 0.0, 0.0], "each is counted");

    assert!(filer.withdraws(Selection::Report("visits/w/reports/az-mod".into())).await.is_ok());
    assert!(editor.files(other).await.is_ok(), "an editor does");
    assert!(filer.withdraws(Selection::Source("sources/az-mod".into())).await.is_ok(), "it is a ruling no more");
    editor.files(filing(vec![ruled("v")])).await.unwrap();
    assert!(editor.withdraws(Selection::Source("sources/az-mod".into())).await.is_ok(), "an editor does");
    server.stop().await;
}

#[tokio::test]
async fn an_import_leaves_out_what_would_undo_a_ruling_and_says_so_again_when_it_comes_again() {
    let files = rules();
    let [filer, editor] = ["filer", "editor"].map(|name| files.token(name, None));
    let (server, _) = files.serve().await;
    let [filer, editor] = [&filer, &editor].map(|token| Caller::bearer(&server, token));
    editor.files(filing(vec![ruled("v"), ruled("w"), plain("x", "2023-05-01")])).await.unwrap();
    let items = [
        Item::Withdraw("visits/w/reports/az-mod".into()),
        Item::Report(plain("y", "2023-05-01")),
        Item::Report(plain("v", "2023-05-02")),
        Item::Withdraw("visits/x/reports/az-mod".into()),
    ];
    let batch = v1::ImportReportsRequest {
        request_id: "batch".into(),
        items: items.into_iter().map(|item| v1::ImportItem { item: Some(item) }).collect(),
        reason: v1::RetractionReason::FilerError.into(),
        ..Default::default()
    };
    let first = filer.imports(&batch).await;
    let refusal = |result: &v1::ImportResult| match result.outcome.as_ref().unwrap() {
        Outcome::Refusal(refusal) => Some((refusal.reason(), refusal.fields.join(","))),
        Outcome::Result(_) => None,
    };
    let left_out: Vec<_> = first.results.iter().map(refusal).collect();
    let role = |field: &str| Some((v1::ErrorReason::RoleRequired, field.to_owned()));
    assert_eq!(left_out, [role("withdraw"), None, role("report"), None]);
    assert_eq!(refusals(&server).await, [0.0, 0.0, 2.0, 0.0, 0.0], "each is counted");

    // What stood then has gone: the batch is answered as the first time all the same, and nothing is done again.
    editor.withdraws(Selection::Source("sources/az-mod".into())).await.unwrap();
    let before = editor.info().await.unwrap().token;
    let again = filer.imports(&batch).await;
    assert_eq!((&again.results, again.revision), (&first.results, first.revision));
    assert_eq!(editor.info().await.unwrap().token, before);
    server.stop().await;
}

#[tokio::test]
async fn a_filing_that_comes_again_is_answered_as_the_first_time_though_a_ruling_stands_in_its_place() {
    let files = rules();
    let [filer, editor] = ["filer", "editor"].map(|name| files.token(name, None));
    let (server, _) = files.serve().await;
    let [filer, editor] = [&filer, &editor].map(|token| Caller::bearer(&server, token));
    let request = v1::FileReportsRequest { request_id: Some("once".into()), ..filing(vec![plain("v", "2023-05-01")]) };
    let first = filer.files(request.clone()).await.unwrap();
    editor.files(filing(vec![ruled("v")])).await.unwrap();
    let again = filer.files(request).await.unwrap();
    assert_eq!((&again.results, again.revision), (&first.results, first.revision));
    denied(filer.files(filing(vec![plain("v", "2023-05-01")])).await, "reports[0]");
    server.stop().await;
}

#[tokio::test]
async fn a_batch_that_comes_again_has_the_outcomes_of_its_own_items_though_more_is_granted_by_then() {
    let files = rules();
    let filer = files.token("filer", None);
    let (server, _) = files.serve().await;
    let filer = Caller::bearer(&server, &filer);
    let items = [ruled("v"), plain("x", "2023-05-01"), plain("y", "2023-05-02")];
    let batch = v1::ImportReportsRequest {
        request_id: "batch".into(),
        items: items.into_iter().map(|report| v1::ImportItem { item: Some(Item::Report(report)) }).collect(),
        ..Default::default()
    };
    let first = filer.imports(&batch).await;
    let reports = |answer: &v1::ImportReportsResponse| {
        let of = |result: &v1::ImportResult| match result.outcome.as_ref().unwrap() {
            Outcome::Result(result) => result.report.clone(),
            Outcome::Refusal(refusal) => refusal.reason().as_str_name().to_owned(),
        };
        answer.results.iter().map(of).collect::<Vec<_>>()
    };
    let [x, y] = ["x", "y"].map(|id| format!("visits/{id}/reports/az-mod"));
    let refused = |reason: v1::ErrorReason| reason.as_str_name().to_owned();
    assert_eq!(reports(&first), [refused(v1::ErrorReason::RoleRequired), x.clone(), y.clone()]);

    files.write("attache.toml", granting(r#"["filer", "editor"]"#));
    server.reload().await;
    let again = filer.imports(&batch).await;
    assert_eq!(reports(&again), [refused(v1::ErrorReason::FieldInvalid), x, y], "it was refused, and is not filed now");
    assert_eq!((&again.results[1..], again.revision), (&first.results[1..], first.revision));
    server.stop().await;
}

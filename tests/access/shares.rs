//! How much each principal may ask for: of one who asks for more, what is too much is refused, and nobody else notices.

use std::time::Duration;

use tonic_types::StatusExt as _;

use super::*;

fn config(limits: &str) -> String {
    format!(
        "[access]\ntokens = \"tokens.toml\"\n[access.limits]\n{limits}\n\
         [[access.allow]]\nwho = \"token:*\"\nroles = [\"reader\", \"filer\"]\n"
    )
}

fn exceeded() -> (Code, String) {
    (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned())
}

#[tokio::test]
async fn calls_beyond_a_principals_rate_are_refused_and_nobody_elses() {
    let files = Files::new(&config("requests_per_second = 1"));
    let (greedy, other, modest) =
        (files.token("greedy", None), files.token("greedy", None), files.token("modest", None));
    let (server, _) = files.serve().await;
    let [greedy, other, modest] = [&greedy, &other, &modest].map(|token| Caller::bearer(&server, token));
    assert!(greedy.info().await.is_ok());
    // Far more than one a second, however slow this machine is.
    let mut refusal = None;
    for _ in 0..50 {
        if let Err(status) = other.info().await {
            refusal = Some(status);
        }
    }
    let refusal = refusal.expect("another credential of the same principal is the same principal");
    assert_eq!((refusal.code(), reason(&refusal)), exceeded());
    let retry = refusal.get_details_retry_info().and_then(|info| info.retry_delay).expect("it says when to come again");
    assert!(retry <= Duration::from_secs(1), "{retry:?}");
    assert!(modest.info().await.is_ok(), "another principal");
    server.stop().await;
}

#[tokio::test]
async fn bytes_of_filings_beyond_a_principals_rate_are_refused_and_change_nothing() {
    let files = Files::new(&config("filing_bytes_per_second = 1"));
    let (greedy, modest) = (files.token("greedy", None), files.token("modest", None));
    let (server, _) = files.serve().await;
    let (greedy, modest) = (Caller::bearer(&server, &greedy), Caller::bearer(&server, &modest));
    // As much as one filing may have, at once.
    let heavy = |id: usize| v1::Visit { summary: Some(format!("{id}{}", "x".repeat(3900))), ..Default::default() };
    let report = |id: usize| common::visit_report_of(&format!("v{id}"), "s", heavy(id));
    let mut filed = 0;
    let refusal = loop {
        let reports = (0..50).map(|i| report(filed * 50 + i)).collect();
        match greedy.filing().file_reports(v1::FileReportsRequest { reports, ..Default::default() }).await {
            Ok(_) => filed += 1,
            Err(status) => break status,
        }
        assert!(filed < 200, "it is never too much");
    };
    assert!(filed >= 10, "a burst of four megabytes is allowed");
    assert_eq!((refusal.code(), reason(&refusal)), exceeded());
    assert_eq!(modest.info().await.unwrap().revision, filed as u64, "nothing of it happened");
    assert!(modest.file("w", "s").await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn streams_beyond_a_principals_number_are_refused_until_one_ends() {
    let files = Files::new(&config("streams = 2"));
    let (greedy, modest) = (files.token("greedy", None), files.token("modest", None));
    let (server, _) = files.serve().await;
    let (greedy, modest) = (Caller::bearer(&server, &greedy), Caller::bearer(&server, &modest));
    let (first, _second) = (greedy.watch().await, greedy.watch().await);
    let third = greedy.feed().watch_events(from_oldest()).await.map(drop);
    assert_eq!(refused(third), exceeded());
    let _of_another = modest.watch().await;
    drop(first);
    patiently("a place", async {
        while greedy.feed().watch_events(from_oldest()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_beyond_a_principals_number_are_refused_until_one_ends() {
    let files = Files::new(&config("calls = 1"));
    let (token, modest) = (files.token("greedy", None), files.token("modest", None));
    let (server, _) = files.serve().await;
    let (greedy, modest) = (Caller::bearer(&server, &token), Caller::bearer(&server, &modest));
    assert!(greedy.info().await.is_ok() && greedy.info().await.is_ok(), "one after the other");
    // One whose message does not come is under way: of two, whichever is there first.
    let bearer = format!("Bearer {token}");
    let list = "attache.v1.RegistryService/ListVisits";
    let begin = async || common::raw::begin(&server.channel, list, &[("authorization", &bearer)]).await;
    let (mut one, mut other) = (begin().await, begin().await);
    let (refused, half) = patiently("a refusal", async {
        tokio::select! {
            answer = one.answered() => (answer, other),
            answer = other.answered() => (answer, one),
        }
    })
    .await;
    assert_eq!((refused.status.code(), reason(&refused.status)), exceeded());
    let refusal = greedy.info().await.expect_err("as long as that is under way");
    assert_eq!((refusal.code(), reason(&refusal)), exceeded());
    assert!(modest.info().await.is_ok(), "another principal");
    let _watch = greedy.watch().await;
    half.send(common::raw::framed(b"")).await;
    assert_eq!(patiently("its answer", half.answer()).await.status.code(), Code::Ok);
    assert!(greedy.info().await.is_ok(), "it has ended");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_beyond_a_principals_number_are_refused_until_one_was_sent() {
    let operator = "[[access.allow]]\nwho = \"token:greedy\"\nroles = [\"operator\"]";
    let files = Files::new(&config(&format!("snapshots = 1\n{operator}")));
    let (greedy, modest) = (files.token("greedy", None), files.token("modest", None));
    let (server, _) = files.serve().await;
    let narrow = Shows(Some(format!("Bearer {greedy}")));
    let narrow = Caller(InterceptedService::new(server.narrow_channel(), narrow));
    let (greedy, modest) = (Caller::bearer(&server, &greedy), Caller::bearer(&server, &modest));
    // More than a client with small windows is sent before it reads.
    for hundred in 0..2 {
        let heavy = |id| v1::Visit { summary: Some(format!("{id}{}", "x".repeat(3900))), ..Default::default() };
        let reports = (0..50).map(|i| hundred * 50 + i);
        let reports = reports.map(|i| common::visit_report_of(&format!("v{i}"), "s", heavy(i))).collect();
        modest.filing().file_reports(v1::FileReportsRequest { reports, ..Default::default() }).await.unwrap();
    }
    let snapshot = || v1::WatchEventsRequest { max_batch_events: 1, ..taciturn(from_snapshot()) };
    let mut first = narrow.feed().watch_events(snapshot()).await.unwrap().into_inner();
    assert!(is_started(&first.message().await.unwrap().unwrap()));
    assert_eq!(refused(greedy.feed().watch_events(snapshot()).await.map(drop)), exceeded());
    let mut log = v1::log_service_client::LogServiceClient::new(greedy.0.clone());
    assert_eq!(refused(log.backup(v1::BackupRequest::default()).await.map(drop)), exceeded(), "a backup is as large");
    let _without = greedy.watch().await;
    let _of_another = modest.feed().watch_events(snapshot()).await.expect("another principal");
    patiently("the end of the snapshot", async {
        while !is_caught_up(&first.message().await.unwrap().expect("the stream goes on")) {}
    })
    .await;
    assert!(greedy.feed().watch_events(snapshot()).await.is_ok(), "the first goes on, and its snapshot was sent");
    server.stop().await;
}

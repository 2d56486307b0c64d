//! Clients behind a bad link: what they file stands once, and what they watch they are told once.

mod common;
#[path = "cluster/filers.rs"]
#[allow(dead_code, reason = "the tests of clusters use more of it")]
mod filers;
#[path = "common/link.rs"]
mod link;

use attache::pb::v1::{
    self, WatchEventsRequest, feed_service_client::FeedServiceClient, filing_service_client::FilingServiceClient,
    watch_events_request::Start,
};
use common::{
    TestServer,
    ask::reason,
    visit_report,
    watching::{Watching, after, events, everything, from_oldest, lively, patiently},
};
use filers::{Filers, standing};
use link::{Link, State};
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::sync::watch;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// Connections of the filers that break at least, and times at least that the watch goes on after its own broke.
const BREAKS: usize = 3;
/// What is filed after everything else.
const LAST: &str = "visits/last";

/// A rough link to a server.
fn rough(server: &TestServer, rng: &mut StdRng) -> Link {
    let address = server.address.strip_prefix("http://").and_then(|address| address.parse().ok());
    let link = Link::to(address.expect("an address"), StdRng::from_rng(rng));
    link.turn(State::Rough);
    link
}

/// A client's channel over a link.
fn over(link: &Link) -> Channel {
    Endpoint::from_shared(format!("http://{}", link.address)).unwrap().connect_lazy()
}

/// Files one record straight at the server.
async fn file(server: &TestServer, id: &str) {
    server.file(vec![visit_report(id, "s", "KZ", "AZ", "2023-05-01")]).await;
}

/// What a client is told, up to the last record, that goes on from its last token whenever its connection breaks. It
/// counts how often it does.
async fn told(feed: FeedServiceClient<Channel>, resumes: watch::Sender<usize>) -> Vec<v1::Event> {
    let (mut told, mut request) = (Vec::new(), lively(from_oldest()));
    while let Err(status) = hear(feed.clone(), &mut request, &mut told).await {
        assert_eq!(reason(&status), "", "it is the link that ends it, not the server: {status:?}");
        let has_token = matches!(request.start, Some(Start::After(_)));
        resumes.send_modify(|resumes| *resumes += usize::from(has_token));
    }
    told
}

/// Hears one stream until the last record is told; `request` is for the stream that goes on from there if it breaks.
async fn hear(
    feed: FeedServiceClient<Channel>,
    request: &mut WatchEventsRequest,
    told: &mut Vec<v1::Event>,
) -> Result<(), Status> {
    let mut watch = Watching::open(feed, request.clone()).await?;
    while told.last().is_none_or(|event| event.subject != LAST) {
        let frame = watch.next().await?.expect("it does not end by itself");
        *request = lively(after(&frame.token));
        told.extend(events(&[frame]));
    }
    Ok(())
}

/// What is late and what breaks follows from `ATTACHE_SEED`, which a test that fails has printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_links_that_are_late_and_break_filings_stand_once_and_a_watch_that_goes_on_is_told_each_once_in_order() {
    let seed = std::env::var("ATTACHE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("ATTACHE_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let server = TestServer::start().await;
    file(&server, "first").await;
    let (filers_link, watchers_link) = (rough(&server, &mut rng), rough(&server, &mut rng));
    let (resumes, mut resumed) = watch::channel(0);
    let watching = tokio::spawn(told(FeedServiceClient::new(over(&watchers_link)), resumes));
    // Connections of their own: not all of them lose their answers at the same time.
    let filers = Filers::of(&[(); 3].map(|()| FilingServiceClient::new(over(&filers_link))), 6);
    filers_link.until_broken(BREAKS).await;
    patiently("a watch that goes on", resumed.wait_for(|times| *times >= BREAKS)).await.expect("it watches");
    filers.more(10).await;

    let mut acknowledged = filers.stop().await;
    acknowledged.extend(["visits/first".to_owned(), LAST.to_owned()]);
    acknowledged.sort();
    file(&server, "last").await;
    let told = patiently("the last record", watching).await.expect("it does not panic");
    let log = everything(&server).await;
    assert_eq!(standing(&log), acknowledged, "each once, and nothing else, ATTACHE_SEED={seed}");
    assert_eq!(told, log, "each once, in order, ATTACHE_SEED={seed}");
    for link in [filers_link, watchers_link] {
        let (late, broken) = (link.late(), link.broken());
        println!("{late} chunks were late, {broken} connections broke");
    }
    server.stop().await;
}

//! The feed's guarantees, by number, and what else a watch promises. Everything runs twice: with the defaults, and with
//! a ring so small and pages so short that every watch reads from the store, meets the ring, and falls out of it again.
//!
//! Guarantee 9 (Durable) is held by the tests of crashes and faults, `tests/recovery/`, under its name.

mod caches;
mod caught_up;
#[path = "../common/mod.rs"]
mod common;
mod ends;
mod order;
mod pages;
mod resume;
mod revisions;
mod starts;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use attache::{
    config::{Config, DataDir},
    domain::token::Phase,
    feed,
    pb::v1::{
        self, EventType, RecordKind, WatchEventsRequest, WatchEventsResponse, list_events_request, record::Kind,
        watch_events_response::Frame,
    },
    serve::Parts,
};
use common::{
    FakeClock, TestServer, date,
    scribe::{Acked, Scribe, file_at_once, parties, ruling, told},
    shared_log::{Lagging, SharedLog},
    side, visit_report, visit_report_of,
    watching::*,
};
use tokio::sync::watch;

/// Every scenario under both settings.
macro_rules! under_both_settings {
    ($($scenario:ident),* $(,)?) => {
        mod with_defaults {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(crate::common::config()).await;
            })*
        }
        mod under_stress {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(super::stress()).await;
            })*
        }
    };
}

pub(crate) use under_both_settings;

/// A ring of a few revisions, read back two at a time.
fn stress() -> Config {
    let feed = feed::Settings { ring_bytes: 64 * 1024, page_revisions: 2, ..feed::Settings::default() };
    Config { feed, ..common::config() }
}

fn is_stressed(config: &Config) -> bool {
    config.feed.ring_bytes <= 64 * 1024
}

fn parts() -> Parts {
    Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }
}

fn parts_on(journal: impl attache::journal::Journal) -> Parts {
    Parts { journal: Arc::new(journal), clock: Arc::new(FakeClock::default()), ..Parts::default() }
}

async fn server(config: Config) -> TestServer {
    TestServer::with(config, parts()).await
}

fn place(event: &v1::Event) -> (u64, u32) {
    (event.revision, event.index)
}

/// A visit of `guest` to AZ that was announced: two events.
fn announced(id: &str, guest: &str, day: &str) -> v1::Report {
    let stage = v1::Progress { r#type: v1::ProgressType::Announced.into(), ..Default::default() };
    let visit = v1::Visit {
        hosts: vec![side("AZ")],
        guests: vec![side(guest)],
        start: Some(date(day)),
        progress: vec![stage],
        ..Default::default()
    };
    visit_report_of(id, "one", visit)
}

fn typed(request: WatchEventsRequest, event_type: EventType) -> WatchEventsRequest {
    WatchEventsRequest { event_types: vec![event_type.into()], ..request }
}

fn guest_of(event: &v1::Event) -> &'static str {
    parties(&event.subject).1
}

/// Files so much that no buffer between server and client holds it.
async fn flood(server: &TestServer, filings: usize) -> String {
    let mut token = String::new();
    for filing in 0..filings {
        let visit = |n: usize| {
            let visit = v1::Visit {
                hosts: vec![side("AZ")],
                guests: vec![side(["KZ", "UZ"][n % 2])],
                start: Some(date("2023-05-01")),
                note: Some("n".repeat(4000)),
                ..Default::default()
            };
            visit_report_of(&format!("flood-{filing}-{n}"), "one", visit)
        };
        token = server.file((0..20).map(visit).collect()).await.token;
    }
    token
}

/// More than a transport holds for a client that does not read: 4 MB.
const FLOOD: usize = 50;
/// What is told of each new visit here: that it is recorded, and that it began by its date.
const TOLD_OF_ONE: usize = 2;

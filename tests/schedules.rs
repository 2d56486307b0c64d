//! The ring and the hand-over, in whatever order threads take their turns: nobody misses a revision, gets one twice, or
//! sleeps on while there is something for them.
//!
//! A schedule that fails is printed, and can be run again (`shuttle::replay`).
#![cfg(feature = "shuttle")]

use std::sync::{Arc, OnceLock};

use attache::{
    clock::{Clock as _, SystemClock},
    domain::{
        facets::{Facets, Tag},
        filter::Filters,
        revision::{Change, Revision, State, Told},
        token::Epoch,
    },
    feed::{Hub, Polled, Settings},
    pb::{
        v1::{self, EventType},
        wire::EventHead,
    },
    store::Head,
};
use shuttle::{future::block_on, sync::Mutex, thread};

/// Revisions that are published.
const REVISIONS: u64 = 8;
/// Orders that are tried of each scheduler.
const SCHEDULES: usize = 4000;

/// Every third is about Kazakhstan, one is a redaction, the others are about Uzbekistan.
fn state_of(number: u64) -> &'static str {
    if number.is_multiple_of(3) { "KZ" } else { "UZ" }
}

const REDACTION: u64 = 5;

fn revision(number: u64) -> Revision {
    let facets = Facets::new(vec![(Tag::State, state_of(number).to_owned())], None);
    let after = State { record: bytes::Bytes::new(), facets: Arc::new(facets) };
    let event_type = if number == REDACTION { EventType::Redacted } else { EventType::Recorded };
    let told = Told {
        event: bytes::Bytes::new(),
        head: EventHead { r#type: event_type.into(), ..EventHead::default() },
        change: 0,
        original: Vec::new(),
        element: OnceLock::new(),
    };
    let name = format!("visits/v{number}");
    Revision {
        number,
        hash: [0; 32],
        recorded_at_us: 0,
        changes: vec![Change::new(name, None, Some(after))],
        events: vec![told],
        bytes: 10,
    }
}

fn head(number: u64) -> Head {
    Head { revision: number, position: number, ..Head::empty(Epoch::nil()) }
}

/// A ring that holds two revisions.
fn hub() -> Arc<Hub> {
    Hub::new(head(0), Settings { ring_bytes: 20, ..Settings::default() })
}

/// What is durable, before it is published.
type Log = Arc<Mutex<Vec<Revision>>>;

fn filters(state: Option<&str>) -> Filters {
    let filter = |state: &str| v1::Filter { states_any: vec![state.to_owned()], ..Default::default() };
    Filters::parse(&state.map(filter).into_iter().collect::<Vec<_>>(), "filters").expect("a filter")
}

/// Follows from the beginning to the last revision; answers what passed.
fn follow(hub: &Arc<Hub>, log: &Log, filters: &Filters) -> Vec<u64> {
    let subscriber = hub.subscribe(filters.clone(), Vec::new()).expect("it does not drain");
    // The end is to be told, though nothing there may match.
    subscriber.wake_at(REVISIONS);
    let passes = |revision: &Revision| revision.events.iter().any(|told| revision.passes(told, filters, &[]));
    let (mut at, mut passed) = (0, Vec::new());
    while at < REVISIONS {
        match subscriber.poll(at, 2) {
            Polled::Revisions(revisions) => {
                for revision in revisions {
                    assert_eq!(revision.number, at + 1, "the ring has no gap");
                    at = revision.number;
                    passed.extend(passes(&revision).then_some(at));
                }
            }
            Polled::Behind => {
                // A page of the log, as it is now.
                let next = log.lock().unwrap().iter().find(|revision| revision.number == at + 1).cloned();
                let next = next.expect("what the ring has had is in the log");
                at += 1;
                passed.extend(passes(&next).then_some(at));
            }
            Polled::Quiet(head) => {
                at = at.max(head.revision);
                if at < REVISIONS {
                    block_on(subscriber.woken());
                }
            }
        }
    }
    passed
}

fn everybody_gets_everything() {
    let (hub, log) = (hub(), Log::default());
    let wanted = [None, Some("KZ"), Some("TR")];
    let watchers: Vec<_> = wanted
        .into_iter()
        .map(|state| {
            let (hub, log) = (Arc::clone(&hub), Arc::clone(&log));
            thread::spawn(move || follow(&hub, &log, &filters(state)))
        })
        .collect();
    let publisher = thread::spawn(move || {
        for number in 1..=REVISIONS {
            if number == REDACTION {
                // Before it is in the log.
                hub.forget();
            }
            log.lock().unwrap().push(revision(number));
            hub.publish(vec![revision(number)], head(number));
        }
    });
    publisher.join().expect("it publishes");
    for (state, watcher) in wanted.into_iter().zip(watchers) {
        let matches = |number: &u64| state.is_none_or(|s| s == state_of(*number)) || *number == REDACTION;
        let expected: Vec<u64> = (1..=REVISIONS).filter(matches).collect();
        let passed = watcher.join().expect("it follows to the end");
        assert_eq!(passed, expected, "{state:?}");
    }
}

/// Prints what the orders follow from, so that they can be tried again.
fn seed() -> u64 {
    let given = std::env::var("ATTACHE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| SystemClock.now_us().unsigned_abs());
    println!("ATTACHE_SEED={seed}");
    seed
}

#[test]
fn nothing_is_missed_in_any_order_at_random() {
    let scheduler = shuttle::scheduler::RandomScheduler::new_from_seed(seed(), SCHEDULES);
    shuttle::Runner::new(scheduler, shuttle::Config::default()).run(everybody_gets_everything);
}

#[test]
fn nothing_is_missed_however_one_thread_is_held_back() {
    let scheduler = shuttle::scheduler::PctScheduler::new_from_seed(seed(), 3, SCHEDULES);
    shuttle::Runner::new(scheduler, shuttle::Config::default()).run(everybody_gets_everything);
}

//! A week of faults in a minute, or as long as is said: servers, links and replicas fail and come back at random, replicas also without
//! what they had. Filers insist from replica to replica, watchers go on elsewhere with what they have. Snapshots are made
//! all the while, and the log is trimmed. In the end everything acknowledged stands once, all replicas tell one history, and
//! everybody was told exactly it.
//!
//! `ATTACHE_SEED` repeats the faults of a run, `ATTACHE_WEEK_SECONDS` makes it longer. Replicas are processes, because
//! only those can be killed; so their clock is this machine's. What they file begins as a history of some days ago, so that
//! whoever first files something of today moves the registry's day, amid the faults; what their clocks do at midnight is
//! tried in [`days`].

mod clients;
mod days;
mod faults;
mod judge;

use std::time::Duration;

use attache::{
    clock::{Clock as _, SystemClock},
    journal::jetstream::Settings,
};
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{sync::watch, task::JoinHandle};

use self::{
    clients::{Consumer, Filer, Progress, Told, Watcher, When, trim, watchers},
    faults::{Doors, Week},
    judge::{assert_same, check_consumer, check_days, check_filings, check_watcher, floor, history},
};
use crate::{
    common::watching::{patiently, read},
    seed, told_to,
};

const REPLICAS: usize = 3;
const FILERS: usize = 5;
/// How long faults go on, in seconds, if nobody says.
const SECONDS: u64 = 60;
/// How long before anybody files something of today.
const FIRST: Duration = Duration::from_secs(3);
/// Filings before the first fault.
const BEFORE: usize = 30;

/// What the trim amid the faults leaves begins with this revision, which is before the first fault.
const TRIMMED: u64 = FLOOR + 1;
const FLOOR: u64 = 19;

/// Waits for somebody who is about to end.
async fn ended<T>(week: &mut Week, what: &str, task: JoinHandle<T>) -> T {
    week.until(what, task).await.expect("it does not panic")
}

/// Trims the log once all of these are past it.
async fn trim_behind(all: Vec<Progress>, doors: Doors, seed: u64) {
    while all.iter().any(|progress| progress.revision() < TRIMMED) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let trimmed = trim(&doors, &mut StdRng::seed_from_u64(seed), TRIMMED).await;
    println!("trimmed up to {:?}", read(&trimmed.oldest_token));
}

/// Waits until the stream begins later: snapshots were made, and what was trimmed is purged from it.
async fn purged(settings: &Settings) {
    let client = async_nats::connect(settings.servers.clone()).await.expect("it connects");
    let context = async_nats::jetstream::new(client);
    while !context.get_stream(&settings.stream).await.is_ok_and(|stream| stream.cached_info().state.first_sequence > 1)
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_week_of_faults_nothing_acknowledged_is_lost_and_everybody_is_told_exactly_the_log() {
    let seed = seed();
    let seconds = told_to("ATTACHE_WEEK_SECONDS").unwrap_or(SECONDS);
    println!("ATTACHE_SEED={seed} ATTACHE_WEEK_SECONDS={seconds}");
    let mut week = Week::begin(seed).await;
    let (doors, told) = (week.doors.clone(), watch::Sender::new(Told::default()));
    let filer = |number: usize, when: When| Filer::new(number, when, seed + 100 + number as u64, &doors, &told);
    let mut first = filer(FILERS, When::Before(SystemClock.now_us()));
    for _ in 0..BEFORE {
        patiently("the first filings", first.one_more()).await;
    }
    // Before its first batch a replica does not know its log, and no other takes its tokens.
    for replica in 0..REPLICAS {
        history(&doors, replica, &[]).await;
    }
    let watchers = watchers(&doors, &told, seed + 200);
    let consumer = Consumer::new(seed + 300, &doors, &told);
    // Those that begin later begin with a snapshot.
    let from_the_start = watchers.iter().filter(|watcher| watcher.begins == 0).map(Watcher::progress);
    let all = from_the_start.chain([consumer.progress()]).collect();
    let watchers: Vec<_> = watchers.into_iter().map(|watcher| tokio::spawn(watcher.watch())).collect();
    let consumer = tokio::spawn(consumer.consume());

    week.pass(FIRST).await;
    let filers: Vec<_> = (0..FILERS).map(|number| tokio::spawn(filer(number, When::Now).file())).collect();
    week.pass(Duration::from_secs(seconds / 3)).await;
    let trimmed = tokio::spawn(trim_behind(all, doors.clone(), seed + 500));
    week.pass(Duration::from_secs(seconds - seconds / 3)).await;
    week.mend().await;
    told.send_modify(|told| told.is_over = true);
    let mut filed = first.filed.clone();
    for filer in filers {
        filed.extend(ended(&mut week, "the last filing of a filer", filer).await);
    }
    ended(&mut week, "the trim", trimmed).await;
    let last = filed.iter().map(|answer| answer.revision).max().expect("something was filed");
    told.send_modify(|told| told.last = Some(last));
    let settings = week.settings();
    week.until("the purge", purged(&settings)).await;

    let (log, tokens) = week.until("the log", history(&doors, 0, &[])).await;
    for replica in 0..REPLICAS {
        let (other, other_tokens) = week.until("the log of another", history(&doors, replica, &[])).await;
        assert_same(&other, &log, "another replica");
        assert!(tokens == other_tokens, "the tokens of replica {replica} are others");
        assert_eq!(floor(doors.of(replica)).await, FLOOR, "it was trimmed on replica {replica}");
    }
    println!("{} filings, {} events, revision {last}", filed.len(), log.len());
    check_days(&first.filed, &log);
    check_filings(filed, &log, FLOOR);
    for watcher in watchers {
        let watcher = ended(&mut week, "the end of a watcher", watcher).await;
        println!("{}: {} visits", watcher.about, watcher.marks.len());
        check_watcher(&watcher, &log, &doors, FLOOR).await;
    }
    check_consumer(&ended(&mut week, "the end of a consumer", consumer).await, &log, FLOOR);
}

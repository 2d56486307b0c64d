//! A week of faults in less than a minute: servers, links and replicas fail and come back at random. Filers insist from
//! replica to replica, watchers go on elsewhere with what they have. In the end everything acknowledged stands once,
//! all replicas tell one history, and everybody was told exactly it.
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

use attache::clock::{Clock as _, SystemClock};
use tokio::{sync::watch, task::JoinHandle};

use self::{
    clients::{Consumer, Filer, Told, When, watchers},
    faults::Week,
    judge::{assert_same, check_consumer, check_days, check_filings, check_watcher, history},
};
use crate::{common::watching::patiently, seed, told_to};

const REPLICAS: usize = 3;
const FILERS: usize = 5;
/// How long faults go on, in seconds, if nobody says.
const SECONDS: u64 = 45;
/// How long before anybody files something of today.
const FIRST: Duration = Duration::from_secs(3);
/// Filings before the first fault.
const BEFORE: usize = 30;

/// Waits for somebody who is about to end.
async fn ended<T>(what: &str, task: JoinHandle<T>) -> T {
    patiently(what, task).await.expect("it does not panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_week_of_faults_nothing_acknowledged_is_lost_and_everybody_is_told_exactly_the_log() {
    let seed = seed();
    let seconds = told_to("ATTACHE_WEEK_SECONDS").unwrap_or(SECONDS);
    println!("ATTACHE_SEED={seed} ATTACHE_WEEK_SECONDS={seconds}");
    let mut week = Week::begin(seed);
    let (doors, told) = (week.doors.clone(), watch::Sender::new(Told::default()));
    let filer = |number: usize, when: When| Filer::new(number, when, seed + 100 + number as u64, &doors, &told);
    let mut first = filer(FILERS, When::Before(SystemClock.now_us()));
    for _ in 0..BEFORE {
        patiently("the first filings", first.one_more()).await;
    }
    // Before its first batch a replica does not know its log, and no other takes its tokens.
    for replica in 0..REPLICAS {
        history(doors.of(replica), &[]).await;
    }
    let watchers: Vec<_> = watchers(&doors, &told, seed + 200).into_iter().map(|w| tokio::spawn(w.watch())).collect();
    let consumer = tokio::spawn(Consumer::new(seed + 300, &doors, &told).consume());

    week.pass(FIRST).await;
    let filers: Vec<_> = (0..FILERS).map(|number| tokio::spawn(filer(number, When::Now).file())).collect();
    week.pass(Duration::from_secs(seconds)).await;
    week.mend().await;
    told.send_modify(|told| told.is_over = true);
    let mut filed = first.filed.clone();
    for filer in filers {
        filed.extend(ended("the last filing of a filer", filer).await);
    }
    let last = filed.iter().map(|answer| answer.revision).max().expect("something was filed");
    told.send_modify(|told| told.last = Some(last));

    let (log, tokens) = history(doors.of(0), &[]).await;
    for replica in 1..REPLICAS {
        let (other, other_tokens) = history(doors.of(replica), &[]).await;
        assert_same(&other, &log, "another replica");
        assert!(tokens == other_tokens, "the tokens of replica {replica} are others");
    }
    println!("{} filings, {} events, revision {last}", filed.len(), log.len());
    check_days(&first.filed, &log);
    check_filings(filed, &log);
    for watcher in watchers {
        let watcher = ended("the end of a watcher", watcher).await;
        println!("{}: {} visits", watcher.about, watcher.marks.len());
        check_watcher(&watcher, &log, &doors).await;
    }
    check_consumer(&ended("the end of a consumer", consumer).await, &log);
}

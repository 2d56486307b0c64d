//! Each guarantee is seen broken where it is, and held where it is not.

mod made_up;

use self::made_up::{batch, broken, event, frame, frames, history, partial, stream, whole};
use super::{
    super::history::{Ending, Tries, What},
    *,
};

#[test]
fn a_history_as_promised_holds_every_guarantee() {
    let verdicts = judge(&history());
    for verdict in &verdicts {
        assert_eq!(verdict.outcome, Outcome::Held, "{verdict:?}");
    }
    assert_eq!(verdicts.len(), 12);
}

#[test]
fn where_nothing_happened_nothing_is_said_to_hold() {
    let nothing = judge(&History::default());
    assert!(nothing.iter().all(|v| v.outcome == Outcome::NotTested), "{nothing:?}");
}

#[test]
fn disorder_breaks_ordered() {
    let broken = broken(|h| frames(h, 0, 0).swap(1, 2));
    assert!(broken.contains(&"ordered"), "{broken:?}");
}

#[test]
fn a_token_that_goes_back_breaks_ordered() {
    let broken = broken(|h| h.watches[0].streams[0].frames[2].token = whole(0));
    assert!(broken.contains(&"ordered"), "{broken:?}");
}

#[test]
fn a_repeat_on_one_stream_breaks_unique() {
    let broken = broken(|h| {
        let again = frames(h, 0, 0)[1].clone();
        frames(h, 0, 0).insert(2, again);
    });
    assert!(broken.contains(&"unique") && !broken.contains(&"ordered"), "{broken:?}");
}

#[test]
fn a_gap_breaks_complete_and_nothing_about_order() {
    let broken = broken(|h| {
        frames(h, 0, 0).remove(1);
    });
    assert!(broken.contains(&"complete"), "{broken:?}");
    assert!(!broken.contains(&"ordered") && !broken.contains(&"unique"), "{broken:?}");
}

#[test]
fn an_event_that_the_log_does_not_have_or_tells_otherwise_breaks_complete() {
    let invented = broken(|h| {
        let What::Batch { events, .. } = &mut frames(h, 0, 0)[1].what else { panic!() };
        events.push(event(1, 7));
    });
    assert_eq!(invented, ["complete"]);
    let altered = broken(|h| {
        let What::Batch { events, .. } = &mut frames(h, 0, 0)[1].what else { panic!() };
        events[0].whole += 1;
    });
    assert_eq!(altered, ["complete"]);
}

#[test]
fn an_acknowledged_event_that_neither_came_nor_is_listed_breaks_complete_and_durable() {
    let broken = broken(|h| {
        h.selections[0].1.retain(|e| e.revision != 1);
        h.logs[1].retain(|e| e.revision != 1);
        frames(h, 0, 0).remove(1);
    });
    assert!(broken.contains(&"complete") && broken.contains(&"durable"), "{broken:?}");
}

#[test]
fn a_watch_that_never_gets_to_the_end_breaks_complete() {
    let broken = broken(|h| {
        h.watches[0].finished = false;
        h.watches[0].streams[1].frames.truncate(1);
        h.watches[0].streams[1].ending = Ending::Silent;
    });
    assert!(broken.contains(&"complete"), "{broken:?}");
}

#[test]
fn a_split_revision_that_does_not_say_so_breaks_atomic() {
    let silent = broken(|h| {
        let What::Batch { continued, .. } = &mut frames(h, 0, 0)[2].what else { panic!() };
        *continued = false;
    });
    assert_eq!(silent, ["atomic"]);
    let amid = broken(|h| frames(h, 0, 0).insert(3, frame(partial(2, 1), What::Progress)));
    assert_eq!(amid, ["atomic"]);
    let never_ended = broken(|h| {
        frames(h, 0, 0).remove(3);
    });
    assert!(never_ended.contains(&"atomic") && never_ended.contains(&"complete"), "{never_ended:?}");
}

#[test]
fn a_gap_a_repeat_or_a_refusal_at_a_resume_breaks_resumable() {
    let gap = broken(|h| {
        frames(h, 0, 1).remove(1);
    });
    assert!(gap.contains(&"resumable") && gap.contains(&"complete"), "{gap:?}");
    let repeat = broken(|h| frames(h, 0, 1).insert(1, batch(whole(2), vec![event(2, 1)], false)));
    assert!(repeat.contains(&"resumable") && !repeat.contains(&"unique"), "{repeat:?}");
    let refused = broken(|h| {
        let ending = Ending::Catalogue { reason: "LOG_REPLACED".into(), refused: true };
        let refusal = stream(0, Some(whole(2)), Vec::new(), ending);
        h.watches[0].streams.insert(1, refusal);
    });
    assert_eq!(refused, ["resumable"]);
    let elsewhere = broken(|h| frames(h, 0, 1)[0].token = whole(3));
    assert!(elsewhere.contains(&"resumable"), "{elsewhere:?}");
}

#[test]
fn progress_ahead_of_delivery_or_behind_it_breaks_bookmarkable() {
    let ahead = broken(|h| frames(h, 0, 0).insert(1, frame(whole(1), What::Progress)));
    assert_eq!(ahead, ["bookmarkable"]);
    let behind = broken(|h| frames(h, 0, 0).insert(2, frame(whole(0), What::Progress)));
    assert!(behind.contains(&"bookmarkable"), "{behind:?}");
}

#[test]
fn a_cache_that_differs_from_the_list_breaks_filter_consistent() {
    let other = broken(|h| {
        h.watches[0].compared[0].cached.insert("organizations/probe-r-0".into(), 0);
    });
    assert_eq!(other, ["filter-consistent"]);
    let more = broken(|h| {
        h.watches[0].compared[0].cached.insert("organizations/probe-r-9".into(), 1);
    });
    assert_eq!(more, ["filter-consistent"]);
    let fewer = broken(|h| h.watches[0].compared[0].cached.clear());
    assert_eq!(fewer, ["filter-consistent"]);
}

#[test]
fn caught_up_too_early_or_twice_breaks_caught_up() {
    let early = broken(|h| h.watches[0].streams[1].acknowledged = 4);
    assert_eq!(early, ["caught up"]);
    let twice = broken(|h| {
        frames(h, 0, 0).push(frame(whole(2), What::CaughtUp));
    });
    assert_eq!(twice, ["caught up"]);
    // Its token says that it is, and what it stands for has not come.
    let empty = broken(|h| frames(h, 0, 1).swap(1, 2));
    assert!(empty.contains(&"caught up") && empty.contains(&"bookmarkable"), "{empty:?}");
}

#[test]
fn an_acknowledged_filing_that_one_server_does_not_have_or_tells_otherwise_breaks_durable() {
    let lost = broken(|h| h.logs[1].retain(|e| e.revision != 3));
    assert_eq!(lost, ["durable"]);
    let altered = broken(|h| h.logs[0][0].bare += 1);
    assert_eq!(altered, ["durable"]);
}

#[test]
fn a_stream_that_ends_without_a_word_breaks_honest_end() {
    let closed = broken(|h| h.watches[0].streams[0].ending = Ending::Closed);
    assert_eq!(closed, ["honest end"]);
    let broke = broken(|h| h.watches[0].streams[0].ending = Ending::Unexplained("h2: reset".into()));
    assert_eq!(broke, ["honest end"]);
    let unasked = broken(|h| {
        frames(h, 0, 0).push(frame(whole(2), What::End));
        h.watches[0].streams[0].ending = Ending::Closed;
    });
    assert_eq!(unasked, ["honest end"]);
    let told = broken(|h| {
        frames(h, 0, 0).push(frame(whole(2), What::GoingAway));
        h.watches[0].streams[0].ending = Ending::Closed;
    });
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn what_filers_found_is_told_of_their_promises() {
    let found = |what: &str| Tries { made: 1, elsewhere: 1, faults: vec![what.into()] };
    assert_eq!(broken(|h| h.reads = found("not there")), ["own writes are read"]);
    assert_eq!(broken(|h| h.repeats = found("another answer")), ["a retry is safe"]);
}

#[test]
fn many_faults_are_counted_and_few_are_told() {
    let mut history = history();
    history.reads.faults = (0..20).map(|n| format!("fault {n}")).collect();
    let verdict = judge(&history).into_iter().find(|v| v.outcome == Outcome::Broken).expect("one is broken");
    assert_eq!(verdict.evidence.len(), MAX_TOLD + 2);
    assert_eq!(verdict.evidence[MAX_TOLD], "and 15 faults more");
}

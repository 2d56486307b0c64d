//! Guarantees about the order in which things come, and how streams end.

use std::collections::HashSet;

use super::{
    super::{
        history::{Ending, Frame, History, Seen, Stream, What},
        places::{covers, order},
    },
    Findings, all_streams, place, watches,
};
use crate::domain::token::{Phase, Token};

/// By (revision, index), the records of a snapshot before them and by name; tokens never go back.
pub(super) fn ordered(history: &History) -> Findings {
    let mut found = Findings::default();
    for (number, watch) in watches(history) {
        let mut last: Option<&Seen> = None;
        let mut at: Option<&Token> = None;
        for stream in &watch.streams {
            if stream.frames.first().is_some_and(|first| first.what != What::Started) {
                found.fault(format!("{}: `started` does not come first", place(history, number, stream, None)));
            }
            for frame in &stream.frames {
                let here = || place(history, number, stream, Some(&frame.token));
                if at.is_some_and(|before| order(&frame.token) < order(before)) {
                    found.fault(format!("{}: goes back behind the token before", here()));
                }
                at = Some(&frame.token);
                for event in frame.events() {
                    found.tried += 1;
                    if let Some(before) = last.filter(|before| is_before(event, before)) {
                        found.fault(format!("{}: event {} comes after {}", here(), event.id, before.id));
                    }
                    last = Some(event);
                }
            }
        }
    }
    found.basis = format!("{} events delivered to {} watchers", found.tried, history.watches.len());
    found
}

/// Whether it should have come before the other; the same once more is no matter of order.
fn is_before(event: &Seen, other: &Seen) -> bool {
    match (event.is_snapshot(), other.is_snapshot()) {
        (true, true) => event.subject < other.subject,
        (true, false) => true,
        (false, true) => false,
        (false, false) => event.place() < other.place(),
    }
}

/// None twice on one stream.
pub(super) fn unique(history: &History) -> Findings {
    let mut found = Findings::default();
    let mut delivered = 0;
    for (number, stream) in all_streams(history) {
        let mut seen = HashSet::new();
        for event in stream.events() {
            delivered += 1;
            if !seen.insert(&event.id) {
                found.fault(format!("{}: event {} comes twice", place(history, number, stream, None), event.id));
            }
        }
        found.tried += usize::from(!seen.is_empty());
    }
    found.basis = format!("{delivered} events on {} streams", found.tried);
    found
}

/// A revision's events together, or in consecutive frames that say so.
pub(super) fn atomic(history: &History) -> Findings {
    let mut found = Findings::default();
    let (mut split, mut together) = (0, 0);
    for (number, watch) in watches(history) {
        // The revision that a stream was left in the middle of.
        let mut open: Option<u64> = None;
        for stream in &watch.streams {
            let mut before: Option<u64> = None;
            for frame in &stream.frames {
                if let Some(what) = fault(frame, open, before) {
                    found.fault(format!("{}: {what}", place(history, number, stream, Some(&frame.token))));
                }
                let What::Batch { events, continued } = &frame.what else { continue };
                let last = events.last().map(|event| event.revision);
                split += usize::from(*continued);
                together += events.windows(2).filter(|two| two[0].revision == two[1].revision).count();
                found.tried += 1;
                open = last.filter(|_| *continued);
                before = last;
            }
        }
    }
    let batches = std::mem::take(&mut found.tried);
    // Revisions of one event each have nothing that could come apart.
    found.tried = split + together;
    found.basis =
        format!("{batches} batches, {split} of them continued; {together} events beside one of the same revision");
    found
}

/// What is wrong with a frame, given the revision that is not whole yet and the last of the batch before on its stream.
fn fault(frame: &Frame, open: Option<u64>, before: Option<u64>) -> Option<String> {
    let What::Batch { events, continued } = &frame.what else {
        // Before its first batch a resumed stream may say other things, and who drains says so at any time: the rest
        // comes on the next stream then.
        let between = before.is_some() && frame.what != What::GoingAway;
        return open
            .filter(|_| between)
            .map(|revision| format!("something comes between the parts of revision {revision}"));
    };
    let first = events.first().filter(|event| !event.is_snapshot())?.revision;
    match open {
        Some(revision) if revision != first => {
            return Some(format!("revision {revision} goes on, and revision {first} comes"));
        }
        None if before == Some(first) => {
            return Some(format!("revision {first} goes on in it, and the batch before did not say so"));
        }
        _ => {}
    }
    let amid = matches!(frame.token.phase, Phase::Partial { .. });
    let contradicts = amid != *continued;
    contradicts.then(|| format!("the token says whether revision {} is whole, and the batch the reverse", last(events)))
}

fn last(events: &[Seen]) -> u64 {
    events.last().map_or(0, |event| event.revision)
}

/// Progress is never ahead of what was delivered, and never behind it.
pub(super) fn bookmarkable(history: &History) -> Findings {
    let mut found = Findings::default();
    let mut quiet = 0;
    for (number, watch) in watches(history) {
        // The farthest position up to which everything was said to have come.
        let mut mark: Option<&Token> = None;
        let mut last: Option<&Seen> = None;
        for (stream, frame) in watch.streams.iter().flat_map(|s| s.frames.iter().map(move |frame| (s, frame))) {
            let here = || place(history, number, stream, Some(&frame.token));
            for event in frame.events().iter().filter(|event| !event.is_snapshot()) {
                if let Some(mark) = mark.filter(|mark| covers(mark, event.place())) {
                    let said = mark.encode();
                    found.fault(format!("{}: event {} comes after progress up to {said}", here(), event.id));
                }
                last = Some(event);
            }
            if !matches!(frame.what, What::Progress | What::CaughtUp) {
                continue;
            }
            found.tried += 1;
            if let Some(event) = last.filter(|event| !covers(&frame.token, event.place())) {
                found.fault(format!("{}: progress is behind event {}, which had come", here(), event.id));
            }
            quiet += usize::from(mark.is_some_and(|mark| order(&frame.token) > order(mark)));
            if mark.is_none_or(|mark| order(&frame.token) > order(mark)) {
                mark = Some(&frame.token);
            }
        }
    }
    found.basis = format!("{} positions between events, {quiet} of them farther than the one before", found.tried);
    found
}

/// Every stream ends with `end`, `going_away`, an error of the catalogue, or because we left.
pub(super) fn honest_end(history: &History) -> Findings {
    let mut found = Findings::default();
    let (mut ours, mut told, mut refused) = (0, 0, 0);
    for (number, stream) in all_streams(history) {
        let here = || place(history, number, stream, stream.frames.last().map(|frame| &frame.token));
        found.tried += 1;
        match &stream.ending {
            Ending::Ours => ours += 1,
            Ending::Catalogue { .. } => refused += 1,
            Ending::Closed if says_that_it_ends(stream) => told += 1,
            Ending::Closed => found.fault(format!("{}: ends without a word", here())),
            Ending::Unexplained(what) => {
                found.fault(format!("{}: ends with an error that is not of the catalogue: {what}", here()));
            }
            // Which is for `complete` to say.
            Ending::Silent => {}
        }
    }
    found.basis = format!("{ours} streams left by us, {told} ended with their last frame, {refused} with an error");
    found
}

fn says_that_it_ends(stream: &Stream) -> bool {
    match stream.frames.last().map(|frame| &frame.what) {
        Some(What::End) => stream.until,
        Some(What::GoingAway) => true,
        _ => false,
    }
}

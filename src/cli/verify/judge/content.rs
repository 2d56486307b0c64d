//! Guarantees about what comes: all of it, on every server, and what it adds up to.

use std::collections::{HashMap, HashSet};

use super::{
    super::{
        history::{Compared, Ending, History, Seen, Stream, Watched, What},
        places::{covers, is_past},
    },
    Findings, all_streams, expected, place, server, watches,
};
use crate::domain::token::Token;

/// Everything that matches, as the log has it and as filers were told.
pub(super) fn complete(history: &History) -> Findings {
    let mut found = Findings::default();
    for (number, watch) in watches(history) {
        let Some(last) = watch.streams.last() else { continue };
        let here = || place(history, number, last, watch.last());
        if last.ending == Ending::Silent {
            found.fault(format!("{}: does not come to revision {}", here(), history.end));
        }
        let until = watch.last();
        let is_due = |event: &&Seen| watch.finished || until.is_some_and(|token| covers(token, event.place()));
        let came: HashMap<&str, &Seen> = changes(watch).map(|event| (event.id.as_str(), event)).collect();
        let due: HashMap<&str, &Seen> = expected(history, watch).map(|event| (event.id.as_str(), event)).collect();
        for event in expected(history, watch).filter(is_due) {
            found.tried += 1;
            match came.get(event.id.as_str()) {
                None => found.fault(format!("{}: event {} did not come", here(), event.id)),
                Some(it) if it.whole != event.whole => {
                    found.fault(format!("{}: event {} comes otherwise than ListEvents tells it", here(), event.id));
                }
                Some(_) => {}
            }
        }
        for event in changes(watch).filter(|event| event.revision <= history.end) {
            if !due.contains_key(event.id.as_str()) {
                found.fault(format!("{}: event {} came, and ListEvents does not tell it", here(), event.id));
            }
        }
        for event in told(history, watch).filter(is_due) {
            if !came.contains_key(event.id.as_str()) {
                found.fault(format!("{}: event {} was acknowledged and did not come", here(), event.id));
            }
        }
    }
    let filings = history.acknowledged.len();
    found.basis = format!("{} deliveries beside ListEvents and {filings} acknowledged filings", found.tried);
    found
}

fn changes(watch: &Watched) -> impl Iterator<Item = &Seen> {
    watch.streams.iter().flat_map(Stream::changes)
}

/// What filers were told that is for a watch for certain.
fn told<'h>(history: &'h History, watch: &'h Watched) -> impl Iterator<Item = &'h Seen> {
    let selection = history.selections.get(watch.selection).map(|(selection, _)| selection);
    let began = watch.began();
    history.acknowledged.iter().flat_map(|filing| &filing.events).filter(move |event| {
        let after = began.is_some_and(|token| !covers(token, event.place()));
        after && event.revision <= history.end && selection.is_some_and(|s| s.surely_wants(event))
    })
}

/// From any token, on any server: nothing is left out and nothing comes again.
pub(super) fn resumable(history: &History) -> Findings {
    let mut found = Findings::default();
    let (mut elsewhere, mut amid, mut servers) = (0, 0, HashSet::new());
    for (number, watch) in watches(history) {
        let mut came: HashSet<&str> = HashSet::new();
        let mut before: Option<&Stream> = None;
        for stream in &watch.streams {
            if let Some(token) = &stream.resumed {
                found.tried += 1;
                elsewhere += usize::from(before.is_some_and(|before| before.server != stream.server));
                amid += usize::from(!is_past(token, token.revision));
                servers.insert(stream.server);
                let here = || place(history, number, stream, Some(token));
                for what in faults(history, watch, stream, token, &came) {
                    found.fault(format!("{}: {what}", here()));
                }
            }
            came.extend(stream.events().map(|event| event.id.as_str()));
            before = Some(stream);
        }
    }
    found.basis = format!(
        "{} resumes on {} servers, {elsewhere} on another than before, {amid} within a revision or a snapshot",
        found.tried,
        servers.len()
    );
    found
}

fn faults(history: &History, watch: &Watched, stream: &Stream, token: &Token, came: &HashSet<&str>) -> Vec<String> {
    let mut faults = Vec::new();
    if let Ending::Catalogue { reason, refused: true } = &stream.ending {
        faults.push(format!("refused with {reason}"));
    }
    if let Some(first) = stream.frames.first().filter(|first| first.token != *token) {
        faults.push(format!("resumed at {} instead", first.token.encode()));
    }
    if let Some(event) = stream.events().find(|event| came.contains(event.id.as_str())) {
        faults.push(format!("event {} had come before", event.id));
    }
    if let Some(first) = stream.changes().next() {
        let left_out = |event: &&Seen| {
            event.place() < first.place() && !covers(token, event.place()) && !came.contains(event.id.as_str())
        };
        let gap = expected(history, watch).find(left_out);
        faults.extend(gap.map(|event| format!("event {} is left out before {}", event.id, first.id)));
    }
    faults
}

/// A cache that is kept by the events equals the list with the same filter at the same token.
pub(super) fn consistent(history: &History) -> Findings {
    let mut found = Findings::default();
    let mut caches = 0;
    for (number, watch) in watches(history) {
        caches += usize::from(!watch.compared.is_empty());
        for compared in &watch.compared {
            found.tried += 1;
            if let Some(what) = difference(compared) {
                let (on, token) = (server(history, compared.server), compared.token.encode());
                found.fault(format!("watcher {number}, list of {on}, token {token}: {what}"));
            }
        }
    }
    found.basis = format!("{caches} caches beside lists at {} tokens", found.tried);
    found
}

fn difference(compared: &Compared) -> Option<String> {
    let Compared { cached, listed, .. } = compared;
    let missing = listed.keys().find(|name| !cached.contains_key(*name));
    if let Some(name) = missing {
        return Some(format!("{name} is listed, and is not in the cache"));
    }
    let differs = cached.iter().find(|(name, digest)| listed.get(*name) != Some(*digest));
    differs.map(|(name, _)| match listed.contains_key(name) {
        true => format!("{name} is another in the cache than in the list"),
        false => format!("{name} is in the cache, and is not listed"),
    })
}

/// `caught_up` once, and not before everything that had been acknowledged was delivered.
pub(super) fn caught_up(history: &History) -> Findings {
    let mut found = Findings::default();
    for (number, watch) in watches(history) {
        let mut came: HashSet<&str> = HashSet::new();
        for stream in &watch.streams {
            let mut said = false;
            for frame in &stream.frames {
                came.extend(frame.events().iter().map(|event| event.id.as_str()));
                if frame.what != What::CaughtUp {
                    continue;
                }
                found.tried += 1;
                let here = || place(history, number, stream, Some(&frame.token));
                if std::mem::replace(&mut said, true) {
                    found.fault(format!("{}: says twice on one stream that it caught up", here()));
                }
                if !is_past(&frame.token, stream.acknowledged) {
                    let acknowledged = stream.acknowledged;
                    found.fault(format!("{}: caught up before revision {acknowledged}, acknowledged before", here()));
                }
                let due = |event: &&Seen| event.revision <= stream.acknowledged && !came.contains(event.id.as_str());
                if let Some(event) = expected(history, watch).find(due) {
                    found.fault(format!("{}: caught up, and event {} had not come", here(), event.id));
                }
            }
        }
    }
    let newest = all_streams(history).map(|(_, stream)| stream.acknowledged).max().unwrap_or(0);
    found.basis = format!("{} times caught up, the last after revision {newest} was acknowledged", found.tried);
    if newest == 0 {
        // There was nothing to catch up with.
        found.tried = 0;
    }
    found
}

/// What was acknowledged stands in the log, on every server. Whether it survives the loss of power cannot be seen from
/// outside.
pub(super) fn durable(history: &History) -> Findings {
    let mut found = Findings::default();
    for filing in &history.acknowledged {
        found.tried += 1;
        if !is_past(&filing.token, filing.revision) {
            let token = filing.token.encode();
            found.fault(format!("revision {} was acknowledged with the earlier token {token}", filing.revision));
        }
    }
    for (number, log) in history.logs.iter().enumerate() {
        let log: HashMap<&str, u64> = log.iter().map(|event| (event.id.as_str(), event.bare)).collect();
        for event in history.acknowledged.iter().flat_map(|filing| &filing.events) {
            let what = match log.get(event.id.as_str()) {
                Some(bare) if *bare == event.bare => continue,
                Some(_) => "stands in its log otherwise than it was acknowledged",
                None => "was acknowledged, and does not stand in its log",
            };
            found.fault(format!("{}: event {} {what}", server(history, number), event.id));
        }
    }
    let servers = history.logs.len();
    found.basis = format!(
        "{} acknowledged filings in the logs of {servers} servers; not tested: kill -9 and loss of power",
        found.tried
    );
    found
}

/// A read `at_least` the token of a filing sees it, on any server.
pub(super) fn own_writes(history: &History) -> Findings {
    let tries = &history.reads;
    let basis = format!("{} reads right after a filing, {} on another server", tries.made, tries.elsewhere);
    Findings { tried: tries.made, basis, faults: tries.faults.clone() }
}

/// The same filing with the same request id is answered as the first time, on any server.
pub(super) fn safe_retry(history: &History) -> Findings {
    let tries = &history.repeats;
    let basis = format!("{} filings sent once more, {} to another server", tries.made, tries.elsewhere);
    Findings { tried: tries.made, basis, faults: tries.faults.clone() }
}

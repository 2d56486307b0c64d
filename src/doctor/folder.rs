//! The store's folder: whether it can be used or made, has room, and has a store that this version may serve.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::Access;

use super::{Finding, place::Places};
use crate::{
    clock,
    config::{Config, DataDir},
    domain::date,
    limits::{COMMIT_RESERVE_BYTES, MAX_DAY_AHEAD, MAX_RECORDED_AHEAD, MAX_REQUEST_BYTES},
    store::{
        self, Head, Home, StoreError, aside, packed,
        peek::{self, Peek},
        snapshot,
    },
};

/// What was found there.
#[derive(Default)]
pub(super) struct Folder {
    pub(super) found: Vec<Finding>,
    /// A process has it.
    pub(super) held: bool,
    /// The last position of the log that it has; 0 is none.
    pub(super) position: u64,
    /// Where it stands in that, if it is of this version, and of the log that is to be served.
    pub(super) head: Option<Head>,
}

/// How much more than the store's own bytes its disk has to have free, in their number.
const COPIES_OF_A_REPLICA: u64 = 3;

/// Looks, at a time in microseconds since 1970; `knows_log` says whether it is known whose log is to be served.
pub(super) fn look(config: &Config, knows_log: bool, places: &Places, now_us: i64) -> Folder {
    let about = &places.data_dir();
    let mut looked = Folder::default();
    let folder = match &config.data_dir {
        DataDir::At(folder) => folder.as_path(),
        DataDir::Temporary => {
            looked.found.push(temporary(about));
            looked.found.extend(allowance(config, places));
            return looked;
        }
    };
    let there = peek::nearest(folder);
    if let Some(unusable) = unusable(&there, about) {
        looked.found.push(unusable);
    } else if there == folder {
        looked.found.push(Finding::ok(about, format!("{} is there, and may be written", folder.display())));
    } else {
        looked.found.push(Finding::ok(about, format!("{} can be made", folder.display())));
    }
    match peek::is_held(folder) {
        Ok(false) => {}
        Ok(true) => {
            looked.held = true;
            let what = StoreError::InUse(folder.to_owned());
            let remedy = "a server is running on it, probably: another does not start before that is stopped";
            looked.found.push(Finding::warning(about, what, remedy));
        }
        Err(why) => looked.found.push(Finding::fault(about, why, OWNER)),
    }
    let is_there = snapshot::is_there(folder);
    let peeked = if is_there { store_in(folder, config, knows_log, about, &mut looked) } else { None };
    looked.found.extend(if is_there { None } else { allowance(config, places) });
    looked.position = peeked.as_ref().map_or(0, |peek| peek.position);
    // (Whoever has the folder may be restoring.)
    let left = if looked.held { None } else { packed::unrestored(folder) };
    looked.found.extend(left.map(|left| unrestored(left, about)));
    looked.found.extend(peeked.as_ref().and_then(|peek| day_ahead(peek, now_us, about)));
    looked.found.extend(peeked.as_ref().and_then(|peek| recorded_ahead(peek, now_us, about)));
    looked.found.extend(open_to_all(folder, about));
    looked.found.extend(aside::there(folder).iter().map(|aside| put_aside(aside, about)));
    looked.found.extend(room(&there, folder, peeked.as_ref(), config, about));
    looked
}

const OWNER: &str = "give it to the user who runs the server (chown), and run this as that user";

fn temporary(about: &str) -> Finding {
    let folder = std::env::temp_dir();
    let what = format!("a folder of its own in {}, which goes with the server", folder.display());
    unusable(&folder, about).unwrap_or_else(|| Finding::ok(about, what))
}

/// Why nothing can be made in what is to be a folder.
fn unusable(folder: &Path, about: &str) -> Option<Finding> {
    if !folder.is_dir() {
        let what = format!("{} is no folder", folder.display());
        return Some(Finding::fault(about, what, "name a folder, or a place where one can be made"));
    }
    let refused = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(Finding::fault(about, format!("{} cannot be written: {refused}", folder.display()), OWNER))
}

/// The store that is there.
fn store_in(folder: &Path, config: &Config, knows_log: bool, about: &str, looked: &mut Folder) -> Option<Peek> {
    let found = &mut looked.found;
    let file = folder.join(store::FILE);
    if let Err(refused) = rustix::fs::access(file.as_path(), Access::READ_OK | Access::WRITE_OK) {
        found.push(Finding::fault(about, format!("{} cannot be used: {refused}", file.display()), OWNER));
        return None;
    }
    let peek = match peek::look(folder, looked.held) {
        Ok(Some(peek)) => peek,
        Ok(None) => {
            let what = "the store cannot be looked into without making a file: its write-ahead log lies there alone";
            let remedy = "nothing, if it was copied together with its log: whoever serves it reads both";
            found.push(Finding::warning(about, what, remedy));
            return None;
        }
        Err(why) => {
            let remedy = match why {
                StoreError::Newer { .. } => "see \"The store has a newer schema\" in deploy/RUNBOOK.md",
                _ => "see \"The store is damaged\" in deploy/RUNBOOK.md, and keep a copy of the folder as it is",
            };
            found.push(Finding::fault(about, why, remedy));
            return None;
        }
    };
    if peek.is_older() {
        let what = format!("the store has schema {}, and is brought up to this version when it is served", peek.schema);
        let remedy = "nothing: a copy is kept beside it, which an older version needs if you go back";
        found.push(Finding::warning(about, what, remedy));
    } else {
        let position = peek.position;
        let what = format!(
            "there is a store of this version, with the log up to position {position}; its contents were not read: \
             `attache verify --data-dir` does that"
        );
        found.push(Finding::ok(about, what));
    }
    let home = Home::served(config.journal.as_ref().map(|settings| settings.stream.as_str()));
    match peek.may_be(&home) {
        Err(why) if knows_log => {
            found.push(Finding::fault(about, why, "name the folder and the journal that belong together"));
        }
        fits => looked.head = fits.ok().and(peek.head),
    }
    Some(peek)
}

/// A restore that ended before there was a store.
fn unrestored(left: PathBuf, about: &str) -> Finding {
    let remedy = "restore again, see \"Back up and restore\" in deploy/RUNBOOK.md; delete it if a new log is meant";
    Finding::fault(about, StoreError::Unrestored(left), remedy)
}

/// A registry whose day this machine's clock has yet to come to.
fn day_ahead(peek: &Peek, now_us: i64, about: &str) -> Option<Finding> {
    let day = peek.head?.today();
    let days = day.saturating_sub(clock::day(now_us));
    let remedy = "correct the clock, or see \"The registry's day is ahead\" in deploy/RUNBOOK.md";
    let what = format!("the registry's day, {}, is {days} days ahead of this machine's clock", date::show(day));
    (days > MAX_DAY_AHEAD).then(|| Finding::warning(about, what, remedy))
}

/// A log whose newest entry was recorded under a clock that was ahead of this machine's.
fn recorded_ahead(peek: &Peek, now_us: i64, about: &str) -> Option<Finding> {
    let head = peek.head?;
    let ahead = head.ahead_of(now_us);
    let remedy = "correct the clock, or see \"The clock jumped\" in deploy/RUNBOOK.md";
    let what = format!(
        "the newest entry is recorded at {}, {} s ahead of this machine's clock: whatever is filed is recorded then, \
         until the clock has come up to it",
        head.recorded_at(),
        ahead.as_secs()
    );
    (ahead > MAX_RECORDED_AHEAD).then(|| Finding::warning(about, what, remedy))
}

/// A store that gave way to a snapshot.
fn put_aside(aside: &Path, about: &str) -> Finding {
    let (file, _) = snapshot::sizes(aside);
    let what = format!(
        "{} is a store of {file} bytes that the journal went on without: it is kept, with what was erased since",
        aside.display()
    );
    Finding::warning(about, what, "`attache verify --data-dir` looks into it; delete it when nobody needs it any more")
}

/// A store that everybody on the machine may read: its file, and every folder on the way to it.
fn open_to_all(folder: &Path, about: &str) -> Option<Finding> {
    let file = folder.join(store::FILE).canonicalize().ok()?;
    let may = |path: &Path, bit| path.metadata().is_ok_and(|found| found.permissions().mode() & bit != 0);
    if !may(&file, 0o004) || !file.ancestors().skip(1).all(|folder| may(folder, 0o001)) {
        return None;
    }
    let what = format!("{} may be read by every user of this machine", file.display());
    Some(Finding::warning(about, what, &format!("`chmod 0700 {}`", folder.display())))
}

/// An allowance in which a store that is to be made finds no room, or none for a large filing.
fn allowance(config: &Config, places: &Places) -> Option<Finding> {
    let about = &places.key("limits.store_bytes");
    let allowed = config.max_store_bytes?;
    let empty = match store::empty_bytes() {
        Ok(empty) => empty,
        Err(why) => return Some(Finding::warning(about, why, "start a server, and see whether it finds room")),
    };
    let remedy = "allow more, or take it out: then the disk alone sets a limit";
    if allowed < empty {
        return Some(Finding::fault(about, StoreError::AllowedTooLittle { allowed, empty }, remedy));
    }
    let what = format!(
        "the store may have {allowed} bytes, and takes {empty} before anything is filed: there is no room for a filing of \
         {MAX_REQUEST_BYTES} bytes"
    );
    (allowed < empty.saturating_add(MAX_REQUEST_BYTES as u64)).then(|| Finding::warning(about, what, remedy))
}

/// Whether there is room for what a server writes beside filings.
fn room(there: &Path, folder: &Path, peek: Option<&Peek>, config: &Config, about: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let (file, log) = snapshot::sizes(folder);
    let size = file.saturating_add(log);
    let free = match peek::room(there) {
        Ok(free) => free,
        Err(why) => {
            found.push(Finding::warning(about, why, "look how much room there is (`df`)"));
            return found;
        }
    };
    let says = format!("{free} bytes are free, and the store has {size}");
    let is_older = peek.is_some_and(Peek::is_older);
    let remedy = "make room, or name a folder on a larger disk";
    found.push(if is_older && free < size {
        Finding::fault(about, format!("{says}: there is no room for the copy that is kept of an older one"), remedy)
    } else if config.journal.is_some() && free < COMMIT_RESERVE_BYTES {
        let what = format!("{says}: a replica refuses filings with less than {COMMIT_RESERVE_BYTES}");
        Finding::fault(about, what, remedy)
    } else if config.journal.is_some() && free < size.saturating_mul(COPIES_OF_A_REPLICA) {
        let what = format!("{says}: a replica copies its whole store for a snapshot, and needs three times as much");
        Finding::warning(about, what, remedy)
    } else if free < COMMIT_RESERVE_BYTES {
        Finding::warning(about, says, remedy)
    } else {
        Finding::ok(about, says)
    });
    let used = peek.map_or(file, |peek| peek.used_bytes);
    // What the file has is not taken from it.
    let allowed = config.max_store_bytes.map(|allowed| allowed.max(file));
    if let Some(allowed) = allowed.filter(|allowed| is_nearly_reached(*allowed, used)) {
        let what = format!(
            "the store uses {used} bytes, limits.store_bytes allows {allowed}: filings are refused when it is full"
        );
        found.push(Finding::warning(about, what, "allow more, or trim"));
    }
    found
}

/// Whether nine tenths of what is allowed are in use, from which on the alarm sounds too.
fn is_nearly_reached(allowed: u64, used: u64) -> bool {
    used >= allowed - allowed / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_nearly_reached_from_nine_tenths_on() {
        assert!(!is_nearly_reached(1000, 899));
        assert!(is_nearly_reached(1000, 900) && is_nearly_reached(1000, 1000) && is_nearly_reached(1000, 2000));
        assert!(!is_nearly_reached(u64::MAX, 1 << 40));
    }
}

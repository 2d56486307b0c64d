//! Cursors: what a commit may do to one, and those that replicas share on the journal's shelf.

use prost::Message as _;

use super::job::KeepCursor;
use crate::{
    clock::Clock,
    domain::{
        error::{Error, Reason, Result},
        report::etag,
        token::Token,
    },
    journal::Shelf,
    limits::{MAX_CONFLICTS, MAX_CURSORS},
    pb::log::KeptCursor,
    store::read::CursorRow,
};

/// What a cursor is after a commit; `None` if it stands there already.
///
/// # Errors
///
/// `ETAG_MISMATCH` if it is not in the expected state or would go back.
pub(super) fn next(kept: Option<&CursorRow>, cursor: &KeepCursor, now_us: i64) -> Result<Option<CursorRow>> {
    let KeepCursor { name, row, expected_etag, .. } = cursor;
    let mismatch = |why: String| {
        let etag = kept.map(|k| k.etag.clone()).unwrap_or_default();
        Error::new(Reason::EtagMismatch, why).with_resource(name.as_str()).with("etag", etag)
    };
    if kept.is_some_and(|k| k.position == row.position) {
        return Ok(None);
    }
    let etag_now = kept.map_or("", |k| k.etag.as_str());
    if expected_etag.as_ref().is_some_and(|expected| expected != etag_now) {
        return Err(mismatch(format!("the cursor {name} has changed; read it again")));
    }
    let place = |r: &CursorRow| (r.revision, r.event_index, r.snapshot_after.clone());
    // One of a log that was replaced says nothing of this one.
    let epoch = |r: &CursorRow| Token::decode(&r.position, "position").ok().map(|token| token.epoch);
    if kept.is_some_and(|kept| epoch(kept) == epoch(row) && place(row) < place(kept)) {
        return Err(mismatch(format!("the cursor {name} stands at a later position")));
    }
    let etag = etag(format!("{}{now_us}", row.position).as_bytes());
    Ok(Some(CursorRow { etag, updated_at_us: now_us, ..row.clone() }))
}

/// That a principal has as many cursors as it may.
pub(super) fn too_many(principal: &str) -> Error {
    let why = format!("{principal} has {MAX_CURSORS} cursors already; go on with one of them");
    Error::new(Reason::QuotaExceeded, why).with("limit", MAX_CURSORS).with("principal", principal)
}

/// A cursor that replicas share. Blocks: call it off the async threads.
///
/// # Errors
///
/// If the journal cannot be reached.
pub fn on_shelf(shelf: &dyn Shelf, principal: &str, name: &str) -> Result<Option<CursorRow>> {
    Ok(find(shelf, &key(principal, name))?.map(|(row, _)| row))
}

/// Commits a cursor that replicas share. Blocks: call it off the async threads.
///
/// # Errors
///
/// As of [`next`]; `CONTENTION` if others kept committing it, and if the journal cannot be reached: then it may stand, and
/// committing the same position again says so.
pub fn keep_on_shelf(shelf: &dyn Shelf, clock: &dyn Clock, cursor: &KeepCursor) -> Result<CursorRow> {
    let key = key(&cursor.principal, &cursor.name);
    for _ in 0..MAX_CONFLICTS {
        let found = find(shelf, &key)?;
        let (kept, version) = found.map_or((None, 0), |(row, version)| (Some(row), version));
        let Some(row) = next(kept.as_ref(), cursor, clock.now_us())? else {
            return kept.ok_or_else(|| Error::internal("a cursor stands that is not there"));
        };
        if shelf.put(&key, &encoded(&row), version)? {
            return Ok(row);
        }
    }
    Err(Error::new(Reason::Contention, "others kept committing this cursor; nothing happened"))
}

/// Puts the cursors of a store on an empty shelf, as they are.
///
/// # Errors
///
/// If the journal cannot be reached.
pub fn onto_shelf(shelf: &dyn Shelf, rows: &[(String, String, CursorRow)]) -> Result<()> {
    for (principal, name, row) in rows {
        // One that is there already was put before an interruption, or moved on since.
        shelf.put(&key(principal, name), &encoded(row), 0)?;
    }
    Ok(())
}

/// The cursors on a shelf, with their principals and names.
///
/// # Errors
///
/// If the journal cannot be reached, or one cannot be read.
pub fn off_shelf(shelf: &dyn Shelf) -> Result<Vec<(String, String, CursorRow)>> {
    let mut rows = Vec::new();
    for key in shelf.keys()? {
        // Other things beside the log have other keys.
        let Some((principal, name)) = names(&key) else { continue };
        rows.extend(find(shelf, &key)?.map(|(row, _)| (principal, name, row)));
    }
    Ok(rows)
}

fn find(shelf: &dyn Shelf, key: &str) -> Result<Option<(CursorRow, u64)>> {
    let Some(kept) = shelf.get(key)? else { return Ok(None) };
    let corrupt = |_| Error::new(Reason::EntryCorrupt, "a kept cursor cannot be read");
    let KeptCursor { position, revision, event_index, snapshot_after, etag, updated_at_us } =
        KeptCursor::decode(kept.value.as_slice()).map_err(corrupt)?;
    let row = CursorRow { position, revision, event_index, snapshot_after, etag, updated_at_us };
    Ok(Some((row, kept.version)))
}

fn encoded(row: &CursorRow) -> Vec<u8> {
    let CursorRow { position, revision, event_index, snapshot_after, etag, updated_at_us } = row.clone();
    KeptCursor { position, revision, event_index, snapshot_after, etag, updated_at_us }.encode_to_vec()
}

/// Letters, digits and one dot, whatever the names have.
fn key(principal: &str, name: &str) -> String {
    let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    format!("{}.{}", hex(principal), hex(name))
}

/// The principal and name of a key, if it is a cursor's.
fn names(key: &str) -> Option<(String, String)> {
    let text = |hex: &str| {
        let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
        String::from_utf8(bytes?).ok()
    };
    let (principal, name) = key.split_once('.')?;
    Some((text(principal)?, text(name)?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_key_says_whose_cursor_it_is() {
        let key = super::key("local", "reader.1-ü");
        assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'), "{key}");
        assert_eq!(super::names(&key), Some(("local".to_owned(), "reader.1-ü".to_owned())));
        assert_eq!(super::names("snapshots"), None);
    }
}

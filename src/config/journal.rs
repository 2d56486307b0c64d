//! The stream that replicas share: what flags and file say of it.

use std::path::{Path, PathBuf};

use super::{ConfigError, File};
use crate::{
    cli::serve_args::{self, JournalArgs},
    journal::jetstream::{self, Settings},
    limits::JOURNAL_COPIES,
};

/// The stream if nobody says.
const DEFAULT_STREAM: &str = "ATTACHE";
/// Characters of a stream's name at most.
const MAX_STREAM_CHARS: usize = 64;

/// The stream that the flags say, over the file, beside which files lie that it names; `None` is a log of one's own.
pub(super) fn journal(args: &JournalArgs, file: &File, beside: &Path) -> Result<Option<Settings>, ConfigError> {
    let parsed = || file.journal.as_deref().map(str::parse).transpose();
    let wrong = |why: String| ConfigError(format!("journal: {why}"));
    let journal = args.journal.clone().map_or_else(parsed, |journal| Ok(Some(journal))).map_err(wrong)?;
    let Some(serve_args::Journal::Nats(servers)) = journal else { return Ok(None) };
    let stream = args.journal_stream.clone().or_else(|| file.journal_stream.clone());
    let stream = stream.unwrap_or_else(|| DEFAULT_STREAM.to_owned());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if stream.is_empty() || stream.len() > MAX_STREAM_CHARS || !stream.bytes().all(plain) {
        let why = format!("letters, digits, - and _, at most {MAX_STREAM_CHARS}");
        return Err(ConfigError(format!("{stream:?} is no name of a stream: {why}")));
    }
    let replicas = args.journal_replicas.or(file.journal_replicas).unwrap_or(JOURNAL_COPIES);
    let accept_lax = args.accept_lax_journal || file.accept_lax_journal.unwrap_or(false);
    if !(1..=5).contains(&replicas) || replicas < JOURNAL_COPIES && !accept_lax {
        let why = "copies are 3 to 5, or fewer with --accept-lax-journal";
        return Err(ConfigError(format!("{replicas} copies of the journal: {why}")));
    }
    let told = file.journal_monitors.as_ref().filter(|_| args.journal_monitor.is_empty());
    let monitors = told.unwrap_or(&args.journal_monitor).clone();
    let access = access(args, file, beside).map_err(wrong)?;
    access.check(&servers).map_err(wrong)?;
    Ok(Some(Settings { servers, access, stream, replicas, monitors, accept_lax, accept_sealed: false, may_make: true }))
}

fn access(args: &JournalArgs, file: &File, beside: &Path) -> Result<jetstream::Access, String> {
    let place = |flag: &Option<PathBuf>, said: &Option<PathBuf>| {
        flag.clone().or_else(|| said.as_ref().map(|path| beside.join(path)))
    };
    let certificate = place(&args.journal_certificate, &file.journal_certificate);
    let key = place(&args.journal_key, &file.journal_key);
    if certificate.is_some() != key.is_some() {
        return Err("certificate and key come together (--journal-certificate, --journal-key)".to_owned());
    }
    Ok(jetstream::Access {
        credentials: place(&args.journal_credentials, &file.journal_credentials),
        ca: place(&args.journal_ca, &file.journal_ca),
        certificate: certificate.zip(key),
    })
}

/// The stream that the flags of a command say, which is none without.
///
/// # Errors
///
/// If they say none, or one that cannot be.
pub fn stream(args: &JournalArgs) -> Result<Settings, ConfigError> {
    let none = || ConfigError("--journal must name the servers of a stream, such as nats://host:4222".to_owned());
    journal(args, &File::default(), Path::new(""))?.ok_or_else(none)
}

//! `attache backup`: a copy of a server's whole store, in a file.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;
use tonic::Streaming;

use super::{
    client::ClientArgs,
    error::CliError,
    output::{self, Out},
    restore_args::check_is_named,
};
use crate::pb::v1::{BackupBegin, BackupRequest, BackupResponse, backup_response::Part};

/// Arguments of `attache backup`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "The file is the store's, compressed by zstd. `attache restore-backup` begins a store with it.")]
pub struct BackupArgs {
    /// The file to write, which is there as a whole or not at all, such as attache-2026-11-28.db.zst
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Makes a copy, and prints as of which position.
///
/// # Errors
///
/// What the server says; if the file cannot be written, or is there, or is `-`; if what arrived is not what was sent.
pub async fn run(args: &BackupArgs) -> Result<(), CliError> {
    check_is_named(&args.file).map_err(CliError::Usage)?;
    if args.file.exists() && !args.force {
        return Err(CliError::Usage(format!("{}: it is there already; --force replaces it", args.file.display())));
    }
    let mut client = args.client.connect().await?.log();
    let parts = client.backup(BackupRequest {}).await?.into_inner();
    let part = beside(&args.file);
    let written = write(parts, &part).await.and_then(|begin| {
        fs::rename(&part, &args.file).and_then(|()| sync_folder(&args.file)).map_err(|e| unwritten(&args.file, &e))?;
        Ok(begin)
    });
    if let Err(error) = &written {
        // (What went wrong before matters more.)
        let _ = fs::remove_file(&part);
        if matches!(error, CliError::Refused(_)) {
            output::note(format!("{}: nothing was written", args.file.display()));
        }
    }
    let (token, BackupBegin { revision, size_bytes }) = written?;
    let mut out = Out::new(args.client.output.output);
    if out.is_table() {
        let file = args.file.display();
        out.line(format!("{file}: revision {revision}, {size_bytes} bytes, position {token}"))?;
    } else {
        out.object(&json!({"file": args.file, "revision": revision, "sizeBytes": size_bytes, "token": token}))?;
    }
    out.flush()
}

/// A file that is not finished lies beside its place.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

async fn write(mut parts: Streaming<BackupResponse>, to: &Path) -> Result<(String, BackupBegin), CliError> {
    let bar = output::spinner("{spinner} the server makes a copy and verifies it");
    let Some(BackupResponse { part: Some(Part::Begin(begin)), token }) = parts.message().await? else {
        return Err(CliError::Broken("a backup that does not begin"));
    };
    bar.finish_and_clear();
    let bar = output::spinner("{spinner} {decimal_bytes} arrived, {decimal_bytes_per_sec}");
    let mut file = File::create(to).map_err(|e| unwritten(to, &e))?;
    let mut digest = blake3::Hasher::new();
    let mut bytes = 0;
    loop {
        match parts.message().await?.and_then(|message| message.part) {
            Some(Part::Piece(piece)) => {
                digest.update(&piece);
                bytes += piece.len() as u64;
                file.write_all(&piece).map_err(|e| unwritten(to, &e))?;
                bar.set_position(bytes);
            }
            Some(Part::End(end)) if end.blake3 == digest.finalize().as_bytes() => break,
            Some(Part::End(_)) => return Err(CliError::Broken("a backup that arrived with another digest")),
            Some(Part::Begin(_)) => return Err(CliError::Broken("a backup that begins twice")),
            None => return Err(CliError::Broken("a backup that does not end")),
        }
    }
    file.sync_all().map_err(|e| unwritten(to, &e))?;
    bar.finish_and_clear();
    Ok((token, begin))
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn unwritten(file: &Path, error: &io::Error) -> CliError {
    CliError::Usage(format!("{}: {error}", file.display()))
}

//! Commands that work on a store's folder, and ask no server: moves, restoring, verifying, and looking at what would be
//! served. They print, and answer with the exit code of the process.

use std::process::ExitCode;

use serde_json::json;

use crate::{
    cli::{
        CliError,
        moves_args::MoveArgs,
        output::{self, Format, Out},
        position::Position,
        restore_args::{RestoreArgs, VerifyArgs, check_is_named},
        serve_args::DoctorArgs,
    },
    clock::{Clock as _, SystemClock},
    config::{self, LogFormat},
    doctor::{self, Finding, Level},
    domain::{
        error::{Error, Reason, Result},
        token::Token,
    },
    moves::{self, Move},
    restore::{self, Restored, To},
    store::{snapshot, verify},
    tasks::blocking,
    telemetry,
};

/// Bad usage or configuration, after BSD's sysexits.
pub const EXIT_USAGE: u8 = 64;
/// As of the client commands: refused, and try again.
const EXIT_REFUSED: u8 = 1;
const EXIT_UNAVAILABLE: u8 = 3;
const EXIT_FAULT: u8 = 4;

/// Moves a log while no server has it open.
pub async fn move_log(what: Move, args: &MoveArgs) -> ExitCode {
    let place =
        config::stream(&args.journal).and_then(|stream| Ok((stream, config::folder(args.data_dir.as_deref())?)));
    let place = place.map_err(|e| e.to_string());
    let (stream, folder) = match place.and_then(|place| telemetry::init("warn", LogFormat::Text).map(|()| place)) {
        Ok(place) => place,
        Err(error) => {
            output::note(&error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let bar = output::spinner("{spinner} {pos} revisions are on the stream");
    let shown = bar.clone();
    let moved = moves::run(what, stream, &folder, Box::new(move |revision| shown.set_position(revision))).await;
    bar.finish_and_clear();
    match moved {
        Ok(moved) => match output::text(format!("{moved}\n").as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            output::note(&error.message);
            ExitCode::from(if error.reason == Reason::JournalUnavailable { EXIT_UNAVAILABLE } else { EXIT_REFUSED })
        }
    }
}

/// Begins a store with a backup.
pub async fn restore_backup(args: &RestoreArgs) -> ExitCode {
    let to = match &args.to {
        None => Ok(To::End),
        Some(Position::Time(time)) => Ok(To::Time(time.as_microsecond())),
        Some(Position::Token(token)) => Token::decode(token, restore::FIELD).map(To::Token).map_err(|e| e.message),
    };
    let place = config::folder(args.data_dir.as_deref()).map_err(|e| e.to_string());
    let (to, folder) = match check_is_named(&args.file).and(to).and_then(|to| Ok((to, place?))) {
        Ok(both) => both,
        Err(error) => {
            output::note(&error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let asked_us = if let To::Time(us) = &to { Some(*us) } else { None };
    let bar = output::spinner("{spinner} {pos} revisions are made again");
    let (shown, file, at) = (bar.clone(), args.file.clone(), folder.clone());
    let restored =
        blocking(move || restore::restore(&file, &at, &to, move |revision| shown.set_position(revision))).await;
    bar.finish_and_clear();
    let said = restored.map(|Restored { backup, head }| {
        // What was recorded between its last entry and then, nobody can tell by it.
        let late = asked_us.filter(|asked| *asked > backup.recorded_at_us).map(|_| {
            let (ends, revision) = (backup.recorded_at(), backup.revision);
            format!("the backup ends at {ends} (revision {revision}), before the time asked for\n")
        });
        // Times that have yet to come say nothing of what came before the time asked for.
        let is_ahead = head.revision < backup.revision && !backup.ahead_of(SystemClock.now_us()).is_zero();
        let ahead = asked_us.filter(|_| is_ahead).map(|_| {
            format!(
                "the backup ends at {}, ahead of this machine's clock: what was filed since a clock was ahead is \
                 recorded then, and was left out; --to TOKEN restores as much of it as is meant\n",
                backup.recorded_at()
            )
        });
        format!(
            "restored revision {} of {} into {}\nepoch {}, position {}; tokens of epoch {} are refused\n{}",
            head.revision,
            backup.revision,
            folder.display(),
            head.epoch,
            head.token().encode(),
            backup.epoch,
            late.or(ahead).unwrap_or_default(),
        )
    });
    told(said)
}

/// Verifies a store, whether a server has it open or not.
pub async fn verify(args: &VerifyArgs) -> ExitCode {
    let folder = match config::folder(args.data_dir.as_deref()) {
        Ok(folder) => folder,
        Err(error) => {
            output::note(error.to_string());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let bar = output::spinner("{spinner} {pos} revisions are made again to be compared");
    let (shown, quick) = (bar.clone(), args.quick);
    let verified = blocking(move || {
        if !snapshot::is_there(&folder) {
            return Err(Error::new(Reason::RecordNotFound, format!("there is no store in {}", folder.display())));
        }
        if quick {
            verify::layout(&folder)?;
            return Ok(verify::folder(&folder)?);
        }
        Ok(verify::all(&folder, move |revision| shown.set_position(revision))?)
    });
    let verified = verified.await;
    bar.finish_and_clear();
    if let Err(error) = &verified
        && error.reason == Reason::EntryCorrupt
    {
        output::note(&error.message);
        return ExitCode::from(EXIT_FAULT);
    }
    told(verified.map(|verify::Verified { entries, redacted, head }| {
        let kept = if head.floor > 0 { format!(", kept from revision {}", head.floor + 1) } else { String::new() };
        let rows = match (quick, head.floor) {
            (true, _) => "rows and indexes were not compared with the log".to_owned(),
            (false, 0) => "rows and indexes are as the log makes them".to_owned(),
            (false, floor) => format!("rows and indexes are as the log makes them from those at revision {floor}"),
        };
        format!(
            "sound: {entries} entries{kept}, {redacted} redacted; {rows}\nepoch {}, revision {}, position {}\n",
            head.epoch,
            head.revision,
            head.token().encode(),
        )
    }))
}

/// Looks at everything that a server would need, and changes nothing.
pub async fn doctor(args: &DoctorArgs) -> ExitCode {
    let format = args.output.output;
    if !matches!(format, Format::Table | Format::Json | Format::Ndjson) {
        output::note(format!("doctor prints table, json or ndjson, and no {}", format.word()));
        return ExitCode::from(EXIT_USAGE);
    }
    let found = doctor::examine(&args.serve, SystemClock.now_us()).await;
    let sick = found.iter().any(|finding| finding.level == Level::Fault);
    match findings(format, &found) {
        // Whoever has seen enough is told by the exit code all the same.
        Ok(()) | Err(CliError::Closed) => ExitCode::from(if sick { EXIT_REFUSED } else { 0 }),
        Err(error) => {
            output::error(&error);
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

fn findings(format: Format, found: &[Finding]) -> std::result::Result<(), CliError> {
    let mut out = Out::new(format);
    if out.is_table() {
        for finding in found {
            out.line(finding)?;
        }
        out.line(doctor::sum(found))?;
    } else {
        for Finding { level, about, what, remedy } in found {
            out.item(&json!({ "level": level.to_string(), "about": about, "what": what, "remedy": remedy }))?;
        }
        out.end_items()?;
    }
    out.flush()
}

/// Prints what came of it.
fn told(outcome: Result<String>) -> ExitCode {
    match outcome {
        Ok(text) => match output::text(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            output::note(&error.message);
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

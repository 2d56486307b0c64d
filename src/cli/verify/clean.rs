//! What a run filed is withdrawn, also after a fault.

use super::plan::{Run, SOURCES};
use crate::{
    cli::{
        error::{CliError, reason},
        output,
        retract::fresh_id,
        retry,
    },
    pb::v1::{RetractReportsRequest, RetractionReason, retract_reports_request::Selection},
};

/// Withdraws everything, and says what to do where it cannot. Ctrl-C ends this too.
///
/// # Errors
///
/// The first that came.
pub async fn clean(run: &Run) -> Result<(), CliError> {
    let mut ended = Ok(());
    for number in 0..SOURCES {
        let source = run.source_name(number);
        let cleaned = tokio::select! {
            cleaned = withdraw(run, &source) => cleaned,
            _ = tokio::signal::ctrl_c() => Err(CliError::Interrupted),
        };
        if cleaned.is_err() {
            let goes_on = format!("`attache retract source {source} --reason filer-error` goes on");
            output::note(format_args!("not every probe was withdrawn: {goes_on}"));
        }
        ended = ended.and(cleaned);
    }
    ended
}

async fn withdraw(run: &Run, source: &str) -> Result<(), CliError> {
    loop {
        let request = RetractReportsRequest {
            selection: Some(Selection::Source(source.to_owned())),
            reason: RetractionReason::FilerError.into(),
            request_id: fresh_id(),
            ..RetractReportsRequest::default()
        };
        // Any server will do: the one that failed may be why there is something to clean up.
        let mut server = 0;
        let answer = retry::with_retries(|| {
            let (mut filing, request) = (run.connection(server).filing(), request.clone());
            server += 1;
            async move { filing.retract_reports(request).await }
        });
        match answer.await {
            Ok(answer) if answer.remaining == 0 => return Ok(()),
            Ok(answer) if answer.results.is_empty() => {
                return Err(CliError::Broken("reports remain, and none was withdrawn"));
            }
            Ok(_) => {}
            // Nothing was filed by it.
            Err(CliError::Refused(status)) if reason(&status) == "RECORD_NOT_FOUND" => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

//! `attache verify --server`: whether a server, or several of one log, keep their promises, as seen from outside.
//!
//! Filers file probe records, which nobody sees who does not ask for them; watchers watch them, leave, and go on
//! elsewhere (`filer`, `watcher`; `plan` says what they do). What came is recorded (`history`) and judged when all is
//! over (`judge`). At the end everything that was filed is withdrawn.

mod ask;
mod clean;
mod ending;
mod filer;
mod history;
mod judge;
mod places;
mod plan;
mod watcher;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use indicatif::ProgressBar;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{
    filer::{Filed, Filer},
    history::{History, Seen, Selection, Watched},
    judge::{Outcome, Verdict},
    plan::{FILERS, Gathered, Pace, Plan, Run},
    watcher::{Goal, Watcher},
};
use super::{
    client::{self, ClientArgs, Connection, ServerArgs},
    error::{CliError, EXIT_UNAVAILABLE},
    output::{self, Out},
    restore_args::VerifyArgs,
    retract::fresh_id,
    retry,
};
use crate::{
    pb::v1::{FileReportsRequest, GetLogInfoRequest, GetOrganizationRequest},
    tasks::Tasks,
};

/// How often the line on the terminal is renewed.
const SHOW_INTERVAL: Duration = Duration::from_millis(200);

/// Runs, cleans up, and prints the verdicts.
///
/// # Errors
///
/// [`CliError::GuaranteesBroken`] if any is; [`CliError::Usage`] for servers of different logs; else what kept the run
/// from its end.
pub async fn run(args: &VerifyArgs) -> Result<(), CliError> {
    let run = Arc::new(connect(args).await?);
    one_log(&run).await?;
    let base = match begin(&run).await {
        Ok(base) => base,
        // It may have been filed all the same; whoever was refused has filed nothing.
        Err(error) => {
            if error.exit_code() == EXIT_UNAVAILABLE {
                drop(clean::clean(&run).await);
            }
            return Err(error);
        }
    };
    let crew = Crew::default();
    let observed = tokio::select! {
        observed = observe(&run, args, &base, &crew) => observed,
        _ = tokio::signal::ctrl_c() => Err(CliError::Interrupted),
    };
    crew.dismiss().await;
    let cleaned = clean::clean(&run).await;
    let (history, error) = observed?;
    let verdicts = judge::judge(&history);
    print(args, &verdicts)?;
    let broken = verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Broken).count();
    match error {
        _ if broken > 0 => Err(CliError::GuaranteesBroken { broken }),
        Some(error) => Err(error),
        None => cleaned,
    }
}

/// Those who file and those who watch.
#[derive(Default)]
struct Crew {
    filers: Tasks,
    watchers: Tasks,
    stop: CancellationToken,
}

impl Crew {
    /// Ends them, and waits until they have.
    async fn dismiss(&self) {
        self.stop.cancel();
        self.filers.drained().await;
        self.watchers.drained().await;
    }
}

/// Connects to every server that was named.
async fn connect(args: &VerifyArgs) -> Result<Run, CliError> {
    if args.data_dir.is_some() {
        return Err(CliError::Usage("--data-dir verifies a folder and --server a server: choose one of them".into()));
    }
    let servers: Vec<String> = args.server.iter().chain(&args.also).cloned().collect();
    if args.server.is_none() {
        return Err(CliError::Usage("--server says which server is verified".into()));
    }
    let mut addresses = BTreeSet::new();
    for server in &servers {
        let address = client::url(server)?;
        // Going on at another server would be tried at the one that was left, and said to hold.
        if !addresses.insert(address.trim_end_matches('/').to_owned()) {
            return Err(CliError::Usage(format!("--also {server}: that server is named already")));
        }
    }
    let mut connections = Vec::with_capacity(servers.len());
    for server in &servers {
        let server = ServerArgs { server: server.clone(), credential: args.credential.clone() };
        connections.push(ClientArgs { server, output: args.output.clone() }.connect().await?);
    }
    Ok(Run::new(servers, connections))
}

/// Refuses servers of different logs, before anything is written to one of them.
async fn one_log(run: &Run) -> Result<(), CliError> {
    let mut first: Option<(String, &str)> = None;
    for (server, connection) in run.servers.iter().zip(&run.connections) {
        let info = connection.log().get_log_info(GetLogInfoRequest {}).await?.into_inner();
        match &first {
            // A replica that has applied nothing yet does not know which log it follows.
            _ if info.revision == 0 => {}
            None => first = Some((info.epoch, server.as_str())),
            Some((epoch, _)) if *epoch == info.epoch => {}
            Some((epoch, other)) => {
                let words =
                    format!("{other} has the log {epoch} and {server} the log {}: they are not replicas", info.epoch);
                return Err(CliError::Usage(words));
            }
        }
    }
    Ok(())
}

/// What was recorded, and why the run did not come to its end if it did not.
type Observed = (History, Option<CliError>);

async fn observe(run: &Arc<Run>, args: &VerifyArgs, base: &str, crew: &Crew) -> Result<Observed, CliError> {
    let bar = output::spinner("{spinner} {msg}");
    follow(run, base).await?;
    let selections = run.selections();
    let (tell, goal) = watch::channel(None);
    let (watched, filed) = (Gathered::default(), Gathered::default());
    for number in 0..usize::from(args.watchers) {
        let plan = Plan::of(number, &selections, base);
        let selection = selections[plan.selection].clone();
        let watcher = Watcher::new(Arc::clone(run), plan, selection, goal.clone());
        let (stop, watched) = (crew.stop.clone(), watched.clone());
        drop(crew.watchers.spawn("watcher", async move {
            tokio::select! {
                done = watcher.watch() => watched.add((number, done)),
                () = stop.cancelled() => {}
            }
        }));
    }
    let pace = Arc::new(Pace::new(Duration::from_secs(args.seconds.into()), crew.stop.clone()));
    for number in 0..FILERS {
        let (filer, pace, filed) = (Filer::new(Arc::clone(run), number), Arc::clone(&pace), filed.clone());
        drop(crew.filers.spawn("filer", async move { filed.add(filer.file(pace).await) }));
    }
    let filing = || format!("filing; revision {} is acknowledged", run.acknowledged());
    shown(&bar, crew.filers.drained(), filing).await;
    let filed: Vec<Filed> = filed.take();
    let end = end(run, &filed).await?;
    tell.send_replace(Some(end.clone()));
    shown(&bar, crew.watchers.drained(), || {
        format!("{} watchers are still to come to the end", crew.watchers.running())
    })
    .await;
    let history = gather(run, selections, base, &end, watched.take(), filed).await;
    bar.finish_and_clear();
    history
}

/// Does something, and shows how it goes.
async fn shown(bar: &ProgressBar, work: impl Future<Output = ()>, message: impl Fn() -> String) {
    let mut work = std::pin::pin!(work);
    loop {
        bar.set_message(message());
        bar.tick();
        tokio::select! {
            () = &mut work => return,
            () = tokio::time::sleep(SHOW_INTERVAL) => {}
        }
    }
}

/// Files one record, so that there is a log to watch even if it was empty; a token before which nothing was filed that is
/// watched.
async fn begin(run: &Run) -> Result<String, CliError> {
    let request = FileReportsRequest {
        reports: vec![run.report(&run.anchor(), "Probe of verify", true)],
        source: Some(run.source(0)),
        request_id: fresh_id(),
        ..FileReportsRequest::default()
    };
    let answer = retry::with_retries(|| {
        let (mut filing, request) = (run.connection(0).filing(), request.clone());
        async move { filing.file_reports(request).await }
    });
    Ok(answer.await?.token)
}

/// Waits until every server has that record: one of another log says so.
async fn follow(run: &Run, base: &str) -> Result<(), CliError> {
    for connection in &run.connections {
        let request = GetOrganizationRequest {
            name: run.anchor(),
            at_least: Some(base.to_owned()),
            ..GetOrganizationRequest::default()
        };
        connection.registry().get_organization(request).await?;
    }
    Ok(())
}

/// The newest position that anybody knows of.
async fn end(run: &Run, filed: &[Filed]) -> Result<Goal, CliError> {
    let told = filed.iter().flat_map(|filed| &filed.acknowledged).map(|filing| &filing.token);
    let mut newest = told.max_by_key(|token| token.revision).map(|token| (token.revision, token.encode()));
    for connection in &run.connections {
        let info = connection.log().get_log_info(GetLogInfoRequest {}).await?.into_inner();
        if newest.as_ref().is_none_or(|(revision, _)| *revision < info.revision) {
            newest = Some((info.revision, info.token));
        }
    }
    let (revision, token) = newest.ok_or(CliError::Broken("there is no position"))?;
    Ok(Goal { token, revision })
}

/// What a watcher hands back, with its number.
type Handed = (usize, (Watched, Option<CliError>));

/// Everything that was recorded, with what the logs say.
async fn gather(
    run: &Run,
    selections: Vec<Selection>,
    base: &str,
    end: &Goal,
    mut watched: Vec<Handed>,
    filed: Vec<Filed>,
) -> Result<Observed, CliError> {
    let mut history = History { servers: run.servers.clone(), end: end.revision, ..History::default() };
    let mut error = None;
    watched.sort_by_key(|(number, _)| *number);
    for (_, (watched, failed)) in watched {
        history.watches.push(watched);
        error = error.or(failed);
    }
    for filed in filed {
        history.acknowledged.extend(filed.acknowledged);
        history.reads.add(filed.reads);
        history.repeats.add(filed.repeats);
        error = error.or(filed.error);
    }
    for connection in &run.connections {
        // What is watched first is everything.
        let log = listed(connection, &selections[0], base, end).await?;
        history.logs.push(log);
    }
    for (number, selection) in selections.into_iter().enumerate() {
        let log = listed(run.connection(number), &selection, base, end).await?;
        history.selections.push((selection, log));
    }
    Ok((history, error))
}

async fn listed(connection: &Connection, selection: &Selection, base: &str, end: &Goal) -> Result<Vec<Seen>, CliError> {
    ask::events(&mut connection.feed(), selection, base, &end.token).await
}

fn print(args: &VerifyArgs, verdicts: &[Verdict]) -> Result<(), CliError> {
    let mut out = Out::new(args.output.output);
    if out.is_table() {
        let mut table = output::page_table(["GUARANTEE", "VERDICT", "EVIDENCE"], 0);
        for Verdict { guarantee, outcome, evidence } in verdicts {
            table.add_row([(*guarantee).to_owned(), outcome.word().to_owned(), evidence.join("\n")]);
        }
        out.line(output::trimmed(&table))?;
    } else {
        for Verdict { guarantee, outcome, evidence } in verdicts {
            out.item(&json!({"guarantee": guarantee, "verdict": outcome.word(), "evidence": evidence}))?;
        }
        out.end_items()?;
    }
    out.flush()
}

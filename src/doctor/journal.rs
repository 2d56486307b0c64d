//! The stream that replicas share: its servers one by one, what they say of it, and whether the store is of its log.

use super::{Finding, place::Places, tls::open_to_all};
use crate::{
    domain::error::{Reason, Result},
    journal::{
        Durable, Trouble,
        jetstream::{self, Found, Settings},
    },
    store::Head,
    tasks::asking,
    writer,
};

/// Asks the servers; `position` is where the store's log ends, 0 if it has none, and `head` all of that, if it is known.
pub(super) async fn look(settings: &Settings, position: u64, head: Option<Head>, places: &Places) -> Vec<Finding> {
    let about = &places.journal();
    let reached = jetstream::reach(settings).await;
    let private = settings.access.credentials.iter().chain(settings.access.certificate.iter().map(|(_, key)| key));
    let mut found: Vec<Finding> = private.filter_map(|file| open_to_all(file, about)).collect();
    let is_silent = reached.iter().all(|(_, answer)| answer.is_err());
    let each = reached.iter().map(|(name, answer)| server(name, answer, is_silent, about));
    found.extend(each);
    if is_silent {
        let what = "whether there is a stream, and how it is kept, could not be asked";
        found.push(Finding::warning(about, what, "run this again when a server answers"));
        return found;
    }
    let name = &settings.stream;
    let looked = jetstream::look(settings, position).await;
    let here = head.filter(|head| head.position > 0 && matches!(looked, Ok(Found::There { .. })));
    found.push(match looked {
        Ok(Found::Missing(_)) if position > 0 => {
            let what = format!("there is no stream {name}, and the store has a log of it up to position {position}");
            let remedy = "it is not made anew: see \"LOG_DIVERGED\" in deploy/RUNBOOK.md, and start none before";
            Finding::fault(about, what, remedy)
        }
        Ok(Found::Missing(durable)) => {
            let copies = settings.replicas;
            let what = format!("there is no stream {name}: it is made, with {copies} copies, {}", words(durable));
            Finding::warning(about, what, "look whether that is the name, unless this is the first replica")
        }
        Ok(Found::There { copies, ends_at, durable }) => {
            let later = if position > 0 && head.is_none() { FOUND_OUT_LATER } else { "" };
            let what = format!(
                "the stream {name} ends at position {ends_at}, with {copies} copies, {}{later}",
                words(durable)
            );
            if durable == Durable::Synced {
                Finding::ok(about, what)
            } else {
                Finding::warning(about, what, "that was accepted by accept_lax_journal: mean it")
            }
        }
        Ok(Found::GoneOn { begins_at }) => {
            let what = format!(
                "the stream {name} begins at position {begins_at}, and the store ends at {position}: when it is served it \
                 is put aside in its folder, if a snapshot beside the stream shows that it is of the same log, and begins \
                 anew with that"
            );
            Finding::warning(about, what, "see that the disk has room for both, and delete the old one when nobody needs it")
        }
        Err(trouble) => {
            let remedy = match &trouble {
                Trouble::Lax(_) => "see \"The journal is too lax\" in deploy/RUNBOOK.md",
                Trouble::Unreachable(_) => "see \"JOURNAL_UNAVAILABLE\" in deploy/RUNBOOK.md",
                Trouble::Lost(_) => "see \"LOG_DIVERGED\" in deploy/RUNBOOK.md",
                Trouble::Trimmed(_) => "see \"HISTORY_TRIMMED on a replica\" in deploy/RUNBOOK.md",
            };
            Finding::fault(about, trouble, remedy)
        }
    });
    if let Some(here) = here {
        found.push(compare(settings, here, about).await);
    }
    found
}

/// What is said of a store of an older version.
const FOUND_OUT_LATER: &str =
    "; whether the store's log is the beginning of the stream's is found out when the store is served";

/// Whether the store's log is the beginning of the stream's.
async fn compare(settings: &Settings, here: Head, about: &str) -> Finding {
    let position = here.position;
    match stands_in(settings, here).await {
        Ok(true) => {
            let what = format!("the store's log is the beginning of the stream's, up to position {position}");
            Finding::ok(about, what)
        }
        Ok(false) => Finding::ok(about, "the stream has nothing left that the store's log could be compared with"),
        Err(error) if error.reason == Reason::LogDiverged => {
            let what = format!("the store's log is not the beginning of the stream's: {error}");
            let remedy = "it is served to be read, and takes no filing: see \"LOG_DIVERGED\" in deploy/RUNBOOK.md";
            Finding::fault(about, what, remedy)
        }
        Err(error) if error.reason == Reason::JournalUnavailable => {
            let what = format!("whether the store's log is the beginning of the stream's could not be asked: {error}");
            Finding::warning(about, what, "run this again when the servers answer")
        }
        Err(error) => {
            let what = format!("the store's log cannot be compared with the stream's: {error}");
            Finding::fault(about, what, "it is served to be read, and takes no filing: see deploy/RUNBOOK.md")
        }
    }
}

/// The same as a server asks it that starts.
async fn stands_in(settings: &Settings, here: Head) -> Result<bool> {
    let stream = jetstream::glance(settings).await?;
    asking(move || writer::stands_in(&*stream, here)).await
}

/// One server. As long as another answers, a replica goes on with that one.
fn server(name: &str, answer: &std::result::Result<(), String>, is_silent: bool, about: &str) -> Finding {
    let remedy = "look whether it runs, its name and port, what it wants to be told, and the network in between";
    match answer {
        Ok(()) => Finding::ok(about, format!("{name} answers")),
        Err(why) if is_silent => Finding::fault(about, format!("{name}: {why}"), remedy),
        Err(why) => Finding::warning(about, format!("{name}: {why}"), remedy),
    }
}

fn words(durable: Durable) -> &'static str {
    match durable {
        Durable::Synced => "synced before it is acknowledged",
        Durable::Copied => "synced after it is acknowledged, or nobody says",
        Durable::Unknown => "and nobody says whether it is synced",
    }
}

//! The stream: how it must be kept, and whether it is.

use std::fmt::Display;

use async_nats::{
    ConnectOptions,
    jetstream::{
        Context, ErrorCode,
        context::{CreateStreamErrorKind, GetStreamErrorKind},
        stream::{Config, DiscardPolicy, Info, InfoError, PeerInfo, RetentionPolicy, StorageType},
    },
};

use super::{
    super::Trouble,
    access::{self, Access},
    code, depot, shelf, sync,
};
use crate::limits::{JOURNAL_COPIES, JOURNAL_LEADER_SILENCE, MAX_FILED_MESSAGE_BYTES};

/// Where the stream is, and how lax it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The servers, as `nats://host:port`; any one of them leads to the others, unless TLS is spoken.
    pub servers: Vec<String>,
    /// How they are shown who it is, beside what their addresses say.
    pub access: Access,
    /// The stream's name.
    pub stream: String,
    /// Copies of each batch.
    pub replicas: usize,
    /// Monitoring endpoints of all servers, as `http://host:port`; they alone say how often disks are synced.
    pub monitors: Vec<String>,
    /// Accept a stream with fewer copies, or servers that sync late or do not say.
    pub accept_lax: bool,
    /// Accept a stream that is sealed, to read what it has: nothing can be appended to it.
    pub accept_sealed: bool,
    /// Make the stream if there is none. Whoever has a log of it already must find it: one that is made is another.
    pub may_make: bool,
}

impl Settings {
    /// How the servers are connected to; it fails where [`Access::check`] does.
    pub(super) fn options(&self) -> Result<ConnectOptions, Trouble> {
        self.access.options(&self.servers).map_err(Trouble::Unreachable)
    }

    /// The servers for people: without what they are to be told in secret.
    pub(super) fn shown(&self) -> String {
        access::addresses(&self.servers).join(", ")
    }

    /// The one subject of the stream.
    pub(super) fn subject(&self) -> String {
        format!("{}.batches", self.stream)
    }

    fn config(&self) -> Config {
        Config {
            name: self.stream.clone(),
            description: Some("The log of an Attaché registry: one message is one batch.".to_owned()),
            subjects: vec![self.subject()],
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            num_replicas: self.replicas,
            discard: DiscardPolicy::New,
            deny_delete: true,
            max_message_size: MAX_FILED_MESSAGE_BYTES,
            ..Config::default()
        }
    }
}

/// That a stream is out of reach, and why.
pub(super) fn unreachable(stream: &str, why: impl Display) -> Trouble {
    Trouble::Unreachable(format!("the stream {stream}: {why}"))
}

/// The stream as it is, made if there was none.
pub(super) async fn open(context: &Context, settings: &Settings) -> Result<Info, Trouble> {
    let info = match context.get_stream(&settings.stream).await {
        Ok(stream) => {
            check_beside(context, settings).await?;
            stream.cached_info().clone()
        }
        Err(error) if !settings.may_make => {
            let why = "it is not made anew, because this store has a log of it";
            return Err(unreachable(&settings.stream, format_args!("{error}; {why}")));
        }
        // Whoever does not say that there is none may have one.
        Err(error) if !is_not_found(&error.kind()) => return Err(unreachable(&settings.stream, error)),
        Err(_) => make(context, settings).await?,
    };
    check(&info.config, settings)?;
    Ok(info)
}

/// Makes it, unless what is made would be refused: that is found out before, so that nothing is left of it.
async fn make(context: &Context, settings: &Settings) -> Result<Info, Trouble> {
    check_beside(context, settings).await?;
    // (What may be lax is looked at once it is there.)
    if !settings.accept_lax {
        check(&settings.config(), settings)?;
        sync::would_be_durable(settings).await?;
    }
    match context.create_stream(settings.config()).await {
        Ok(stream) => Ok(stream.cached_info().clone()),
        // Another replica made it meanwhile.
        Err(error) if is_taken(&error.kind()) => {
            let stream = context.get_stream(&settings.stream).await.map_err(Trouble::unreachable)?;
            Ok(stream.cached_info().clone())
        }
        Err(error) => Err(unreachable(&settings.stream, error)),
    }
}

/// Checks that a stream keeps what it is given as well as the settings demand.
pub(super) fn check(config: &Config, settings: &Settings) -> Result<(), Trouble> {
    judge(&settings.stream, &laxities(config, settings), settings)
}

/// Checks the same of the streams beside it, of cursors and of snapshots, as far as they are there and answer: nobody is to find
/// out that they have one copy when that is lost. One that does not answer is no reason to keep the log shut.
pub(super) async fn check_beside(context: &Context, settings: &Settings) -> Result<(), Trouble> {
    for name in [shelf::stream_of(settings), depot::stream_of(settings)] {
        match context.get_stream(&name).await {
            Ok(found) => {
                let mut lax = laxities_of_any(&found.cached_info().config);
                // No filing is lost by it.
                lax.iter_mut().for_each(|lax| lax.may_be_accepted = true);
                judge(&name, &lax, settings)?;
            }
            Err(error) if is_not_found(&error.kind()) => {}
            Err(error) => tracing::warn!(stream = name, %error, "nobody says how many copies a stream has"),
        }
    }
    Ok(())
}

fn judge(stream: &str, lax: &[Laxity], settings: &Settings) -> Result<(), Trouble> {
    if lax.is_empty() || settings.accept_lax && lax.iter().all(|l| l.may_be_accepted) {
        lax.iter().for_each(|l| tracing::warn!(stream, "the journal's stream {}", l.what));
        return Ok(());
    }
    let what = lax.iter().map(|l| l.what.as_str()).collect::<Vec<_>>().join("; it ");
    Err(Trouble::Lax(format!("the stream {stream} {what}")))
}

/// Checks that whoever told of a stream leads it. A server that was halted goes on as the leader that it was until it hears of
/// another, and what waited for it meanwhile is answered first, without what has been acknowledged since.
pub(super) fn check_led(info: &Info) -> Result<(), Trouble> {
    let others = info.cluster.as_ref().map_or(&[][..], |cluster| &cluster.replicas);
    if is_led(others) {
        return Ok(());
    }
    let why = format!("whoever leads it has not heard from most of its servers for {JOURNAL_LEADER_SILENCE:?}");
    Err(unreachable(&info.config.name, why))
}

/// Whether a majority is known to follow. (One that was never heard from is said to have been heard from now.)
fn is_led(others: &[PeerInfo]) -> bool {
    let follows = |peer: &&PeerInfo| !peer.active.is_zero() && peer.active < JOURNAL_LEADER_SILENCE;
    2 * (others.iter().filter(follows).count() + 1) > others.len() + 1
}

fn is_taken(kind: &CreateStreamErrorKind) -> bool {
    matches!(kind, CreateStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NAME_EXIST)
}

/// Seals it: whatever is appended from now on is refused, for good.
pub(super) async fn seal(context: &Context, settings: &Settings) -> Result<(), Trouble> {
    let found = context.get_stream(&settings.stream).await.map_err(Trouble::unreachable)?;
    let config = found.cached_info().config.clone();
    if config.sealed {
        return Ok(());
    }
    let sealed = Config { sealed: true, ..config };
    context.update_stream(sealed).await.map(drop).map_err(Trouble::unreachable)
}

/// Whether the servers say that there is no such stream.
pub(super) async fn is_missing(context: &Context, settings: &Settings) -> bool {
    let found = context.get_stream(&settings.stream).await.map_err(|error| error.kind());
    found.is_err_and(|kind| is_not_found(&kind))
}

/// The same of what they answered.
pub(super) fn is_not_found(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Whether there is no such stream any more.
pub(super) fn is_gone(error: &InfoError) -> bool {
    code(error) == Some(ErrorCode::STREAM_NOT_FOUND)
}

/// What makes a stream unfit, in words that follow its name.
struct Laxity {
    what: String,
    /// Whoever asks for it may have it: it loses nothing by itself.
    may_be_accepted: bool,
}

impl Laxity {
    /// What nobody may have.
    fn never(what: &str) -> Self {
        Self { what: what.to_owned(), may_be_accepted: false }
    }
}

/// Of any stream of a log, that of its cursors and snapshots included, where newer values take the place of older ones.
fn laxities_of_any(config: &Config) -> Vec<Laxity> {
    let mut lax = Vec::new();
    if config.storage != StorageType::File {
        lax.push(Laxity::never("is kept in memory"));
    }
    if !config.max_age.is_zero() {
        lax.push(Laxity::never("drops what it has by its age"));
    }
    if config.num_replicas < JOURNAL_COPIES {
        let what = format!("has {} of {JOURNAL_COPIES} copies", config.num_replicas);
        lax.push(Laxity { what, may_be_accepted: true });
    }
    lax
}

fn laxities(config: &Config, settings: &Settings) -> Vec<Laxity> {
    let mut lax = laxities_of_any(config);
    let mut refuse = |unfit: bool, what: &str| {
        if unfit {
            lax.push(Laxity::never(what));
        }
    };
    refuse(config.subjects != [settings.subject()], "has other subjects than the log's");
    refuse(config.retention != RetentionPolicy::Limits, "drops what was read");
    refuse(config.discard != DiscardPolicy::New, "drops old batches when it is full");
    refuse(config.max_messages_per_subject > 0, "keeps a number of batches only");
    refuse(config.max_messages > 0 || config.max_bytes > 0, "is full at some number of batches or bytes");
    let small = (1..MAX_FILED_MESSAGE_BYTES).contains(&config.max_message_size);
    refuse(small, "has no room for the largest batch");
    refuse(config.no_ack, "does not acknowledge");
    refuse(config.sealed && !settings.accept_sealed, "is sealed: its log was moved elsewhere");
    refuse(config.mirror.is_some() || config.sources.as_ref().is_some_and(|s| !s.is_empty()), "copies other streams");
    refuse(config.deny_purge && !config.sealed, "cannot be trimmed, ever");
    if !config.deny_delete {
        lax.push(Laxity { what: "lets single batches be deleted".to_owned(), may_be_accepted: true });
    }
    lax
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::jetstream::stream::Source;

    use super::*;

    #[test]
    fn a_leader_that_hears_from_no_majority_may_have_been_one() {
        let led = |silent_ms: &[u64]| {
            let peer = |ms: &u64| PeerInfo {
                name: "another".to_owned(),
                current: true,
                active: Duration::from_millis(*ms),
                offline: false,
                lag: None,
            };
            is_led(&silent_ms.iter().map(peer).collect::<Vec<_>>())
        };
        // Alone, or with one of two, or two of four.
        assert!(led(&[]) && led(&[900, 1]) && led(&[1, 10_000]) && led(&[1, 2, 10_000, 10_000]));
        // After it was halted, and before it heard from anybody.
        assert!(!led(&[10_000, 10_000]) && !led(&[0, 0]) && !led(&[10_000, 0]) && !led(&[1, 10_000, 10_000, 10_000]));
    }

    fn settings() -> Settings {
        Settings {
            servers: vec!["nats://user:p@ss@a:4222".to_owned(), "tls://b".to_owned()],
            access: Access::default(),
            stream: "S".to_owned(),
            replicas: JOURNAL_COPIES,
            monitors: Vec::new(),
            accept_lax: false,
            accept_sealed: false,
            may_make: true,
        }
    }

    #[test]
    fn what_servers_are_told_in_secret_is_not_shown() {
        assert_eq!(settings().shown(), "nats://a:4222, tls://b");
    }

    /// A change to a stream as it is made, a word of its refusal, and whether whoever asks for it may have it.
    type Lax = (fn(&mut Config), &'static str, bool);

    const LAX: &[Lax] = &[
        (|c| c.subjects.push("T.batches".to_owned()), "other subjects", false),
        (|c| c.storage = StorageType::Memory, "in memory", false),
        (|c| c.retention = RetentionPolicy::WorkQueue, "what was read", false),
        (|c| c.retention = RetentionPolicy::Interest, "what was read", false),
        (|c| c.discard = DiscardPolicy::Old, "old batches", false),
        (|c| c.max_age = Duration::from_secs(1), "by its age", false),
        (|c| c.max_messages_per_subject = 1, "a number of batches only", false),
        (|c| c.max_messages = 1, "is full at", false),
        (|c| c.max_bytes = 1, "is full at", false),
        (|c| c.max_message_size = MAX_FILED_MESSAGE_BYTES - 1, "no room for the largest", false),
        (|c| c.no_ack = true, "does not acknowledge", false),
        (|c| c.sealed = true, "is sealed", false),
        (|c| c.mirror = Some(Source::default()), "copies other streams", false),
        (|c| c.sources = Some(vec![Source::default()]), "copies other streams", false),
        (|c| c.deny_purge = true, "cannot be trimmed", false),
        (|c| c.num_replicas = JOURNAL_COPIES - 1, "copies", true),
        (|c| c.deny_delete = false, "single batches be deleted", true),
    ];

    #[test]
    fn a_stream_that_keeps_less_than_a_log_is_refused_whatever_it_lacks() {
        let (strict, lenient) = (settings(), Settings { accept_lax: true, ..settings() });
        check(&strict.config(), &strict).expect("as it is made it is good");
        for (change, word, may_be_accepted) in LAX {
            let mut config = strict.config();
            change(&mut config);
            let Err(Trouble::Lax(said)) = check(&config, &strict) else { panic!("{word}: it is taken") };
            assert!(said.starts_with("the stream S ") && said.contains(word), "{word}: {said}");
            assert_eq!(check(&config, &lenient).is_ok(), *may_be_accepted, "{word}, where laxity is accepted");
        }
        let sealed = Config { sealed: true, ..strict.config() };
        check(&sealed, &Settings { accept_sealed: true, ..settings() }).expect("its end is read");
    }
}

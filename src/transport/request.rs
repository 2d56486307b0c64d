//! What every request goes through: an id in every line of the log, and that of its trace; a bound on its messages, its
//! deadline.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tracing::{Instrument as _, field};

use super::{
    Services,
    calls::{self, Calls, Place, Places},
    status,
};
use crate::{
    access::{self, ANONYMOUS, Access, Certificate, Need, Principal, Role, Seen, Shown},
    clock,
    domain::error::{Error, Reason, word},
    limits::{
        AUDIT, LAST_WORDS, MAX_LOGGED_RPC_BYTES, MAX_OPEN_REQUEST_BYTES, MAX_REQUEST_BYTES, MAX_WAY_BACK, REQUESTS,
        STRANGERS_LINES_PER_SECOND,
    },
    metrics::Metrics,
    trace::{self, Parent},
};

/// The header that carries a request's id in both directions.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long its client waits for it.
static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// How its message is compressed.
static ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// The code of an answer that ends with its headers.
static STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The longest id that is taken over from a client.
const MAX_REQUEST_ID: usize = 128;

/// When the next line may be written that anybody can have written: of all servers of the process, which have one log.
static STRANGERS_LINES: LazyLock<DefaultDirectRateLimiter> = LazyLock::new(lines);
/// The same of who is refused though they are known: strangers do not hide what an insider tries.
static KNOWN_LINES: LazyLock<DefaultDirectRateLimiter> = LazyLock::new(lines);

fn lines() -> DefaultDirectRateLimiter {
    RateLimiter::direct(Quota::per_second(STRANGERS_LINES_PER_SECOND))
}

/// How long the client waits, from the request's arrival, less the way back: its own clock would cut off an answer that
/// leaves at the last moment, and with it the reason.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    began: clock::Ticks,
    after: Duration,
}

impl Deadline {
    /// What is left of it.
    pub fn left(self) -> Duration {
        self.after.saturating_sub(self.began.elapsed())
    }
}

/// What is left of a request's deadline, if it has one.
pub(super) fn time_left<T>(request: &tonic::Request<T>) -> Option<Duration> {
    request.extensions().get::<Deadline>().map(|d| d.left())
}

/// What a connection's requests have in common.
pub(super) struct Gate {
    /// Who may do what; `None` is everybody everything.
    pub access: Option<Arc<Access>>,
    /// Whom the client proved to be.
    pub certificate: Option<Certificate>,
    /// What it showed before.
    pub seen: Seen,
    /// Cancelled when the connection is to end, and with it its streams.
    pub leaving: CancellationToken,
    /// How long it has from then on, unless the server drains.
    pub goodbye: Duration,
    /// Where it comes from.
    pub peer: Option<SocketAddr>,
    /// The places of the whole server's calls.
    pub calls: Calls,
    /// The places of its streams that are open to everybody.
    pub public: Places,
    /// How long a message may take to come as a whole.
    pub message_timeout: Duration,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Gate {
    /// Who asks, if they may, and the place of the call, if it takes one: whoever may not ask takes none. Nor do they say
    /// whether its trace is kept: it goes on in one of its caller's if that is somebody who is known.
    fn take_in(&self, need: Need, call: &str, headers: &HeaderMap) -> Result<(Principal, Option<Place>), Status> {
        let admitted = self.admit(need, headers);
        // Before the first line of the log: each has the id of the trace that it is part of.
        match &admitted {
            Ok(principal) if principal.is_known() => trace::join(headers),
            _ => trace::begin(headers),
        }
        self.audit(need, &admitted);
        let principal = admitted?;
        // tonic would say so without details.
        if let Some(how) = headers.get(&ENCODING).filter(|how| *how != "identity") {
            return Err(status::compressed(how));
        }
        let place = self.place(call, &principal)?;
        Ok((principal, place))
    }

    /// Who asks, if they may do what they ask for.
    fn admit(&self, need: Need, headers: &HeaderMap) -> Result<Principal, Error> {
        let Some(access) = &self.access else { return Ok(Principal::local()) };
        if need == Need::Nothing {
            return Ok(Principal::nobody());
        }
        let authorization = headers.get(http::header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        let shown = Shown { authorization, certificate: self.certificate.as_ref(), seen: Some(&self.seen) };
        access.admit(need, shown)
    }

    /// Counts and logs who was refused, and logs who may do what few may. Where that is anybody there is no more room for
    /// their lines than for those who are refused.
    fn audit(&self, need: Need, admitted: &Result<Principal, Error>) {
        match (admitted, need) {
            (Err(error), _) => self.noted(error, None),
            (Ok(principal), Need::Role(Role::Editor | Role::Operator)) => {
                if !self.may_write_of(principal) {
                    return;
                }
                tracing::info!(target: AUDIT, audit = "admitted", principal = %principal.name, peer = self.peer());
            }
            _ => {}
        }
    }

    /// A place for a call, named `package.Service/Method`, if it takes one.
    fn place(&self, call: &str, principal: &Principal) -> Result<Option<Place>, Error> {
        let place = || {
            let Some(place) = self.calls.place(call, &self.public)? else { return Ok(None) };
            let own = match &self.access {
                Some(access) if place.is_answered() => access.call(principal)?,
                _ => None,
            };
            Ok(Some((place, own)))
        };
        place().inspect_err(|error: &Error| self.noted(error, Some(&principal.name)))
    }

    /// Counts an error that is a refusal, and logs it if it is for want of a credential or a role. Not a line for each that
    /// finds no room: there are most of them when there is least time.
    fn noted(&self, error: &Error, principal: Option<&str>) {
        let is_denied = match error.reason {
            Reason::CredentialMissing | Reason::CredentialExpired | Reason::RoleRequired => true,
            Reason::QuotaExceeded | Reason::Overloaded => false,
            // What was asked for is wrong, or cannot be done.
            _ => return,
        };
        self.metrics.refused(word(error.reason));
        let principal = principal.or(error.metadata.get("principal").map(String::as_str));
        let is_known = self.access.is_some() && principal.is_some_and(|name| name != ANONYMOUS);
        if is_denied && self.may_write(if is_known { &KNOWN_LINES } else { &STRANGERS_LINES }) {
            tracing::warn!(target: AUDIT, audit = "denied", principal, peer = self.peer(), why = %error.message);
        }
    }

    /// Whether there is room in the log for a line of what somebody did.
    fn may_write_of(&self, principal: &Principal) -> bool {
        let is_somebody = self.access.is_some() && principal.is_known();
        is_somebody || self.may_write(&STRANGERS_LINES)
    }

    /// Whether there is room in the log for a line of a kind of which there may be very many; it is counted if not.
    fn may_write(&self, lines: &DefaultDirectRateLimiter) -> bool {
        let may = lines.check().is_ok();
        if !may {
            self.metrics.audit_line_dropped();
        }
        may
    }

    fn peer(&self) -> String {
        self.peer.map(|peer| peer.to_string()).unwrap_or_default()
    }
}

/// Who asks, as the gate admitted them.
#[derive(Clone)]
pub(super) struct Caller {
    principal: Principal,
    gate: Arc<Gate>,
    need: Need,
}

impl Caller {
    /// Of a request that came through the gate.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, Error> {
        request.extensions().get::<Self>().cloned().ok_or_else(|| Error::internal("a request came by no gate"))
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether there is room in the log for a line of what they did; it is counted if not.
    pub fn may_be_written(&self) -> bool {
        self.gate.may_write_of(&self.principal)
    }

    /// The same as the rules are now, if they still may: in the middle of a stream, on which this is another call.
    pub fn again(&self) -> Result<Self, Error> {
        let now = self.by_rules(|access| {
            let principal = access.recheck(&self.principal, self.need)?;
            access.count(&principal).map(|()| principal)
        })?;
        Ok(now.map_or_else(|| self.clone(), |principal| Self { principal, ..self.clone() }))
    }

    /// Done when they may not any more, with the reason; `None` is never.
    pub fn refused(&self) -> Option<Pin<Box<dyn Future<Output = Error> + Send>>> {
        let access = Arc::clone(self.gate.access.as_ref()?);
        let (gate, principal, need) = (Arc::clone(&self.gate), self.principal.clone(), self.need);
        Some(Box::pin(async move {
            let name = Arc::clone(&principal.name);
            let error = access.ends(principal, need).await;
            gate.noted(&error, Some(&name));
            error
        }))
    }

    /// Notes an error of a service if it is a refusal. (What this type itself refuses is noted already.)
    pub fn noted(&self, error: &Error) {
        self.gate.noted(error, Some(&self.principal.name));
    }

    /// Counts bytes of a filing of theirs.
    pub fn spend(&self, bytes: usize) -> Result<(), Error> {
        self.by_rules(|access| access.spend(&self.principal, bytes)).map(drop)
    }

    /// Counts a stream of theirs until its place is dropped.
    pub fn open(&self) -> Result<Option<access::Place>, Error> {
        self.by_rules(|access| access.open(&self.principal))
    }

    /// Counts a snapshot or backup that they are sent, until its place is dropped.
    pub fn open_snapshot(&self) -> Result<Option<access::Place>, Error> {
        self.by_rules(|access| access.open_snapshot(&self.principal))
    }

    /// What the rules answer, if there are any; their refusal is noted.
    fn by_rules<T>(&self, ask: impl FnOnce(&Access) -> Result<T, Error>) -> Result<Option<T>, Error> {
        self.gate.access.as_deref().map(ask).transpose().inspect_err(|error| self.noted(error))
    }

    /// Cancelled when their connection is to end.
    pub fn leaving(&self) -> &CancellationToken {
        &self.gate.leaving
    }

    /// Done when their connection was told to go and is about to be cut.
    pub async fn cut_soon(&self) {
        self.gate.leaving.cancelled().await;
        tokio::time::sleep(self.gate.goodbye - LAST_WORDS.min(self.gate.goodbye / 2)).await;
    }
}

/// Whether a call may write, and so may stand though nobody waits for it any more.
fn is_written(rpc: &str) -> bool {
    const OTHERS: [&str; 3] =
        ["attache.v1.FeedService/CommitCursor", "attache.v1.LogService/Redact", "attache.v1.LogService/TrimLog"];
    rpc.starts_with("attache.v1.FilingService/") || OTHERS.contains(&rpc)
}

/// Answers one request.
pub(super) async fn handle<B>(
    mut services: Services,
    gate: Arc<Gate>,
    request: Request<B>,
) -> Result<Response<Body>, std::convert::Infallible>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let id = request_id(request.headers());
    let rpc = request.uri().path().trim_start_matches('/').to_owned();
    let trace_id = Parent::of(request.headers()).map(|parent| parent.trace_id);
    // Of a target of its own: whatever is logged, its lines say whose they are (`telemetry` has it made).
    let span = tracing::info_span!(
        target: REQUESTS,
        "request",
        request_id = %id.to_str().unwrap_or_default(),
        rpc = logged(&rpc),
        trace_id,
        own_trace_id = field::Empty
    );
    let began = clock::ticks();
    let deadline =
        timeout_of(request.headers()).map(|after| Deadline { began, after: after - MAX_WAY_BACK.min(after / 10) });
    let need = access::needs(&rpc);
    let expected = Expected {
        one: rpc.starts_with("attache."),
        many: calls::sends_many(&rpc),
        // What is open to everybody is small.
        most: if need == Need::Nothing { MAX_OPEN_REQUEST_BYTES } else { MAX_REQUEST_BYTES },
        within: gate.message_timeout,
    };
    let mut request = request.map(|body| Body::new(Bounded::new(body, expected, Arc::clone(&gate.metrics))));
    // The deadline is ours to keep: tonic's answer to it is CANCELLED.
    request.headers_mut().remove(&TIMEOUT);
    if let Some(deadline) = deadline {
        request.extensions_mut().insert(deadline);
    }
    // The writer knows whether what it decides was admitted when its deadline passed, so it keeps that itself; a cursor
    // that waits for it lands all the same.
    let waits = deadline.filter(|_| !is_written(&rpc));
    async move {
        let metrics = Arc::clone(&gate.metrics);
        let answered = async {
            let (principal, place) = match gate.take_in(need, &rpc, request.headers()) {
                Err(status) => return Ok(status.into_http()),
                Ok(taken) => taken,
            };
            request.extensions_mut().insert(Caller { principal, gate, need });
            let answer = services.call(request);
            let Some(deadline) = waits else { return answer.await.map(|answer| calls::held(answer, place)) };
            let late = |_| Error::new(Reason::Deadline, "the deadline passed before the answer");
            match tokio::time::timeout(deadline.left(), answer).await.map_err(late) {
                Ok(answered) => answered.map(|answer| calls::held(answer, place)),
                Err(error) => Ok(status::from_error(&error).into_http()),
            }
        };
        let Ok(mut response) = answered.await;
        let code = response.headers().get(&STATUS).and_then(|v| v.to_str().ok()).unwrap_or("0").to_owned();
        metrics.answered(&rpc, &code, began.elapsed());
        trace::answered(&code);
        tracing::debug!(code, elapsed_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), "answered");
        response.headers_mut().insert(&REQUEST_ID, id);
        Ok(response)
    }
    .instrument(span)
    .await
}

/// As much of a call's name as the log has.
fn logged(rpc: &str) -> &str {
    &rpc[..rpc.floor_char_boundary(MAX_LOGGED_RPC_BYTES)]
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    // What could pass for a field of the log's line is no id.
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(b);
    let given = headers.get(&REQUEST_ID);
    let given = given.filter(|v| (1..=MAX_REQUEST_ID).contains(&v.len()) && v.as_bytes().iter().all(plain));
    let mut id = given.cloned().unwrap_or_else(|| {
        let mut text = uuid::Uuid::encode_buffer();
        HeaderValue::from_str(uuid::Uuid::now_v7().hyphenated().encode_lower(&mut text))
            .expect("a UUID is a header's value")
    });
    // No two are alike: HPACK need not put them into the tables of either side (RFC 7541, 7.1.3).
    id.set_sensitive(true);
    id
}

fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    timeout(headers.get(&TIMEOUT)?.to_str().ok()?)
}

/// What the header `grpc-timeout` says: at most eight digits and a unit.
#[must_use]
pub fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // (A number is read with a sign, too.)
    let is_written = digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    let amount: u64 = digits.parse().ok().filter(|_| is_written)?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// What a request's body is to be.
#[derive(Debug, Clone, Copy)]
struct Expected {
    /// Whether it must have a message; those of streams need none.
    one: bool,
    /// Whether it may have any number of messages, with any time between them; else it must end in time.
    many: bool,
    /// Bytes of a message at most.
    most: usize,
    /// How long a message may take to come as a whole, once it is waited for.
    within: Duration,
}

/// A request's body whose messages are bounded before they are read, and come whole, and in time: what tonic says of them
/// has no details, and it would wait for the rest of one for as long as the client likes.
struct Bounded<B> {
    inner: Pin<Box<B>>,
    expected: Expected,
    /// When the message that is waited for is late; `None` while none is.
    late: Option<Pin<Box<tokio::time::Sleep>>>,
    begun: bool,
    /// The prefix of the message that begins: a flag and four bytes of length.
    prefix: [u8; 5],
    filled: usize,
    /// Bytes left of the message that is passing.
    left: usize,
    /// Where it is counted if it does not come as a whole; `None` once it was.
    metrics: Option<Arc<Metrics>>,
}

impl<B> Bounded<B> {
    fn new(body: B, expected: Expected, metrics: Arc<Metrics>) -> Self {
        let (inner, metrics) = (Box::pin(body), Some(metrics));
        Self { inner, expected, late: None, begun: false, prefix: [0; 5], filled: 0, left: 0, metrics }
    }

    /// Counts that it does not come as a whole.
    fn unfinished(&mut self, how: &'static str) {
        if let Some(metrics) = self.metrics.take() {
            metrics.unfinished(how);
        }
    }

    /// Whether the body may end here.
    fn end(&mut self) -> Result<(), Status> {
        // Said once.
        let missing = std::mem::take(&mut self.expected.one) && !self.begun;
        let torn = std::mem::take(&mut self.filled) > 0 || std::mem::take(&mut self.left) > 0;
        if missing || torn {
            self.unfinished("cut");
        }
        match (missing, torn) {
            (_, true) => Err(status::unreadable("the request ends in the middle of a message")),
            (true, _) => Err(status::unreadable("the request has no message")),
            (false, false) => Ok(()),
        }
    }

    /// Follows the messages through a piece of the body.
    fn watch(&mut self, mut piece: &[u8]) -> Result<(), Status> {
        while !piece.is_empty() {
            if self.left > 0 {
                let passing = self.left.min(piece.len());
                self.left -= passing;
                piece.advance(passing);
                self.came();
                continue;
            }
            self.prefix[self.filled] = piece[0];
            self.filled += 1;
            piece.advance(1);
            if self.filled == self.prefix.len() {
                self.filled = 0;
                self.begun = true;
                let [compressed, length @ ..] = self.prefix;
                if compressed != 0 {
                    return Err(status::unreadable("the message is marked as compressed; send it as it is"));
                }
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                let most = self.expected.most;
                if self.left > most {
                    let message = format!("the message is {} bytes; a request has at most {most}", self.left);
                    let error = Error::new(Reason::TooLarge, message).with("limit", most);
                    return Err(status::from_error(&error));
                }
                self.came();
            }
        }
        Ok(())
    }

    /// Notes that a message may have come as a whole: another has its own time.
    fn came(&mut self) {
        if self.expected.many && self.left == 0 {
            self.late = None;
        }
    }

    /// Waits with what is missing, and no longer than it may take. Its time begins here, not with the request: while the
    /// server is busy with one batch it does not read the next.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        let is_amid = self.filled > 0 || self.left > 0;
        if self.expected.many && !is_amid {
            return Poll::Pending;
        }
        let within = self.expected.within;
        let late = self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        ready!(late.as_mut().poll(context));
        self.unfinished("late");
        let why = format!("the message did not come as a whole within {within:?}; nothing of it happened");
        Poll::Ready(status::from_error(&Error::new(Reason::Deadline, why)))
    }
}

impl<B> Drop for Bounded<B> {
    /// Whoever does not wait for the rest any more has a deadline that passed, or has gone; or the server ends.
    fn drop(&mut self) {
        let is_amid = self.filled > 0 || self.left > 0;
        let is_missing = self.late.is_some() && self.expected.one && !self.begun;
        if is_amid || is_missing {
            self.unfinished("cut");
        }
    }
}

impl<B> HttpBody for Bounded<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match self.inner.as_mut().poll_frame(context) {
            Poll::Pending => return self.wait(context).map(|status| Some(Err(status.into()))),
            Poll::Ready(None) => return Poll::Ready(self.end().err().map(|status| Err(status.into()))),
            Poll::Ready(Some(Err(lost))) => {
                // (Why is the transport's to say.)
                let _ = self.end();
                return Poll::Ready(Some(Err(lost.into())));
            }
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        if let Some(data) = frame.data_ref() {
            let data = data.clone();
            if let Err(refused) = self.watch(&data) {
                // It is not read to its end: whether it comes as a whole is not known.
                self.metrics = None;
                return Poll::Ready(Some(Err(refused.into())));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        // Whether the end is a good one is known once it was asked for.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Caching, Feeding, Writing};

    fn body(one: bool) -> Bounded<()> {
        let expected = Expected { one, many: !one, most: MAX_REQUEST_BYTES, within: Duration::from_secs(1) };
        let (writing, feeding, caching) = (Writing::default(), Feeding::default(), Caching::default());
        Bounded::new((), expected, Arc::new(Metrics::new([], &writing, &feeding, &caching)))
    }

    #[test]
    fn a_message_is_refused_by_its_length_before_it_is_read() {
        let mut body = body(true);
        assert!(body.watch(&[0, 0, 0, 0, 3, b'a', b'b']).is_ok());
        assert!(body.watch(&[b'c', 0, 0, 0x40]).is_ok());
        let over = body.watch(&[0, 1]).unwrap_err();
        assert_eq!(over.code(), tonic::Code::ResourceExhausted);
    }

    #[test]
    fn a_body_ends_after_whole_messages() {
        let end = |one, piece: &[u8]| {
            let mut body = body(one);
            body.watch(piece).unwrap();
            body.end().is_ok()
        };
        assert!(end(true, &[0, 0, 0, 0, 1, b'a']) && end(true, &[0, 0, 0, 0, 0]) && end(false, &[]));
        assert!(!end(true, &[]) && !end(false, &[0, 0]) && !end(true, &[0, 0, 0, 0, 2, b'a']));
    }

    #[test]
    fn the_name_of_a_call_is_cut_in_the_log_and_not_within_a_character() {
        for call in crate::transport::calls() {
            let call = format!("attache.v1.{call}");
            assert_eq!(logged(&call), call);
        }
        assert_eq!(logged(&"x".repeat(MAX_LOGGED_RPC_BYTES + 1)), "x".repeat(MAX_LOGGED_RPC_BYTES));
        let wide = format!("x{}", "é".repeat(MAX_LOGGED_RPC_BYTES));
        assert_eq!(logged(&wide).len(), MAX_LOGGED_RPC_BYTES - 1);
    }

    #[test]
    fn a_deadline_is_read_in_every_unit() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(&TIMEOUT, HeaderValue::from_bytes(text.as_bytes()).unwrap());
            timeout_of(&headers)
        };
        assert_eq!(of("2S"), Some(Duration::from_secs(2)));
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("1H"), Some(Duration::from_secs(3600)));
        assert_eq!((of("S"), of("2"), of("999999999S"), of("é")), (None, None, None, None));
        assert_eq!((of("+2S"), of("-2S")), (None, None), "a sign is no digit");
    }
}

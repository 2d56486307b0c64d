//! The accept loop: our own, because a drain has to end even for a connection that never spoke (see ARCHITECTURE).

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rand::Rng as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tracing::field;

use super::{
    Calls, Services, Tls,
    calls::Places,
    cork::Cork,
    request::{self, Gate},
};
use crate::{
    access::{Access, Seen},
    limits::{
        CONNECTION_WINDOW_BYTES, HANDSHAKE_TIMEOUT, MAX_PUBLIC_STREAMS_PER_CONNECTION, MAX_STREAMS_PER_CONNECTION,
        STREAM_WINDOW_BYTES,
    },
    metrics::Metrics,
    tasks::{Tasks, if_any},
};

/// The first pause after a failed accept.
const MIN_BACK_OFF: Duration = Duration::from_millis(5);
/// The longest pause after failed accepts.
const MAX_BACK_OFF: Duration = Duration::from_secs(1);

/// How long a connection stays.
#[derive(Debug, Clone, Copy)]
pub struct Stay {
    /// After how long it is told to go, a tenth more or less; `None` is never.
    pub max_age: Option<Duration>,
    /// How long the requests of one that was told to go may take before it is cut.
    pub goodbye: Duration,
    /// How often a quiet one is asked whether it still lives.
    pub keep_alive: Duration,
    /// How long it may take to answer.
    pub keep_alive_timeout: Duration,
}

/// How connections are greeted, and for how long.
#[derive(Debug, Clone)]
pub struct Greeting {
    /// With which certificate; `None` is plaintext.
    pub tls: Option<Arc<Tls>>,
    /// Who may do what; `None` is everybody everything.
    pub access: Option<Arc<Access>>,
    /// How long each stays.
    pub stay: Stay,
    /// How many there may be at the same time; one more waits until one of them ends.
    pub most: usize,
    /// The places of the whole server's calls.
    pub calls: Calls,
    /// How long the message of a request may take to come as a whole.
    pub message_timeout: Duration,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Accepts connections until told to drain; each then ends in good order, or with `abort` at once.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    greeting: Greeting,
    tasks: Tasks,
    drain: CancellationToken,
    abort: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(greeting.most));
    let mut back_off = MIN_BACK_OFF;
    loop {
        let accepted = tokio::select! {
            () = drain.cancelled() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Some((stream, place)) => {
                back_off = MIN_BACK_OFF;
                let serving = connection(stream, services.clone(), greeting.clone(), drain.child_token());
                let abort = abort.clone();
                tasks.spawn("connection", async move {
                    tokio::select! {
                        () = serving => {}
                        () = abort.cancelled() => {}
                    }
                    drop(place);
                });
            }
            None => {
                // Out of descriptors, most likely: a pause, or the loop would spin.
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(MAX_BACK_OFF);
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // What is sent leaves at once, not when more has come together: what goes together `cork` knows better.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "nodelay");
            }
            Some((stream, place))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            None
        }
    }
}

/// Serves a connection; `leaving` is cancelled when it is to end, by a drain or by its age.
async fn connection(stream: TcpStream, services: Services, greeting: Greeting, leaving: CancellationToken) {
    let Greeting { tls, access, stay, most: _, calls, message_timeout, metrics } = greeting;
    let peer = stream.peer_addr().ok();
    let greeted = async {
        // Whoever looks whether the port is open says nothing, and hangs up.
        if !matches!(stream.peek(&mut [0]).await, Ok(1..)) {
            return Ok(None);
        }
        let (stream, proved) = match tls {
            None => (Box::new(stream) as Box<dyn Stream>, None),
            Some(tls) => {
                let (stream, proved) = tls.accept(stream).await?;
                (Box::new(stream) as Box<dyn Stream>, proved)
            }
        };
        let stream = Begun::read(stream).await?;
        Ok::<_, io::Error>(stream.map(|stream| (stream, proved)))
    };
    let greeted = tokio::select! {
        greeted = tokio::time::timeout(HANDSHAKE_TIMEOUT, greeted) => greeted,
        () = leaving.cancelled() => return,
    };
    match greeted {
        Ok(Ok(Some((stream, proved)))) => {
            if !stream.is_http2() {
                metrics.handshake_refused();
                tracing::debug!(peer = peer.map(field::display), "what came on a connection is not HTTP/2");
            }
            let open = metrics.connection();
            let (certificate, disowned) = proved.map(|of| (of.certificate, of.disowned)).unzip();
            let public = Places::new(MAX_PUBLIC_STREAMS_PER_CONNECTION);
            let seen = Seen::default();
            let goodbye = stay.goodbye;
            let gate =
                Gate { access, certificate, seen, leaving, goodbye, peer, calls, public, message_timeout, metrics };
            speak(stream, services, gate, stay, disowned).await;
            drop(open);
        }
        Ok(Ok(None)) => {}
        // Not a line for each at the usual level: whoever likes has them written.
        Ok(Err(error)) => {
            metrics.handshake_refused();
            tracing::debug!(%error, peer = peer.map(field::display), "a connection was not greeted");
        }
        Err(_) => {
            metrics.handshake_refused();
            tracing::debug!(peer = peer.map(field::display), "a connection did not begin in time");
        }
    }
}

/// How every client of HTTP/2 begins (RFC 9113, 3.4): one that does not is not waited for.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream of which the first bytes were read already.
struct Begun<S> {
    first: [u8; PREFACE.len()],
    /// How many of them there are, and were given back.
    read: usize,
    given: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> Begun<S> {
    /// Reads what every client says first; `None` of one that says nothing. What another says is left to HTTP/2 to refuse.
    async fn read(mut stream: S) -> io::Result<Option<Self>> {
        let (mut first, mut read) = ([0; PREFACE.len()], 0);
        while read < first.len() && first[..read] == PREFACE[..read] {
            match stream.read(&mut first[read..]).await? {
                0 => break,
                more => read += more,
            }
        }
        Ok((read > 0).then_some(Self { first, read, given: 0, stream }))
    }

    /// Whether its client said all of what those of HTTP/2 do.
    fn is_http2(&self) -> bool {
        self.first == *PREFACE
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.given < self.read {
            let more = into.remaining().min(self.read - self.given);
            into.put_slice(&self.first[self.given..self.given + more]);
            self.given += more;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Speaks HTTP/2 until either side is done, or for as long as the connection may stay. One that is old is told to go, and
/// has its goodbye for what is under way; so is one whose client proved who it is and is `disowned`: what rests on that
/// was ended already.
async fn speak(
    stream: impl Stream + 'static,
    services: Services,
    gate: Gate,
    stay: Stay,
    disowned: Option<impl Future<Output = ()>>,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(stay.keep_alive)
        .keep_alive_timeout(stay.keep_alive_timeout)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION);
    let (leaving, gate) = (gate.leaving.clone(), Arc::new(gate));
    // In a box: the task of a stream is moved as a whole, several times, when it begins and ends.
    let service =
        tower::service_fn(move |request| Box::pin(request::handle(services.clone(), Arc::clone(&gate), request)));
    let cork = Cork::new(stream);
    let connection = builder.serve_connection(TokioIo::new(cork.clone()), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let old = if_any(stay.max_age.map(|age| tokio::time::sleep(own_age(age))));
    let ended = tokio::select! {
        ended = cork.drive(connection.as_mut()) => ended,
        aged = async {
            tokio::select! {
                () = leaving.cancelled() => false,
                () = old => true,
                () = if_any(disowned) => true,
            }
        } => {
            // GOAWAY first: the client asks elsewhere from now on, and its watches are told to follow.
            connection.as_mut().graceful_shutdown();
            leaving.cancel();
            match aged {
                true => tokio::time::timeout(stay.goodbye, cork.drive(connection)).await.unwrap_or(Ok(())),
                // (A drain has a deadline of its own.)
                false => cork.drive(connection).await,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended abnormally");
    }
}

/// The age of one connection: many that were made together are not to come back together.
fn own_age(age: Duration) -> Duration {
    age.mul_f64(rand::rng().random_range(0.9..=1.1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ages_are_a_tenth_more_or_less_and_not_alike() {
        let age = Duration::from_secs(3600);
        let ages: BTreeSet<Duration> = (0..100).map(|_| own_age(age)).collect();
        let (least, most) = (age.mul_f64(0.9), age.mul_f64(1.1));
        assert!(ages.iter().all(|own| (least..=most).contains(own)), "{ages:?}");
        let (first, last) = (ages.first().unwrap(), ages.last().unwrap());
        assert!(*last - *first > age.mul_f64(0.01), "those that were made together go together: {first:?} to {last:?}");
    }

    #[tokio::test]
    async fn what_is_sent_on_a_connection_that_was_accepted_does_not_wait_for_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _place) = accept(&listener, &Arc::new(Semaphore::new(1))).await.expect("it is accepted");
        assert!(stream.nodelay().unwrap());
    }
}

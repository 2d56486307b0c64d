//! A link between clients and a server: a proxy that can be cut, frozen, deafened and roughened, and mended again.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

use crate::common::watching::patiently;

/// What a link takes from one side before the other has it, in bytes; what is more waits in the system's buffers.
const BUFFER_BYTES: usize = 16 * 1024;
/// How late a rough link carries a chunk, in milliseconds. What is said meanwhile goes with the next one.
const LATE_MS: Range<u64> = 1..80;
/// Chunks that a rough link carries one way before it breaks the connection. (Their number is drawn, not a chance for
/// each: so it is open when it breaks, and sure that it does.)
const LIFE: Range<usize> = 1..80;

/// It ends with this value, and with it whatever it carries.
pub struct Link {
    /// Its near end, where clients connect.
    pub address: SocketAddr,
    state: watch::Sender<State>,
    tally: Arc<Tally>,
    _listening: JoinSet<()>,
}

/// What a link does to what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Lets everything through.
    Open,
    /// Resets its connections, and every new one at once.
    Cut,
    /// Lets nothing through to the server, nor back: connections stay open, and new ones are accepted, into a black
    /// hole. What is said meanwhile arrives when it is mended.
    Frozen,
    /// Lets nothing through that the server says, though it hears everything. What it says meanwhile is lost, and with
    /// it its connection, which is closed when the link is mended.
    Deaf,
    /// Lets everything through in order but late, each chunk by another while, and breaks each connection sooner or
    /// later in the midst of a chunk. That is what TCP makes of packets that are late or lost: it sends them again and
    /// sorts them, or it gives up.
    Rough,
}

impl State {
    /// Whether what a server says is heard, sooner or later.
    fn is_heard(self) -> bool {
        matches!(self, Self::Open | Self::Rough)
    }
}

/// What a link counts.
#[derive(Default)]
struct Tally {
    /// Connections that it carries.
    carried: AtomicUsize,
    /// Chunks that were late because it was rough.
    late: AtomicUsize,
    /// Connections that broke because it was rough.
    broken: watch::Sender<usize>,
}

impl Link {
    /// An open link to a server. What becomes of one connection after another while it is rough is drawn from `rng`.
    pub fn to(server: SocketAddr, rng: StdRng) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("it can wait elsewhere");
        let listener = TcpListener::from_std(listener).expect("the runtime waits for it");
        let address = listener.local_addr().expect("it is bound");
        let (state, tally, mut listening) = (watch::Sender::new(State::Open), Arc::<Tally>::default(), JoinSet::new());
        listening.spawn(listen(listener, server, state.subscribe(), rng, Arc::clone(&tally)));
        Self { address, state, tally, _listening: listening }
    }

    /// From now on it does this.
    pub fn turn(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Whether it carries a connection.
    pub fn is_in_use(&self) -> bool {
        self.tally.carried.load(Ordering::SeqCst) > 0
    }

    /// Chunks that were late so far because it was rough.
    pub fn late(&self) -> usize {
        self.tally.late.load(Ordering::SeqCst)
    }

    /// Connections that broke so far because it was rough.
    pub fn broken(&self) -> usize {
        *self.tally.broken.borrow()
    }

    /// Waits until it broke so many connections.
    pub async fn until_broken(&self, count: usize) {
        let mut broken = self.tally.broken.subscribe();
        let enough = broken.wait_for(|broken| *broken >= count);
        patiently("the end of a connection over a rough link", enough).await.expect("the link is there");
    }
}

/// How a connection ended that was carried.
enum Ended {
    InOrder,
    /// In the midst of what it carried.
    Broken,
}

/// A connection that is counted as long as it is carried.
struct Carried(Arc<Tally>);

impl Carried {
    fn by(tally: &Arc<Tally>) -> Self {
        tally.carried.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(tally))
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.carried.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What becomes of one way of a connection while its link is rough.
struct Fate {
    rng: StdRng,
    /// Chunks that arrive whole before the next is torn.
    whole: usize,
    tally: Arc<Tally>,
}

impl Fate {
    /// Has a generator of its own, so that it does not depend on what others carry meanwhile.
    fn drawn(rng: &mut StdRng, tally: &Arc<Tally>) -> Self {
        let mut rng = StdRng::from_rng(rng);
        let whole = rng.random_range(LIFE);
        Self { rng, whole, tally: Arc::clone(tally) }
    }

    /// Keeps a chunk of so many bytes back for a while: how many of them arrive if it is torn.
    async fn keep_back(&mut self, bytes: usize) -> Option<usize> {
        // Nothing is waited for: to be late is the fault itself.
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(LATE_MS))).await;
        self.tally.late.fetch_add(1, Ordering::SeqCst);
        let is_torn = self.whole == 0;
        self.whole = self.whole.saturating_sub(1);
        is_torn.then(|| self.rng.random_range(0..bytes))
    }

    fn fulfilled(&self) -> Ended {
        self.tally.broken.send_modify(|broken| *broken += 1);
        Ended::Broken
    }
}

async fn listen(
    listener: TcpListener,
    server: SocketAddr,
    state: watch::Receiver<State>,
    mut rng: StdRng,
    tally: Arc<Tally>,
) {
    // Whatever is carried ends with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.expect("it accepts");
                let fates = [Fate::drawn(&mut rng, &tally), Fate::drawn(&mut rng, &tally)];
                connections.spawn(carry(client, server, state.clone(), fates, Carried::by(&tally)));
            }
            Some(ended) = connections.join_next() => ended.expect("a link does not panic"),
        }
    }
}

/// Carries one connection until either side ends it, or it breaks, or the link is cut.
async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    state: watch::Receiver<State>,
    fates: [Fate; 2],
    _carried: Carried,
) {
    let mut seen = state.clone();
    let is_reset = tokio::select! {
        biased;
        _ = until(&mut seen, |state| state == State::Cut) => true,
        ended = both_ways(&mut client, server, state, fates) => matches!(ended, Ok(Ended::Broken)),
    };
    if is_reset {
        // A reset instead of an end in good order; if the client went first, there is nobody to be told.
        let _ = client.set_zero_linger();
    }
}

async fn both_ways(
    client: &mut TcpStream,
    server: SocketAddr,
    mut state: watch::Receiver<State>,
    [there, back]: [Fate; 2],
) -> io::Result<Ended> {
    let connected = TcpStream::connect(server).await;
    if connected.is_err() {
        // That nobody is there is not heard through a link that lets nothing back.
        until(&mut state, State::is_heard).await;
    }
    let mut server = connected?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        ended = one_way(from_client, to_server, state.clone(), |_| false, there) => ended,
        ended = one_way(from_server, to_client, state, |state| state == State::Deaf, back) => ended,
    }
}

/// Passes on what one side says, in order, until it ends, or something that it says is lost.
async fn one_way(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    loses: fn(State) -> bool,
    mut fate: Fate,
) -> io::Result<Ended> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let said = from.read(&mut buffer).await;
        let is_rough = *state.borrow() == State::Rough;
        let torn = match said {
            Ok(bytes @ 1..) if is_rough => fate.keep_back(bytes).await,
            _ => None,
        };
        if loses(until(&mut state, |state| state != State::Frozen).await) {
            // No later byte may arrive without it. That it is over is not heard before the link is mended either.
            until(&mut state, State::is_heard).await;
            return Ok(Ended::InOrder);
        }
        match (said?, torn) {
            (0, _) => return Ok(Ended::InOrder),
            (bytes, None) => to.write_all(&buffer[..bytes]).await?,
            (_, Some(bytes)) => {
                to.write_all(&buffer[..bytes]).await?;
                return Ok(fate.fulfilled());
            }
        }
    }
}

/// Waits until a link is as it should be.
async fn until(state: &mut watch::Receiver<State>, is_so: fn(State) -> bool) -> State {
    let found = state.wait_for(|state| is_so(*state)).await.map(|state| *state);
    match found {
        Ok(state) => state,
        // The link is gone, and with it, in a moment, whoever waits here.
        Err(_) => std::future::pending().await,
    }
}

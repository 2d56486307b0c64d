//! What a connection writes, handed to the system at once.
//!
//! HTTP/2 copies small frames together and hands over a larger payload by itself (h2: from 256 bytes on), so that each
//! answer of a lookup would be a call of the system of its own, the dearest part of answering it. Here small writes are held
//! until the connection has written all that it has, and whoever is ready to answer had a few turns. Nothing waits for what is
//! not there yet.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::{HELD_BYTES, HELD_TURNS, HELD_WRITE_BYTES};

/// A stream to which writes are held back, until [`Cork::drive`] sends them. Clones are the same stream.
pub(super) struct Cork<S>(Arc<Mutex<Held<S>>>);

struct Held<S> {
    stream: S,
    /// What was written and not sent, from `sent` on; takes no memory while there is nothing.
    bytes: Vec<u8>,
    sent: usize,
    /// How many bytes were ever held.
    taken: u64,
    /// Whether the stream may have something that it was not asked to flush: TLS keeps what the socket does not take.
    unflushed: bool,
    /// Why nothing more can be sent, for whoever reads or writes next.
    failed: Option<io::Error>,
}

impl<S> Clone for Cork<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Cork<S> {
    /// Of a stream.
    pub fn new(stream: S) -> Self {
        let (bytes, sent, taken, unflushed, failed) = (Vec::new(), 0, 0, false, None);
        Self(Arc::new(Mutex::new(Held { stream, bytes, sent, taken, unflushed, failed })))
    }

    fn lock(&self) -> MutexGuard<'_, Held<S>> {
        // What a panic left half done is a connection's, which ends with it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drives a connection on this stream to its end, and sends what it wrote each time that it has no more, or that those who
    /// were ready had their turns.
    pub fn drive<'c, C>(&self, connection: Pin<&'c mut C>) -> Driven<'c, C, S> {
        Driven { connection, cork: self.clone(), seen: 0, turns: 0 }
    }
}

/// See [`Cork::drive`].
pub(super) struct Driven<'c, C, S> {
    connection: Pin<&'c mut C>,
    cork: Cork<S>,
    /// How many bytes had ever been held when it was driven last.
    seen: u64,
    /// How often others went first since it was last time to send.
    turns: u32,
}

impl<C: Future, S: AsyncWrite + Unpin> Future for Driven<'_, C, S> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        let this = &mut *self;
        let ended = this.connection.as_mut().poll(context);
        let mut held = this.cork.lock();
        let has_more = held.taken > this.seen && !held.bytes.is_empty();
        if ended.is_pending() && has_more && this.turns < HELD_TURNS {
            (this.seen, this.turns) = (held.taken, this.turns + 1);
            // Behind those who are ready on this worker now, whose answers can go with this one. (Not tokio's `yield_now`: that
            // waits until this very worker has nothing to do, while another could go on.)
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        (this.seen, this.turns) = (held.taken, 0);
        if let Poll::Ready(Err(error)) = held.send(context) {
            held.failed = Some(error);
            // It hears of it by what it does next.
            context.waker().wake_by_ref();
        }
        ended
    }
}

impl<S: AsyncWrite + Unpin> Held<S> {
    /// Sends what is held.
    fn send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            self.unflushed = true;
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.bytes[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                some => self.sent += some,
            }
        }
        (self.bytes, self.sent) = (Vec::new(), 0);
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Holds a write if it is small, and else hands it over after what was held. What is held is bounded: whoever writes more
    /// waits for the client.
    fn write(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
        hand_over: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if length > HELD_WRITE_BYTES || self.bytes.len() + length > HELD_BYTES {
            ready!(self.send(context))?;
        }
        if length > HELD_WRITE_BYTES {
            self.unflushed = true;
            return hand_over(Pin::new(&mut self.stream), context);
        }
        if self.bytes.is_empty() {
            self.bytes.reserve_exact(HELD_BYTES);
        }
        pieces.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        self.taken += length as u64;
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cork<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut held = self.lock();
        match held.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut held.stream).poll_read(context, into),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cork<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().write(context, &[IoSlice::new(bytes)], |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lock().write(context, pieces, |stream, context| stream.poll_write_vectored(context, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().stream.is_write_vectored()
    }

    /// Sends nothing yet: HTTP/2 flushes after each payload that it does not copy.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().unflushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.lock();
        ready!(held.send(context))?;
        Pin::new(&mut held.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        pin::pin,
        sync::atomic::{AtomicBool, Ordering},
        task::{Wake, Waker},
    };

    use proptest::prelude::*;
    use tokio::{io::AsyncWriteExt as _, sync::mpsc};

    use super::*;
    use crate::tasks::Tasks;

    /// A socket that takes so many bytes of each write; of none it says that it takes some later.
    #[derive(Default)]
    struct Socket {
        takes: VecDeque<usize>,
        /// What each write brought.
        writes: Vec<Vec<u8>>,
        /// How often it has nothing to say to a flush yet.
        slow_flushes: usize,
        is_flushed: bool,
        is_broken: bool,
    }

    impl Socket {
        fn taking(takes: impl IntoIterator<Item = usize>) -> Self {
            Self { takes: takes.into_iter().collect(), ..Self::default() }
        }
    }

    impl AsyncRead for Socket {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(context, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            if self.is_broken {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            // What nobody said is taken whole.
            let taken = self.takes.pop_front().unwrap_or(usize::MAX).min(all.len());
            if taken == 0 && !all.is_empty() {
                return Poll::Pending;
            }
            self.is_flushed = false;
            self.writes.push(all[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.slow_flushes.checked_sub(1) {
                Some(left) => {
                    self.slow_flushes = left;
                    Poll::Pending
                }
                None => {
                    self.is_flushed = true;
                    Poll::Ready(Ok(()))
                }
            }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Whether a connection asked to be driven again.
    #[derive(Default)]
    struct Asked(AtomicBool);

    impl Wake for Asked {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A connection that writes one after the other, as far as it gets, whenever it is driven, and reads then. It ends by an
    /// error alone.
    struct Connection {
        cork: Cork<Socket>,
        left: VecDeque<Vec<u8>>,
    }

    impl Connection {
        fn new(socket: Socket, writes: impl IntoIterator<Item = Vec<u8>>) -> Self {
            Self { cork: Cork::new(socket), left: writes.into_iter().filter(|write| !write.is_empty()).collect() }
        }

        /// Drives it for as long as it asks for that by itself.
        fn once(&mut self) -> Poll<io::Error> {
            let (cork, asked) = (self.cork.clone(), Arc::new(Asked::default()));
            let (waker, mut driven) = (Waker::from(Arc::clone(&asked)), cork.drive(Pin::new(self)));
            loop {
                let ended = Pin::new(&mut driven).poll(&mut Context::from_waker(&waker));
                if ended.is_ready() || !asked.0.swap(false, Ordering::Relaxed) {
                    return ended;
                }
            }
        }

        fn socket<T>(&self, look: impl FnOnce(&mut Socket) -> T) -> T {
            look(&mut self.cork.lock().stream)
        }

        fn held(&self) -> usize {
            self.cork.lock().bytes.len()
        }
    }

    impl Future for Connection {
        type Output = io::Error;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Error> {
            let mut cork = self.cork.clone();
            while let Some(bytes) = self.left.front_mut() {
                // In two pieces, as HTTP/2 writes a head and a payload, and flushes after each.
                let (head, payload) = bytes.split_at(bytes.len().min(9));
                let pieces = [IoSlice::new(head), IoSlice::new(payload)];
                match ready!(Pin::new(&mut cork).poll_write_vectored(context, &pieces)) {
                    Ok(written) => drop(bytes.drain(..written)),
                    Err(error) => return Poll::Ready(error),
                }
                if bytes.is_empty() {
                    self.left.pop_front();
                }
                assert!(Pin::new(&mut cork).poll_flush(context).is_ready());
            }
            Pin::new(&mut cork).poll_read(context, &mut ReadBuf::new(&mut [0])).map(Result::unwrap_err)
        }
    }

    #[test]
    fn small_writes_are_one_call_of_the_system_as_soon_as_there_are_no_more() {
        let answers: Vec<Vec<u8>> = (0..10).map(|number| vec![number; 800]).collect();
        let mut connection = Connection::new(Socket::default(), answers.clone());
        assert!(connection.once().is_pending());
        assert_eq!(connection.socket(|socket| std::mem::take(&mut socket.writes)), [answers.concat()]);
        assert!(connection.socket(|socket| socket.is_flushed));
        assert_eq!(connection.cork.lock().bytes.capacity(), 0, "who has nothing to send takes no memory");
    }

    #[tokio::test]
    async fn the_answers_of_all_who_are_ready_go_out_together() {
        let (cork, (answers, mut answered)) = (Cork::new(Socket::default()), mpsc::channel(2));
        let (mut stream, driven, tasks) = (cork.clone(), cork.clone(), Tasks::default());
        let connection = async move {
            while let Some(answer) = answered.recv().await {
                stream.write_all(&[answer; 100]).await.unwrap();
            }
        };
        let connection = tasks.spawn("connection", async move { driven.drive(pin!(connection)).await });
        // It is woken by the first answer before the second is begun.
        tasks.clone().spawn("first", async move {
            answers.try_send(1).unwrap();
            tasks.spawn("second", async move { answers.try_send(2).unwrap() });
        });
        connection.await.unwrap();
        assert_eq!(cork.lock().stream.writes, [[[1; 100], [2; 100]].concat()]);
    }

    /// A connection that writes a hundred bytes whenever it is driven, so many times.
    struct Talking {
        cork: Cork<Socket>,
        times: usize,
        driven: usize,
    }

    impl Future for Talking {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            self.driven += 1;
            if self.driven <= self.times {
                assert!(Pin::new(&mut self.cork.clone()).poll_write(context, &[7; 100]).is_ready());
            }
            Poll::Pending
        }
    }

    /// What goes out at once, in bytes, of a connection that writes so many times and is driven so often.
    fn talked(times: usize, driven: usize) -> Vec<usize> {
        let cork = Cork::new(Socket::default());
        let mut talking = Talking { cork: cork.clone(), times, driven: 0 };
        let mut driving = cork.drive(Pin::new(&mut talking));
        for _ in 0..driven {
            assert!(Pin::new(&mut driving).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        cork.lock().stream.writes.iter().map(Vec::len).collect()
    }

    #[test]
    fn whoever_always_has_more_is_sent_after_a_few_turns_and_whoever_has_not_after_one() {
        let together = HELD_TURNS as usize + 1;
        assert_eq!(talked(2 * together, 2 * together), [100 * together; 2]);
        assert_eq!((talked(1, 1), talked(1, 2)), (vec![], vec![100]));
    }

    #[test]
    fn what_a_stream_says_of_its_own_is_flushed_too() {
        let mut connection = Connection::new(Socket::default(), []);
        assert!(Pin::new(&mut connection.cork.clone()).poll_flush(&mut Context::from_waker(Waker::noop())).is_ready());
        assert!(!connection.socket(|socket| socket.is_flushed));
        assert!(connection.once().is_pending() && connection.socket(|socket| socket.is_flushed));
    }

    #[test]
    fn large_writes_are_handed_over_as_they_are_after_what_came_before() {
        let writes = [vec![1; 100], vec![2; HELD_WRITE_BYTES + 1], vec![3; 100]];
        let mut connection = Connection::new(Socket::default(), writes.clone());
        assert!(connection.once().is_pending());
        assert_eq!(connection.socket(|socket| std::mem::take(&mut socket.writes)), writes);
    }

    #[test]
    fn who_writes_more_than_is_held_waits_for_the_socket() {
        let writes = vec![vec![7; 1000]; 100];
        let mut connection = Connection::new(Socket::taking([0; 8]), writes.clone());
        assert!(connection.once().is_pending());
        let (held, left) = (connection.held(), connection.left.iter().map(Vec::len).sum::<usize>());
        assert!(held > 0 && held <= HELD_BYTES && held + left == 100_000, "{held} held, {left} left");
        connection.socket(|socket| socket.takes.clear());
        assert!(connection.once().is_pending());
        assert!(connection.held() == 0 && connection.left.is_empty());
        assert_eq!(connection.socket(|socket| socket.writes.concat()), writes.concat());
    }

    #[test]
    fn what_the_stream_keeps_to_itself_is_flushed_when_it_can_be() {
        for length in [100, HELD_WRITE_BYTES + 1] {
            let socket = Socket { slow_flushes: 1, ..Socket::default() };
            let mut connection = Connection::new(socket, [vec![1; length]]);
            assert!(connection.once().is_pending());
            assert!(!connection.socket(|socket| socket.is_flushed));
            assert!(connection.once().is_pending());
            assert!(connection.socket(|socket| socket.is_flushed), "{length} bytes");
        }
    }

    #[test]
    fn a_connection_hears_that_nothing_can_be_sent_any_more() {
        let socket = Socket { is_broken: true, ..Socket::default() };
        // It has nothing to read, and its write is taken.
        let Poll::Ready(error) = Connection::new(socket, [vec![1; 100]]).once() else { panic!("it never hears of it") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_stream_is_shut_down_after_all_was_sent() {
        let context = &mut Context::from_waker(Waker::noop());
        let mut cork = Cork::new(Socket::taking([0]));
        assert!(Pin::new(&mut cork).poll_write(context, b"goodbye").is_ready());
        assert!(Pin::new(&mut cork).poll_shutdown(context).is_pending());
        assert!(Pin::new(&mut cork).poll_shutdown(context).is_ready());
        assert_eq!(cork.lock().stream.writes, [b"goodbye"]);
    }

    proptest! {
        #[test]
        fn whatever_the_socket_takes_all_comes_once_and_in_order(
            lengths in prop::collection::vec(0_usize..2 * HELD_WRITE_BYTES, 0..40),
            takes in prop::collection::vec(prop_oneof![Just(0), 1..64_usize, 1..HELD_BYTES], 0..80),
            slow_flushes in 0_usize..4,
        ) {
            let writes: Vec<Vec<u8>> = lengths.iter().zip(0..).map(|(length, number)| vec![number; *length]).collect();
            // Each of those that take nothing ends a turn, and so does a slow flush; after them all is taken.
            let turns = takes.len() + slow_flushes + 1;
            let socket = Socket { slow_flushes, ..Socket::taking(takes) };
            let mut connection = Connection::new(socket, writes.clone());
            for _ in 0..turns {
                prop_assert!(connection.once().is_pending());
                prop_assert!(connection.held() <= HELD_BYTES);
            }
            prop_assert_eq!(connection.held() + connection.left.len(), 0);
            prop_assert_eq!(connection.socket(|socket| socket.writes.concat()), writes.concat());
            prop_assert!(writes.concat().is_empty() || connection.socket(|socket| socket.is_flushed));
        }
    }
}

//! A watch that survives the server: after a broken connection it goes on from the last token.

use std::time::Duration;

use tonic::{Status, Streaming};

use super::{
    client::Feed,
    error::{CliError, is_retryable},
    output, retry,
};
use crate::pb::v1::{
    WatchEventsRequest, WatchEventsResponse, watch_events_request::Start, watch_events_response::Frame,
};

/// So many failures in a row end it.
const MAX_FAILURES: u32 = 10;

/// A server that goes away is listened to up to this long.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Frames of a watch, in order, over as many connections as it takes.
pub struct Follower {
    client: Feed,
    request: WatchEventsRequest,
    stream: Option<Streaming<WatchEventsResponse>>,
    token: Option<String>,
    failures: u32,
    /// When a server sends the watch elsewhere: how long it asks to wait.
    pause: Option<Duration>,
    ended: bool,
}

impl Follower {
    /// Nothing is sent before the first frame is asked for.
    #[must_use]
    pub fn new(client: Feed, request: WatchEventsRequest) -> Self {
        Self { client, request, stream: None, token: None, failures: 0, pause: None, ended: false }
    }

    /// The position to resume with, once there was a frame.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The next frame; `None` after the end that the request asked for.
    ///
    /// # Errors
    ///
    /// What the server says, unless trying again may help; then the last of many refusals.
    pub async fn next(&mut self) -> Result<Option<WatchEventsResponse>, CliError> {
        while !self.ended {
            match self.receive().await {
                Ok(Some(frame)) => {
                    self.accept(&frame);
                    return Ok(Some(frame));
                }
                Ok(None) => self.recover(Status::unavailable("the stream ended without saying why")).await?,
                Err(status) => self.recover(status).await?,
            }
        }
        Ok(None)
    }

    async fn receive(&mut self) -> Result<Option<WatchEventsResponse>, Status> {
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep(pause).await;
        }
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.client.watch_events(self.request()).await?.into_inner(),
        };
        let frame = stream.message().await?;
        self.stream = Some(stream);
        Ok(frame)
    }

    /// From the last token, where there is one.
    fn request(&self) -> WatchEventsRequest {
        let mut request = self.request.clone();
        if let Some(token) = &self.token {
            request.start = Some(Start::After(token.clone()));
        }
        request
    }

    fn accept(&mut self, frame: &WatchEventsResponse) {
        self.token = Some(frame.token.clone());
        match &frame.frame {
            // A server that only ever starts is not well yet.
            Some(Frame::Started(_)) => return,
            Some(Frame::GoingAway(going)) => {
                output::note("the server is going away; going on from the last position");
                self.stream = None;
                let delay = going.retry_delay.and_then(|delay| Duration::try_from(delay).ok());
                self.pause = Some(delay.unwrap_or_default().min(MAX_PAUSE));
            }
            Some(Frame::FellBehind(behind)) => {
                output::note(format_args!("{} events behind; reading from the log", behind.lag_events));
            }
            Some(Frame::End(_)) => self.ended = true,
            _ => {}
        }
        self.failures = 0;
    }

    /// Waits, if it makes sense to try again; only a watch that had begun is resumed.
    async fn recover(&mut self, status: Status) -> Result<(), CliError> {
        self.stream = None;
        self.failures += 1;
        if self.token.is_none() || !is_retryable(&status) || self.failures > MAX_FAILURES {
            return Err(status.into());
        }
        let delay = retry::delay(&status, self.failures);
        let word = retry::word(&status);
        output::note(format_args!("connection lost ({word}); resuming from the last position in {delay:?}"));
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        net::SocketAddr,
        sync::{Arc, Mutex},
    };

    use tokio_stream::{Stream, wrappers::TcpListenerStream};
    use tonic::{Request, Response, transport::Server};

    use super::*;
    use crate::{
        cli::client::ServerArgs,
        domain::error::{Error, Reason},
        pb::v1::{
            self, CaughtUp, GoingAway, Started, WatchEnd,
            feed_service_server::{FeedService, FeedServiceServer},
        },
    };

    type Step = Result<WatchEventsResponse, Status>;

    /// Answers each watch with the next script, and remembers where each was asked to start.
    #[derive(Clone, Default)]
    struct Scripted {
        scripts: Arc<Mutex<VecDeque<Vec<Step>>>>,
        starts: Arc<Mutex<Vec<Option<Start>>>>,
    }

    #[tonic::async_trait]
    impl FeedService for Scripted {
        type WatchEventsStream = std::pin::Pin<Box<dyn Stream<Item = Step> + Send>>;

        async fn watch_events(
            &self,
            request: Request<WatchEventsRequest>,
        ) -> Result<Response<Self::WatchEventsStream>, Status> {
            self.starts.lock().unwrap().push(request.into_inner().start);
            let script = self.scripts.lock().unwrap().pop_front();
            let script = script.ok_or_else(|| Status::internal("no more scripts"))?;
            Ok(Response::new(Box::pin(tokio_stream::iter(script))))
        }

        async fn list_events(
            &self,
            _: Request<v1::ListEventsRequest>,
        ) -> Result<Response<v1::ListEventsResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn get_cursor(
            &self,
            _: Request<v1::GetCursorRequest>,
        ) -> Result<Response<v1::GetCursorResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn commit_cursor(
            &self,
            _: Request<v1::CommitCursorRequest>,
        ) -> Result<Response<v1::CommitCursorResponse>, Status> {
            Err(Status::unimplemented(""))
        }
    }

    fn frame(token: &str, frame: Frame) -> Step {
        Ok(WatchEventsResponse { token: token.into(), frame: Some(frame) })
    }

    fn draining() -> Status {
        Error::new(Reason::Draining, "draining").with_retry(Duration::from_millis(1)).into()
    }

    async fn follow(scripts: Vec<Vec<Step>>) -> (Follower, Scripted) {
        let server = Scripted { scripts: Arc::new(Mutex::new(scripts.into())), ..Scripted::default() };
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = FeedServiceServer::new(server.clone());
        let serving = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        crate::tasks::Tasks::default().spawn("scripted feed", async move {
            serving.await.expect("the scripted feed is served");
        });
        let connection =
            ServerArgs { server: address.to_string(), credential: Default::default() }.connect().await.unwrap();
        let request = WatchEventsRequest { start: Some(Start::Snapshot(())), ..WatchEventsRequest::default() };
        (Follower::new(connection.feed(), request), server)
    }

    async fn tokens(follower: &mut Follower) -> Result<Vec<String>, CliError> {
        let mut tokens = Vec::new();
        while let Some(frame) = follower.next().await? {
            tokens.push(frame.token);
        }
        Ok(tokens)
    }

    #[tokio::test]
    async fn a_broken_watch_goes_on_from_the_last_token() {
        let (mut follower, server) = follow(vec![
            vec![
                frame("t1", Frame::Started(Started::default())),
                frame("t2", Frame::CaughtUp(CaughtUp {})),
                Err(draining()),
            ],
            vec![frame("t2", Frame::Started(Started::default())), frame("t3", Frame::GoingAway(GoingAway::default()))],
            vec![frame("t3", Frame::Started(Started::default())), frame("t4", Frame::End(WatchEnd {}))],
        ])
        .await;
        assert_eq!(tokens(&mut follower).await.unwrap(), ["t1", "t2", "t2", "t3", "t3", "t4"]);
        let starts = server.starts.lock().unwrap().clone();
        let after = |token: &str| Some(Start::After(token.into()));
        assert_eq!(starts, [Some(Start::Snapshot(())), after("t2"), after("t3")]);
    }

    #[tokio::test]
    async fn a_watch_that_never_began_is_not_repeated() {
        let (mut follower, server) = follow(vec![vec![Err(draining())], vec![]]).await;
        assert_eq!(tokens(&mut follower).await.unwrap_err().exit_code(), 3);
        assert_eq!(server.starts.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn an_error_that_waiting_does_not_cure_ends_the_watch() {
        let replaced = Error::new(Reason::LogReplaced, "another log").into();
        let (mut follower, server) =
            follow(vec![vec![frame("t1", Frame::Started(Started::default())), Err(replaced)], vec![]]).await;
        assert_eq!(tokens(&mut follower).await.unwrap_err().exit_code(), 1);
        assert_eq!(server.starts.lock().unwrap().len(), 1);
        assert_eq!(follower.token(), Some("t1"));
    }

    #[tokio::test]
    async fn a_server_that_only_ever_starts_is_given_up_on() {
        let started = || vec![frame("t1", Frame::Started(Started::default())), Err(draining())];
        let (mut follower, server) = follow((0..20).map(|_| started()).collect()).await;
        assert_eq!(tokens(&mut follower).await.unwrap_err().exit_code(), 3);
        assert_eq!(server.starts.lock().unwrap().len(), MAX_FAILURES as usize + 1);
    }
}

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
        Self {
            client,
            request,
            stream: None,
            token: None,
            failures: 0,
            pause: None,
            ended: false,
        }
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
                Ok(None) => {
                    self.recover(Status::unavailable("the stream ended without saying why"))
                        .await?
                }
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
                self.pause = Some(delay.unwrap_or_default());
            }
            Some(Frame::FellBehind(behind)) => {
                output::note(format_args!(
                    "{} events behind; reading from the log",
                    behind.lag_events
                ));
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
        output::note(format_args!(
            "connection lost ({word}); resuming from the last position in {delay:?}"
        ));
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

//! Batches over one stream, a bounded number unanswered; a stream that breaks is opened again at the first of them.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    cli::{client::Filing, error::CliError, retry},
    import::batch::Batch,
    pb::v1::{ImportReportsRequest, ImportReportsResponse},
};

/// Batches that are sent and not answered.
const IN_FLIGHT: usize = 8;

/// Why it ended early, and the first batch that was not answered.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub error: CliError,
    /// The first that was not answered.
    pub batch: Option<Batch>,
}

/// Sends every batch in order and hands over each answer. What may succeed later is tried again, at most three times
/// without an answer in between; the request ids make that safe.
///
/// A server that ends a stream while batches are on their way resets it, and what it said last can be lost on the way back.
/// So the next stream begins with one batch alone, whose answer nothing can overtake, and widens with each answer.
///
/// # Errors
///
/// What ended it; what was answered stands.
pub async fn send(
    client: &Filing,
    batches: impl Iterator<Item = Batch>,
    mut answered: impl FnMut(Batch, ImportReportsResponse) -> Result<(), CliError>,
) -> Result<(), Ended> {
    let mut queue = Queue { batches, waiting: VecDeque::with_capacity(IN_FLIGHT) };
    let (mut attempt, mut window) = (1, IN_FLIGHT);
    loop {
        let mut progressed = false;
        let result = stream(client, &mut queue, window, &mut |batch, answer| {
            progressed = true;
            answered(batch, answer)
        })
        .await;
        if progressed {
            attempt = 1;
        }
        window = 1;
        match result {
            Ok(()) => return Ok(()),
            Err(Broke::Status(status)) if attempt < retry::MAX_ATTEMPTS && retry::worth_repeating(&status) => {
                retry::pause(&status, attempt).await;
                attempt += 1;
            }
            Err(Broke::Status(status)) => return Err(queue.ended(status.into())),
            Err(Broke::Here(error)) => return Err(queue.ended(error)),
        }
    }
}

/// Why one stream ended.
enum Broke {
    Status(Status),
    Here(CliError),
}

impl From<Status> for Broke {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// What is still to be sent, and what waits for its answer.
struct Queue<I> {
    batches: I,
    waiting: VecDeque<Batch>,
}

impl<I: Iterator<Item = Batch>> Queue<I> {
    /// Sends until so many are unanswered. The channel has room for them; if its other end has gone, the server has ended
    /// the stream, and its answers say why. When all is sent our side is closed, which tells the server that this is all.
    fn send(&mut self, sender: &mut Option<mpsc::Sender<ImportReportsRequest>>, sent: &mut usize, window: usize) {
        while let Some(open) = sender.as_ref().filter(|_| *sent < window) {
            if *sent == self.waiting.len() {
                match self.batches.next() {
                    Some(batch) => self.waiting.push_back(batch),
                    None => {
                        *sender = None;
                        return;
                    }
                }
            }
            match open.try_send(self.waiting[*sent].request.clone()) {
                Ok(()) => *sent += 1,
                Err(_) => *sender = None,
            }
        }
    }

    fn ended(&self, error: CliError) -> Ended {
        Ended { error, batch: self.waiting.front().cloned() }
    }
}

/// One stream, from the first batch that was not answered to the end; at first so many batches at once.
async fn stream<I: Iterator<Item = Batch>>(
    client: &Filing,
    queue: &mut Queue<I>,
    mut window: usize,
    answered: &mut impl FnMut(Batch, ImportReportsResponse) -> Result<(), CliError>,
) -> Result<(), Broke> {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let mut sender = Some(sender);
    // So many of those that wait were sent on this stream.
    let mut sent = 0;
    queue.send(&mut sender, &mut sent, window);
    if queue.waiting.is_empty() {
        return Ok(());
    }
    let mut answers = client.clone().import_reports(ReceiverStream::new(receiver)).await?.into_inner();
    while !queue.waiting.is_empty() {
        let Some(answer) = answers.message().await? else {
            return Err(Status::unavailable("the server ended the stream before everything was answered").into());
        };
        let batch = answer_to(queue, &answer)?;
        answered(batch, answer).map_err(Broke::Here)?;
        sent -= 1;
        window = IN_FLIGHT.min(window + 1);
        queue.send(&mut sender, &mut sent, window);
    }
    match answers.message().await? {
        None => Ok(()),
        Some(_) => Err(Broke::Here(CliError::Broken("an import was answered more often than it asked"))),
    }
}

fn answer_to<I>(queue: &mut Queue<I>, answer: &ImportReportsResponse) -> Result<Batch, Broke> {
    let fits = |batch: &Batch| {
        batch.request.request_id == answer.request_id
            && batch.rows.len() == answer.results.len()
            && answer.results.iter().enumerate().all(|(i, result)| result.index as usize == i)
    };
    match queue.waiting.pop_front() {
        Some(batch) if fits(&batch) => Ok(batch),
        _ => Err(Broke::Here(CliError::Broken("the answer to a batch is not about that batch"))),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        pin::Pin,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
    use tonic::{Request, Response, Streaming, transport::Server};

    use super::*;
    use crate::{
        cli::client::ServerArgs,
        domain::error::{Error, Reason},
        pb::v1::{
            self, FilingResult, ImportResult,
            filing_service_server::{FilingService, FilingServiceServer},
            import_result,
        },
    };

    /// What one stream does: answers the batches before this one, then ends like this.
    type Script = (usize, Option<Reason>);

    /// Plays one script for each stream, and remembers what each was sent.
    #[derive(Clone, Default)]
    struct Scripted {
        scripts: Arc<Mutex<Vec<Script>>>,
        /// The request ids that each stream answered.
        answered: Arc<Mutex<Vec<Vec<String>>>>,
    }

    fn answer(request: &ImportReportsRequest) -> ImportReportsResponse {
        let result =
            |index| ImportResult { index, outcome: Some(import_result::Outcome::Result(FilingResult::default())) };
        ImportReportsResponse {
            request_id: request.request_id.clone(),
            results: (0..u32::try_from(request.items.len()).unwrap()).map(result).collect(),
            ..ImportReportsResponse::default()
        }
    }

    #[tonic::async_trait]
    impl FilingService for Scripted {
        type ImportReportsStream = Pin<Box<dyn Stream<Item = Result<ImportReportsResponse, Status>> + Send>>;

        async fn import_reports(
            &self,
            requests: Request<Streaming<ImportReportsRequest>>,
        ) -> Result<Response<Self::ImportReportsStream>, Status> {
            let (stop, end) = self.scripts.lock().unwrap().remove(0);
            let stream = self.answered.lock().unwrap().len();
            self.answered.lock().unwrap().push(Vec::new());
            let answered = Arc::clone(&self.answered);
            let is_before = move |request: &Result<ImportReportsRequest, Status>| {
                request.as_ref().is_ok_and(|request| request.request_id.parse::<usize>().unwrap() < stop)
            };
            let good = requests.into_inner().take_while(is_before).map(move |request| {
                let request = request?;
                answered.lock().unwrap()[stream].push(request.request_id.clone());
                Ok(answer(&request))
            });
            let end = end.map(|reason| Err(Error::new(reason, "scripted").with_retry(Duration::from_millis(1)).into()));
            Ok(Response::new(Box::pin(good.chain(tokio_stream::iter(end)))))
        }

        async fn file_reports(
            &self,
            _: Request<v1::FileReportsRequest>,
        ) -> Result<Response<v1::FileReportsResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn retract_reports(
            &self,
            _: Request<v1::RetractReportsRequest>,
        ) -> Result<Response<v1::RetractReportsResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn retract_record(
            &self,
            _: Request<v1::RetractRecordRequest>,
        ) -> Result<Response<v1::RetractRecordResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn restore_record(
            &self,
            _: Request<v1::RestoreRecordRequest>,
        ) -> Result<Response<v1::RestoreRecordResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn merge_records(
            &self,
            _: Request<v1::MergeRecordsRequest>,
        ) -> Result<Response<v1::MergeRecordsResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn unmerge_records(
            &self,
            _: Request<v1::UnmergeRecordsRequest>,
        ) -> Result<Response<v1::UnmergeRecordsResponse>, Status> {
            Err(Status::unimplemented(""))
        }
    }

    fn batches(many: usize) -> impl Iterator<Item = Batch> {
        (0..many).map(|number| Batch {
            request: ImportReportsRequest {
                request_id: number.to_string(),
                items: vec![v1::ImportItem::default()],
                ..ImportReportsRequest::default()
            },
            rows: vec![number],
        })
    }

    /// Sends so many batches to a server that plays these scripts: how it ended, the rows that were answered, and the
    /// ids that each stream answered.
    async fn play(many: usize, scripts: &[Script]) -> (Result<(), Ended>, Vec<usize>, Vec<Vec<String>>) {
        let server = Scripted { scripts: Arc::new(Mutex::new(scripts.to_vec())), ..Scripted::default() };
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = Server::builder()
            .add_service(FilingServiceServer::new(server.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let mut rows = Vec::new();
        let sending = async {
            let client = ServerArgs { server: url, credential: Default::default() }.connect().await.unwrap().filing();
            send(&client, batches(many), |batch, _| {
                rows.extend(batch.rows);
                Ok(())
            })
            .await
        };
        let ended = tokio::select! {
            ended = sending => ended,
            served = serving => panic!("{served:?}"),
        };
        let answered = server.answered.lock().unwrap().clone();
        (ended, rows, answered)
    }

    #[tokio::test]
    async fn every_batch_is_answered_once_and_in_order() {
        let (ended, rows, _) = play(30, &[(usize::MAX, None)]).await;
        ended.unwrap();
        assert_eq!(rows, (0..30).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_stream_that_ends_goes_on_with_the_first_batch_that_was_not_answered() {
        for end in [Some(Reason::Draining), Some(Reason::OutcomeUnknown), None] {
            let (ended, rows, streams) = play(30, &[(11, end), (usize::MAX, None)]).await;
            ended.unwrap();
            assert_eq!(rows, (0..30).collect::<Vec<_>>(), "{end:?}");
            // The last answers of a stream that breaks may be lost on the way.
            let again: usize = streams[1][0].parse().unwrap();
            assert!((3..=11).contains(&again), "{end:?}: {again}");
        }
    }

    #[tokio::test]
    async fn progress_gives_new_attempts_and_none_ends_it_after_three() {
        let short: Vec<Script> = (1..6).map(|stop| (stop, Some(Reason::Draining))).collect();
        let (ended, rows, _) = play(6, &[short, vec![(usize::MAX, None)]].concat()).await;
        ended.unwrap();
        assert_eq!(rows, (0..6).collect::<Vec<_>>());
        let (ended, rows, streams) = play(6, &[(0, Some(Reason::Draining)); 4]).await;
        assert!(matches!(ended.unwrap_err().error, CliError::Refused(_)));
        assert_eq!((rows.len(), streams.len()), (0, 3));
    }

    #[tokio::test]
    async fn a_refused_batch_ends_it_and_is_named() {
        let (ended, rows, _) = play(30, &[(4, Some(Reason::RequestIdReused)); 4]).await;
        let ended = ended.unwrap_err();
        assert_eq!(rows, [0, 1, 2, 3]);
        assert_eq!(ended.batch.unwrap().rows, [4]);
        assert!(ended.error.to_string().starts_with("REQUEST_ID_REUSED"), "{}", ended.error);
        assert_eq!(ended.error.exit_code(), crate::cli::error::EXIT_REFUSED);
    }

    #[tokio::test]
    async fn nothing_to_send_asks_nobody() {
        let (ended, rows, streams) = play(0, &[]).await;
        ended.unwrap();
        assert!(rows.is_empty() && streams.is_empty());
    }
}

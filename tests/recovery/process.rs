//! The program as it is shipped, in a process of its own.

use std::{
    ffi::OsStr,
    future::poll_fn,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    task::Poll,
};

use attache::pb::v1::{
    feed_service_client::FeedServiceClient, filing_service_client::FilingServiceClient,
    log_service_client::LogServiceClient, registry_service_client::RegistryServiceClient,
};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

const ANNOUNCEMENT: &str = "listening on http://";
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// `attache serve` on a free port, with its log at warnings.
pub fn serve() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attache"));
    command.args(["serve", "--listen", "127.0.0.1:0"]).env("ATTACHE_LOG", "warn").stdin(Stdio::null());
    command
}

/// `attache serve` on a folder.
pub fn serve_at(folder: &Path) -> Command {
    let mut command = serve();
    command.arg("--data-dir").arg(folder);
    command
}

/// Runs a command that is expected not to serve: its exit code and what it wrote to standard error.
pub fn refused(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
    output.read_line(&mut line).expect("its output is text");
    if !line.is_empty() {
        let _ = child.kill();
        panic!("it serves, or says that it does: {line:?}, {:?}", child.wait());
    }
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A server; it is killed with this value.
pub struct Process {
    child: Child,
    address: String,
    /// Held open, so that the server can go on printing.
    _output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts it, and waits until it listens.
    pub fn start(command: &mut Command) -> Self {
        Self::try_start(command).unwrap_or_else(|status| panic!("the server does not serve, and ended with {status}"))
    }

    /// The same, or how it ended before it listened.
    pub fn try_start(command: &mut Command) -> Result<Self, ExitStatus> {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the server prints where it listens");
        match line.trim_end().strip_prefix(ANNOUNCEMENT) {
            Some(address) => Ok(Self { child, address: address.to_owned(), _output: output }),
            // It says nothing else, and nothing if it ends.
            None => Err(child.wait().expect("it ends")),
        }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it can be asked")
    }

    pub fn at(folder: &Path) -> Self {
        Self::start(&mut serve_at(folder))
    }

    /// Where it listens, as host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).expect("an address")
    }

    /// A connection of its own.
    pub fn channel(&self) -> Channel {
        self.endpoint().connect_lazy()
    }

    pub fn filing(&self) -> FilingServiceClient<Channel> {
        filing(self.channel())
    }

    pub fn feed(&self) -> FeedServiceClient<Channel> {
        feed(self.channel())
    }

    pub fn registry(&self) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub fn log(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel())
    }

    /// SIGKILL: it gets no chance to do anything.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM to this process alone.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([OsStr::new("-TERM"), OsStr::new(&id)]).status().expect("kill runs");
        assert!(status.success());
    }

    /// Waits until it ends by itself; blocks.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn filing(channel: Channel) -> FilingServiceClient<Channel> {
    FilingServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

pub fn feed(channel: Channel) -> FeedServiceClient<Channel> {
    FeedServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// Holds the store's write lock: the writer waits, for up to its busy timeout.
pub struct Held(rusqlite::Connection);

impl Held {
    pub fn hold(folder: &Path) -> Self {
        let connection = rusqlite::Connection::open(folder.join(attache::store::FILE)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
        Self(connection)
    }

    pub fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

/// Has the store refuse to keep a record of this name.
pub fn poison(folder: &Path, name: &str) {
    let connection = rusqlite::Connection::open(folder.join(attache::store::FILE)).unwrap();
    let trigger = format!(
        "CREATE TRIGGER \"{name}\" BEFORE INSERT ON records WHEN NEW.name = '{name}' BEGIN SELECT RAISE(ABORT, 'poison'); END"
    );
    connection.execute_batch(&trigger).expect("nobody writes");
}

/// Sends a request: done once the connection has it, before what is sent later. Gives back what waits for the answer.
pub async fn sent<T: Send + 'static>(call: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    let mut call = Box::pin(call);
    let answered = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
    tokio::spawn(async move {
        match answered {
            Poll::Ready(answer) => answer,
            Poll::Pending => call.await,
        }
    })
}

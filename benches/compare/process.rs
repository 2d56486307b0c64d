//! Processes of others, which end with their handles.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use crate::Outcome;

/// A server that is not ready by then will not be.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Who was asked to end is killed after so long.
const END_LIMIT: Duration = Duration::from_secs(20);
/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Looks at a process that is let go of.
const LAST_LOOKS: usize = 3;
/// Last lines that are kept for the case that it fails.
const LAST_LINES: usize = 20;
/// Lines that wait to be looked at; more are only kept as the last ones.
const LINES: usize = 256;

type LastLines = Arc<Mutex<VecDeque<String>>>;

/// A process that was started here.
pub struct Process {
    name: &'static str,
    child: Child,
    lines: Receiver<String>,
    last: LastLines,
    /// Whether it is asked to end before it is killed: it has a store to close.
    asked: bool,
}

impl Process {
    /// Starts one; its output is kept to itself.
    pub fn start(name: &'static str, command: &mut Command) -> Outcome<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{name} cannot be started: {error}"))?;
        let (sender, lines) = sync_channel(LINES);
        let last = LastLines::default();
        if let Some(output) = child.stdout.take() {
            listen(output, sender.clone(), Arc::clone(&last));
        }
        if let Some(output) = child.stderr.take() {
            listen(output, sender, Arc::clone(&last));
        }
        Ok(Self { name, child, lines, last, asked: false })
    }

    /// The same, but asked to end before it is killed.
    pub fn asked_to_end(mut self) -> Self {
        self.asked = true;
        self
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What a line of its output says, as soon as one does.
    pub fn told<T>(&self, read: impl Fn(&str) -> Option<T>) -> Outcome<T> {
        self.told_within(START_LIMIT, read)
    }

    /// The same of one that may take longer.
    pub fn told_within<T>(&self, limit: Duration, read: impl Fn(&str) -> Option<T>) -> Outcome<T> {
        let began = Instant::now();
        loop {
            match self.lines.recv_timeout(limit.saturating_sub(began.elapsed())) {
                Ok(line) => {
                    if let Some(told) = read(&line) {
                        return Ok(told);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.trouble("did not say that it is ready")),
                Err(RecvTimeoutError::Disconnected) => return Err(self.trouble("ended before it was ready")),
            }
        }
    }

    /// Its end, and whether that is a good one.
    pub async fn end(&mut self, limit: Duration) -> Outcome<()> {
        let began = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.trouble(&format!("ended with {status}"))),
                None if began.elapsed() > limit => return Err(self.trouble("takes too long")),
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// The same of one that is asked to end now.
    pub async fn stop(&mut self, limit: Duration) -> Outcome<()> {
        self.ask();
        self.end(limit).await
    }

    /// The last lines of its output.
    pub fn last_lines(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().map(|line| format!("\n  | {line}")).collect()
    }

    /// An error with its last words.
    pub fn trouble(&self, what: &str) -> Box<dyn std::error::Error + Send + Sync> {
        format!("{} {what}; its last output:{}", self.name, self.last_lines()).into()
    }

    /// How it ended, if it did. Its connections are cut before its end is known: it is given a moment.
    fn ended(&mut self) -> Option<ExitStatus> {
        for _ in 0..LAST_LOOKS {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(LOOK);
        }
        None
    }

    fn ask(&mut self) {
        let asked = Command::new("kill").arg("-TERM").arg(self.id().to_string()).status();
        let began = Instant::now();
        while asked.as_ref().is_ok_and(ExitStatus::success) && began.elapsed() < END_LIMIT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        match self.ended() {
            Some(status) if !status.success() => {
                eprintln!("{} ended by itself ({status}); its last output:{}", self.name, self.last_lines());
            }
            Some(_) => {}
            None => {
                if self.asked {
                    self.ask();
                }
                // It may be gone already.
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
    }
}

/// Reads to the end of an output, so that the process never waits for a reader.
fn listen(output: impl Read + Send + 'static, sender: SyncSender<String>, last: LastLines) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.len() == LAST_LINES {
                    last.pop_front();
                }
                last.push_back(line.clone());
            }
            // Nobody looks for lines once it is ready.
            let _ = sender.try_send(line);
        }
    });
}

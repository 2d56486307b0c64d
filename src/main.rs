//! Arguments ► telemetry ► runtime ► exit code.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::{io, net::TcpListener, pin::pin, process::ExitCode};

use attache::{
    cli::{self, Command, moves_args::Way, output, serve_args::ServeArgs},
    config::Config,
    failpoints,
    limits::LEFT_BEHIND,
    local::{self, EXIT_USAGE},
    moves::Move,
    serve::{self, Parts, Server},
    telemetry,
};
use listenfd::ListenFd;
use rustix::fs::Mode;
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// Filings make and free many small pieces: with the system's allocator that is a tenth of the writer's time. It asks for no
/// huge pages (its feature `no_thp`): see [`keep_to_small_pages`]. SQLite's memory is its too where the C library is GNU's
/// (`override`): readers drop their pages after each commit, and that library's arenas grew by half a mebibyte a minute over it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The journal has left a replica behind, which begins anew when it is started again: "try again" of BSD's sysexits.
const EXIT_START_AGAIN: u8 = 75;

fn main() -> ExitCode {
    keep_to_small_pages();
    failpoints::arm();
    let command = match cli::parse() {
        Ok(cli) => cli.command,
        Err(code) => return code,
    };
    if writes_stores(&command) {
        // What it keeps is nobody else's to read.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::note(format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        match command {
            Command::Serve(args) => serve(&args).await,
            Command::Doctor(args) => local::doctor(&args).await,
            Command::Reseed(args) => local::move_log(Move::Reseed, &args).await,
            Command::Migrate(args) => match &args.way {
                Way::ToStream(args) => local::move_log(Move::ToStream, args).await,
                Way::ToEmbedded(args) => local::move_log(Move::ToEmbedded, args).await,
            },
            Command::RestoreBackup(args) => local::restore_backup(&args).await,
            Command::Verify(args) if !args.is_of_a_server() => local::verify(&args).await,
            command => match cli::run(command).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    output::error(&error);
                    ExitCode::from(error.exit_code())
                }
            },
        }
    });
    // What is still copied for somebody who has gone is waited for as long as that takes to be given up.
    runtime.shutdown_timeout(LEFT_BEHIND);
    code
}

/// Has the system give no huge pages, where it gives them to whoever does not ask: they keep what is freed resident, and come
/// and go with no load that explains it.
fn keep_to_small_pages() {
    // A system that knows nothing of them gives none.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Whether files that it writes hold what is in a store.
fn writes_stores(command: &Command) -> bool {
    matches!(
        command,
        Command::Serve(_) | Command::Reseed(_) | Command::Migrate(_) | Command::Backup(_) | Command::RestoreBackup(_)
    )
}

async fn serve(args: &ServeArgs) -> ExitCode {
    // First of all: who puts a certificate in its place may say so while a store is brought up to this version.
    let mut signals = match Signals::heard() {
        Ok(signals) => signals,
        Err(error) => {
            output::note(format!("signals cannot be heard: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let begun = Config::load(args).map_err(|e| e.to_string());
    let (config, traces) = match begun.and_then(|config| telemetry::serve(&config).map(|traces| (config, traces))) {
        Ok(begun) => begun,
        Err(error) => {
            output::note(&error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let parts = match handed_over() {
        Ok(listener) => Parts { listener, ..Parts::default() },
        Err(why) => {
            output::note(why);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let server = match build(&config, parts, &mut signals).await {
        Ok(server) => server,
        Err(code) => return code,
    };
    announce(&server);
    tell_supervisor(&[NotifyState::Ready]);
    let (reloader, draining) = (server.reloader(), server.hub().draining().clone());
    let mut running = pin!(server.run(signals.until_asked_to_stop(reloader)));
    // It may end by itself.
    let ended = tokio::select! {
        ended = &mut running => Some(ended),
        () = draining.cancelled() => None,
    };
    // (With nobody to wait for, a drain may have begun and ended at once.)
    if draining.is_cancelled() {
        tell_supervisor(&[NotifyState::Stopping]);
    }
    let ended = match ended {
        Some(ended) => ended,
        None => running.await,
    };
    // Nothing else runs any more that it would hold up.
    traces.end();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&error.message);
            if serve::is_left_behind(&error) { ExitCode::from(EXIT_START_AGAIN) } else { ExitCode::FAILURE }
        }
    }
}

/// The socket that whoever started this has bound (`systemd.socket`), which is taken in place of the configuration's.
fn handed_over() -> Result<Option<TcpListener>, String> {
    let mut sockets = ListenFd::from_env();
    // Who connects to another would wait for ever.
    if sockets.len() > 1 {
        let came = sockets.len();
        return Err(format!(
            "one socket is served; {came} were handed over: leave one ListenStream= of the socket's unit (an empty one in a \
             drop-in takes back those before it)"
        ));
    }
    let listener = sockets.take_tcp_listener(0);
    listener.map_err(|error| format!("the socket that was handed over cannot be listened on: {error}"))
}

/// Builds the server; what to exit with if it cannot be, or is told to stop meanwhile.
async fn build(config: &Config, parts: Parts, signals: &mut Signals) -> Result<Server, ExitCode> {
    let built = tokio::select! {
        built = serve::build(config, parts) => built,
        () = signals.end() => {
            // What is done to the store is a transaction, or is begun anew by the next start.
            tracing::info!("told to stop before anything was served");
            return Err(ExitCode::SUCCESS);
        }
    };
    built.map_err(|error| {
        output::note(&error.message);
        if serve::is_told_wrong(&error) { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
    })
}

/// Tells whoever supervises this process (`sd_notify(3)`), if anybody does.
fn tell_supervisor(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the supervisor could not be told");
    }
}

/// Says where the server listens, first of all and on a line of its own: programs read it.
fn announce(server: &Server) {
    let scheme = if server.is_secure() { "https" } else { "http" };
    let mut lines = vec![
        format!("listening on {scheme}://{}", server.address()),
        format!("store in {}", server.folder().display()),
    ];
    if let Some(admin) = server.admin_address() {
        lines.push(format!("metrics at http://{admin}/metrics"));
    }
    if let Some(loaded) = server.loaded() {
        lines.push(loaded.to_string());
        lines.push("try, in another terminal:".to_owned());
        let flag = match server.address().to_string() {
            default if default == attache::config::DEFAULT_LISTEN && !server.is_secure() => String::new(),
            other => format!(" --server {scheme}://{other}"),
        };
        for command in
            ["list visits --state AZ --state KZ", "get visits/kz-mod-az-2023-10 --explain", "watch --from oldest"]
        {
            lines.push(format!("  attache {command}{flag}"));
        }
    }
    lines.push(String::new());
    // Nobody reads it where nobody started the server by hand.
    let _ = output::text(lines.join("\n").as_bytes());
}

/// The signals that a server hears. From its making on none of them ends the process by itself.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn heard() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Done at the first SIGINT or SIGTERM.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// The same. At SIGHUP, and for one that came before, the files of TLS and access are read again.
    async fn until_asked_to_stop(mut self, reloader: mpsc::Sender<()>) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                // One that waits to be heard says the same.
                Some(()) = self.hangup.recv() => drop(reloader.try_send(())),
            }
        }
    }
}

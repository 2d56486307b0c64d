//! Where the server's memory is: the heap of a server in this process, by the places that allocated what still lives.
//!
//! `cargo bench --bench heap` serves each kind of work in turn to a client in a process of its own, stops the clock in the
//! middle of it, and prints the living bytes and who holds them. SQLite's memory is not counted (its caches are bounded in
//! `limits.rs`), nor is the stack.

use std::{
    collections::BTreeMap,
    error::Error,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use attache::{
    config::{Config, DataDir, LogFormat},
    feed,
    serve::{self, Parts},
};
use clap::Parser;
use serde::Deserialize;
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Where the server's memory is, by kind of work
#[derive(Parser)]
struct Args {
    /// Idle subscribers
    #[arg(long, default_value_t = 5_000)]
    idle: usize,
    /// Places to show for each kind of work
    #[arg(long, default_value_t = 10)]
    places: usize,
    /// Measure this work alone: start, idle, filed or looked-up
    #[arg(long)]
    only: Option<String>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// What dhat writes, as far as it is read here: `eb` is what lives at the end.
#[derive(Deserialize)]
struct Profile {
    pps: Vec<Place>,
    ftbl: Vec<String>,
}

#[derive(Deserialize)]
struct Place {
    eb: u64,
    ebk: u64,
    fs: Vec<usize>,
}

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let args = Args::parse();
    for work in ["start", "idle", "filed", "looked-up"] {
        if args.only.as_deref().is_none_or(|only| only == work) {
            measure(work, &args).await?;
        }
    }
    Ok(())
}

async fn measure(work: &str, args: &Args) -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("heap.json");
    let profiler = dhat::Profiler::builder().file_name(&file).trim_backtraces(Some(48)).build();
    let (address, stop, running, hub) = start().await?;
    let mut client = client(work, &address, args)?;
    match &mut client {
        Some(client) if work == "idle" => {
            while hub.subscribers() < args.idle {
                if client.try_wait()?.is_some() {
                    return Err("the subscribers ended".into());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Some(client) => {
            while client.try_wait()?.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        None => {}
    }
    settle().await;
    drop(profiler);
    let of = if work == "idle" { args.idle } else { 1 };
    show(work, &serde_json::from_slice(&std::fs::read(&file)?)?, args.places, of);
    if let Some(mut client) = client {
        let _ = client.kill();
        client.wait()?;
    }
    let _ = stop.send(());
    running.await??;
    Ok(())
}

/// Waits until the heap has not changed for a while: subscribers have caught up, answers are sent.
async fn settle() {
    let mut before = 0;
    loop {
        let now = dhat::HeapStats::get().total_blocks;
        if now == before {
            break;
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

type Running = tokio::task::JoinHandle<attache::domain::error::Result<()>>;

async fn start() -> Outcome<(String, oneshot::Sender<()>, Running, std::sync::Arc<feed::Hub>)> {
    let config = Config {
        listen: "127.0.0.1:0".parse()?,
        insecure_listen: false,
        data_dir: DataDir::Temporary,
        in_memory: true,
        sample: false,
        accept_day_jump: false,
        retain_days: None,
        retain_revisions: None,
        log: "warn".into(),
        log_format: LogFormat::Text,
        drain: Duration::from_secs(1),
        max_store_bytes: None,
        max_calls: attache::limits::MAX_CALLS_IN_FLIGHT,
        max_public_streams: attache::limits::MAX_PUBLIC_STREAMS,
        max_imports: attache::limits::MAX_IMPORTS,
        message_timeout: attache::limits::MESSAGE_TIMEOUT,
        feed: feed::Settings::default(),
        journal: None,
        snapshots: None,
        security: attache::config::Security::default(),
        max_connection_age: None,
        goodbye: attache::limits::GOODBYE,
        max_connections: attache::limits::MAX_CONNECTIONS,
        keep_alive: attache::limits::KEEP_ALIVE,
        keep_alive_timeout: attache::limits::KEEP_ALIVE_TIMEOUT,
        admin: attache::config::AdminPort::None,
        otlp: None,
    };
    let server = serve::build(&config, Parts::default()).await?;
    let (address, hub) = (format!("http://{}", server.address()), server.hub());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Ok((address, stop, running, hub))
}

/// The client that makes the server work, a process of its own: its memory is not the server's.
fn client(work: &str, address: &str, args: &Args) -> Outcome<Option<Child>> {
    let connections = args.idle.div_ceil(500).to_string();
    let streams = args.idle.div_ceil(args.idle.div_ceil(500)).to_string();
    let load: &[&str] = match work {
        "idle" => &[
            "watch",
            "--start",
            "now",
            "--connections",
            &connections,
            "--streams",
            &streams,
            "--seconds",
            "600",
            "--state",
            "AQ",
        ],
        "filed" => &["file", "--yes-write", "--keep", "--connections", "4", "--streams", "16", "--seconds", "4"],
        "looked-up" => {
            let filed = Command::new(binary())
                .args(["bench", "file", "--yes-write", "--keep", "--seconds", "2", "--server", address])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            if !filed.success() {
                return Err("nothing was filed to look up".into());
            }
            &["lookup", "--connections", "4", "--streams", "16", "--seconds", "4"]
        }
        _ => return Ok(None),
    };
    let mut command = Command::new(binary());
    command.arg("bench").args(load).args(["--server", address]).stdout(Stdio::null());
    Ok(Some(command.spawn()?))
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_attache"))
}

fn show(work: &str, profile: &Profile, places: usize, of: usize) {
    let mut by_place: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for place in profile.pps.iter().filter(|p| p.eb > 0) {
        let (bytes, blocks) = by_place.entry(holder(place, &profile.ftbl)).or_default();
        (*bytes, *blocks) = (*bytes + place.eb, *blocks + place.ebk);
    }
    let total: u64 = by_place.values().map(|(bytes, _)| bytes).sum();
    let each = if of > 1 { format!(", {} each", total / of as u64) } else { String::new() };
    println!("\n{work}: {total} bytes live{each}\n");
    println!("| bytes | blocks | who |\n|---|---|---|");
    let mut sorted: Vec<_> = by_place.into_iter().collect();
    sorted.sort_by_key(|(_, (bytes, _))| std::cmp::Reverse(*bytes));
    for (who, (bytes, blocks)) in sorted.into_iter().take(places) {
        println!("| {bytes} | {blocks} | {who} |");
    }
}

/// The innermost three frames outside the standard library: what asked for the memory, and who asked that.
fn holder(place: &Place, frames: &[String]) -> String {
    let frames = place.fs.iter().filter_map(|index| frames.get(*index));
    let mut telling: Vec<String> = frames.filter(|f| !is_plumbing(f)).map(|frame| short(frame)).collect();
    telling.dedup();
    telling.into_iter().take(3).collect::<Vec<_>>().join(" < ")
}

/// Files of the standard library and of the allocator, as far as their names tell: paths are cut to their ends.
fn is_plumbing(frame: &str) -> bool {
    const FILES: &[&str] = &[
        "heap.rs",
        "raw_vec",
        "src/raw/",
        "src/vec",
        "src/string",
        "src/slice",
        "src/boxed",
        "src/convert",
        "src/alloc.rs",
        "collections/",
        "src/sync.rs",
        "src/rc.rs",
        "src/clone",
        "src/ops/",
        "src/fmt",
        "src/iter",
        "src/option.rs",
        "src/result.rs",
        "src/ptr",
        "src/mem",
        "src/str",
        "src/macros",
        "iter/",
        "src/map.rs",
        "src/borrow.rs",
        "???",
    ];
    let file = frame.rsplit_once(" (").map_or(frame, |(_, file)| file);
    FILES.iter().any(|part| file.contains(part))
}

/// `0x1234: a::function::<of::Types> (crate/src/file.rs:1:2)`: the function without types, and its file.
fn short(frame: &str) -> String {
    let rest = frame.split_once(": ").map_or(frame, |(_, rest)| rest);
    let (function, file) = rest.rsplit_once(" (").unwrap_or((rest, ""));
    let function = function.split(['<', '>']).find(|part| part.len() > 2).unwrap_or(function);
    let file = file.split(':').next().unwrap_or_default();
    format!("`{}` ({file})", function.trim_matches(':'))
}

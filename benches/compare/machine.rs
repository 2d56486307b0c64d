//! The machine, and what a process takes of it.

use std::{fs, io::Write as _, process::Command, time::Instant};

use crate::{Outcome, places, process::Process, times::Times};

/// How often a process is looked at while it is waited for.
const LOOK: std::time::Duration = std::time::Duration::from_millis(200);
/// Looks after which a process that still works is taken as it is.
const LOOKS: usize = 600;
/// Ticks of a processor between two looks that count as rest: a twentieth of one core.
const REST_TICKS: u64 = 1;
/// Syncs whose median is told.
const SYNCS: usize = 200;

/// Processor, cores, memory.
pub fn describe() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = value(&cpus, "model name").unwrap_or("a processor that says no name");
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = value(&memory, "MemTotal").and_then(first_number).unwrap_or(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores, {:.0} GiB", kib as f64 / f64::from(1 << 20))
}

/// The commit that is checked out, and whether there is more than that.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(places::root()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let head = git(&["rev-parse", "--short", "HEAD"]);
    let changes = git(&["status", "--porcelain", "--", "benches/compare", "src", "proto", "build.rs", "Cargo.lock"]);
    if changes.is_empty() { head } else { format!("{head} and changes") }
}

/// Today.
pub fn today() -> String {
    jiff::Zoned::now().date().to_string()
}

/// Memory of a process, in MiB.
pub fn memory(process: &Process) -> Outcome<f64> {
    status(process, "VmRSS")
}

/// The most memory that it ever had, in MiB.
pub fn peak_memory(process: &Process) -> Outcome<f64> {
    status(process, "VmHWM")
}

fn status(process: &Process, key: &str) -> Outcome<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let kib = value(&status, key).and_then(first_number).ok_or_else(|| process.trouble("has no memory"))?;
    Ok(kib as f64 / 1024.0)
}

/// Waits until a process has nothing to do: a store that was kept for days moves its day first.
pub async fn rest(process: &Process) -> Outcome<()> {
    let mut before = ticks(process)?;
    for _ in 0..LOOKS {
        tokio::time::sleep(LOOK).await;
        let now = ticks(process)?;
        if now.saturating_sub(before) <= REST_TICKS {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}

/// The processor's time that a process took, in ticks of a hundredth of a second.
pub fn ticks(process: &Process) -> Outcome<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
    // After its name, which may hold anything, come the fields from the third on: these are the 14th and the 15th.
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    Ok(fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum())
}

/// What it takes to write 4 KiB and sync them, where the stores lie.
pub fn syncs() -> Outcome<Times> {
    let folder = places::temporary()?;
    let mut file = fs::File::create(folder.path().join("sync"))?;
    let mut times = Times::default();
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.add(began.elapsed());
    }
    Ok(times)
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_once(':')).map(|(_, value)| value.trim())
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

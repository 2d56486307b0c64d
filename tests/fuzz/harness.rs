//! How a target is run: first what is kept in its folder, then random inputs; of what breaks a promise the smallest is
//! written down.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use attache::pb;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner},
};
use prost::Message as _;
use prost_reflect::DynamicMessage;

use crate::draw::Draw;

/// What a promise comes to.
pub type Kept = Result<(), TestCaseError>;

/// Decisions of an input at most.
const DECISIONS: usize = 500;
/// Smaller inputs that are tried of one that breaks a promise.
const SHRINKS: u32 = 2000;

/// A parser, how inputs for it are made, and what it promises for each.
pub struct Target {
    /// Its folder in the corpus.
    pub name: &'static str,
    /// The message that JSON in its folder is of; empty if files are inputs as they are.
    pub message: &'static str,
    /// Pieces of its grammar, which edits put in.
    pub words: &'static [&'static str],
    /// An input that is nearly right.
    pub input: fn(&mut Draw<'_>) -> Vec<u8>,
    pub promise: fn(&[u8]) -> Kept,
    /// Inputs of an ordinary run: seconds of a debug build.
    pub few: u32,
}

impl Target {
    /// Replays the corpus and tries `ATTACHE_FUZZ_INPUTS` more, else a few.
    pub fn run(&self) {
        let corpus = self.corpus();
        assert!(!corpus.is_empty(), "{} keeps nothing", self.name);
        let mut kept = Vec::new();
        for (file, input) in corpus {
            // A panic names no file.
            let outcome = catch_unwind(AssertUnwindSafe(|| (self.promise)(&input)));
            match outcome {
                Ok(Ok(())) => kept.push(input),
                Ok(Err(why)) => panic!("{}: {why}", file.display()),
                Err(_) => panic!("{}: a panic, which stands above", file.display()),
            }
        }
        let (inputs, seed) = (number("ATTACHE_FUZZ_INPUTS").unwrap_or(self.few), number("ATTACHE_SEED"));
        let seed = seed.unwrap_or_else(rand::random);
        println!("{}: {} kept, {inputs} more, ATTACHE_SEED={seed}", self.name, kept.len());
        let config = Config {
            cases: inputs,
            max_shrink_iters: SHRINKS,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            ..Config::default()
        };
        let decisions = prop::collection::vec(any::<u8>(), 0..DECISIONS);
        let run = TestRunner::new(config).run(&decisions, |bytes| (self.promise)(&self.draw(&bytes, &kept)));
        match run {
            Ok(()) => {}
            Err(TestError::Fail(why, bytes)) => {
                let input = self.draw(&bytes, &kept);
                let file = self.write_down(&input);
                let file = file.display();
                panic!("{}: {why}\nATTACHE_SEED={seed}\n{}\nkept as {file}", self.name, input.escape_ascii());
            }
            Err(TestError::Abort(why)) => panic!("{}: {why}", self.name),
        }
    }

    /// Noise, something that is kept, or something new; as it is or changed.
    fn draw(&self, bytes: &[u8], kept: &[Vec<u8>]) -> Vec<u8> {
        let draw = &mut Draw::new(bytes);
        let is_edited = draw.once_in(2);
        let mut input = match draw.number(8) {
            0 => draw.noise(80),
            1 | 2 => kept[draw.number(kept.len())].clone(),
            _ => (self.input)(draw),
        };
        if is_edited {
            draw.edit(&mut input, self.words);
        }
        input
    }

    /// What is kept: by file, in order.
    fn corpus(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = folder().join(self.name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|file| (file.clone(), self.read(&file))).collect()
    }

    fn read(&self, file: &Path) -> Vec<u8> {
        let bytes = fs::read(file).unwrap();
        if self.message.is_empty() || file.extension().is_none_or(|e| e != "json") {
            return bytes;
        }
        let message = pb::POOL.get_message_by_name(self.message).unwrap();
        let read = DynamicMessage::deserialize(message, &mut serde_json::Deserializer::from_slice(&bytes));
        read.unwrap_or_else(|e| panic!("{}: {e}", file.display())).encode_to_vec()
    }

    fn write_down(&self, input: &[u8]) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{}-{}", self.name, &blake3::hash(input).to_hex()[..16]));
        fs::write(&file, input).unwrap();
        file
    }
}

/// Where the corpus is kept.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

fn number<N: std::str::FromStr>(name: &str) -> Option<N> {
    let told = std::env::var(name).ok()?;
    Some(told.parse().unwrap_or_else(|_| panic!("{name} is no number: {told}")))
}

/// An input as text: what is no UTF-8 is replaced, as no client could send it.
pub fn text(input: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(input)
}

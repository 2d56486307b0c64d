//! Every capacity, size and timeout of the program. A limit that a client can meet is told by `GetLogInfo`.

use std::{num::NonZeroU32, ops::Range, time::Duration};

/// A report as sent, in bytes.
pub const MAX_REPORT_BYTES: usize = 64 * 1024;
/// A resolved record, in bytes.
pub const MAX_RECORD_BYTES: usize = 128 * 1024;
/// An entry of the log, in bytes.
pub const MAX_ENTRY_BYTES: usize = 896 * 1024;
/// A batch of the log, in bytes: what one message of the journal may hold.
pub const MAX_BATCH_BYTES: usize = 900 * 1024;
/// Names that are merged into one record.
pub const MAX_MERGED_NAMES: usize = 32;
/// How long a process that has ended its work waits for copies, questions to the journal and looks at files that nobody waits
/// for. Reads it does not wait for.
pub const LEFT_BEHIND: Duration = Duration::from_secs(1);
/// Imports at the same time in the whole server.
pub const MAX_IMPORTS: usize = 1024;
/// How often a folder is tried before it counts as in use: who only looks whether it is has it for an instant.
pub const LOCK_TRIES: u32 = 5;
/// How long after each try.
pub const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Reports that are erased by one revision.
pub const MAX_REDACTED_AT_ONCE: usize = 100;
/// Revisions of which one revision erases some: each is written anew, and the writer does nothing else meanwhile. A report
/// on which more rest is erased in parts.
pub const MAX_REDACTED_REVISIONS: usize = 1000;
/// Reports in one filing.
pub const MAX_REPORTS_PER_FILING: usize = 1000;
/// Items in one batch of our own import: a revision that is still quick to read.
pub const MAX_IMPORT_BATCH_ITEMS: usize = 100;
/// Items of one batch of our own import, in bytes: an entry holds each with its record and events, some times as much.
pub const MAX_IMPORT_BATCH_BYTES: usize = 128 * 1024;
/// Answers of an import that wait for a client that does not read.
pub const IMPORT_ANSWERS: usize = 1;
/// How often a batch is decided again without those of its items that have no room.
pub const MAX_IMPORT_ROUNDS: usize = 16;
/// A request message, in bytes.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// How long the message of a request may take to come as a whole, once it is waited for; an import may take its time between
/// its batches, and not in the middle of one.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// A request message of what is open to everybody, in bytes: health and reflection.
pub const MAX_OPEN_REQUEST_BYTES: usize = 4 * 1024;
/// Characters of a request id.
pub const MAX_REQUEST_ID_CHARS: usize = 128;
/// Filters of one request.
pub const MAX_FILTERS: usize = 16;
/// Values of one filter, over all its fields.
pub const MAX_FILTER_VALUES: usize = 256;
/// Names in one `BatchGetRecords`.
pub const MAX_BATCH_GET_NAMES: usize = 1000;
/// Paths of one read mask.
pub const MAX_MASK_PATHS: usize = 256;

/// Elements of a page if the request does not say.
pub const DEFAULT_PAGE_SIZE: usize = 50;
/// Elements of a page at most.
pub const MAX_PAGE_SIZE: usize = 1000;
/// Events that one page of `ListEvents` examines before it comes back short, and versions of one search that its index
/// names.
pub const MAX_PAGE_CANDIDATES: usize = 10_000;
/// Steps along an index that one page takes before it comes back short; reading a record counts as several.
pub const MAX_PAGE_STEPS: usize = 18_000;
/// Bytes of records that one page holds before it comes back short: below what clients accept by default.
pub const MAX_PAGE_BYTES: usize = 3 * 1024 * 1024;

/// States of one relation.
pub const MAX_RELATIONSHIP_STATES: usize = 8;
/// Records that one answer about relations is made of.
pub const MAX_RELATIONSHIP_RECORDS: usize = 50_000;
/// Pages, short ones included, that one answer about relations reads: a state with many records may have few in common.
pub const MAX_RELATIONSHIP_PAGES: usize = 1000;
/// Sources with a coverage that one answer about relations reads.
pub const MAX_COVERING_SOURCES: usize = 10_000;
/// Sources that a count names as having watched; the rest are counted.
pub const MAX_WATCHED_BY: usize = 20;
/// Agreements of a status, and disputes, that a relation lists; the rest are counted.
pub const MAX_LISTED: usize = 100;
/// Successions of agreements that a relation lists; the rest are counted.
pub const MAX_LISTED_SUCCESSIONS: usize = 1000;
/// Series of agreements that a relation lists; the rest are counted.
pub const MAX_LISTED_SERIES: usize = 20;
/// Agreements of a series that a relation lists; the rest are counted.
pub const MAX_LISTED_IN_SERIES: usize = 50;
/// Months of a relation's timeline; what lies outside is summed up.
pub const MAX_TIMELINE_MONTHS: i32 = 1200;
/// Characters of the words of a search.
pub const MAX_QUERY_CHARS: usize = 256;
/// Words of a search.
pub const MAX_QUERY_WORDS: usize = 12;
/// Words of one record that the search index keeps.
pub const MAX_INDEXED_WORDS: usize = 4096;
/// Versions of which the index of words is told together, if a transaction has not as many: each time it writes some pages. A search
/// looks through those that wait.
pub const MAX_UNINDEXED: usize = 64;
/// A version whose words take more bytes does not wait, nor do others then.
pub const MAX_UNINDEXED_BYTES: usize = 4096;
/// Numbers of versions whose terms are put into lists together: a list looks through those that wait, and whoever files when
/// they are put there waits for it, since each of their terms may be on a page of its own.
pub const MAX_UNPOSTED: i64 = 256;
/// A version with more terms does not wait, nor do others then.
pub const MAX_UNPOSTED_TERMS: usize = 64;
/// Similar words that one word of a search stands for.
pub const MAX_SIMILAR_WORDS: usize = 16;
/// Records of one search that are ranked.
pub const MAX_RANKED: usize = 200;
/// Records with the very sounds that are looked for of which there are so many that those with similar ones are left out.
pub const ENOUGH_RANKED: usize = 100;
/// Versions that have a word of which there are so many that it stands for itself alone in a search for several words.
pub const COMMON_WORD: usize = 2000;
/// Records that one search reads that stand and pass its filters.
pub const MAX_SEARCH_READS: usize = 800;
/// Highlights of one record.
pub const MAX_HIGHLIGHTS: usize = 5;
/// Code points of the text of a highlight.
pub const MAX_HIGHLIGHT_CHARS: usize = 240;
/// Candidates of `MatchRecords` if the request does not say.
pub const DEFAULT_MATCHES: usize = 10;
/// Candidates of `MatchRecords` at most.
pub const MAX_MATCHES: usize = 100;
/// Identifiers, names and titles of a partial record that are looked for.
pub const MAX_COMPARED_TEXTS: usize = 8;
/// Records that each way of finding candidates for `MatchRecords` compares.
pub const MAX_COMPARED: usize = 200;

/// Calls with one answer that are under way in the whole server; one more is refused with OVERLOADED before it is read.
/// More than filings that wait for the writer: lookups go on while as many as may do.
pub const MAX_CALLS_IN_FLIGHT: usize = 4096;
/// Streams of health and reflection, which are open to everybody, in the whole server; one more is refused with
/// QUOTA_EXCEEDED. As many as connections: whoever balances load by health watches it once on each.
pub const MAX_PUBLIC_STREAMS: usize = 16_384;
/// And of one connection: each service watched on its own, and a tool beside.
pub const MAX_PUBLIC_STREAMS_PER_CONNECTION: usize = 8;
/// How long a batch's outcome may be unknown before whoever waits for the writer is answered, and whoever comes then
/// refused: longer than a journal that lost its leader takes to elect another, mostly.
pub const DOUBT_PATIENCE: Duration = Duration::from_secs(10);
/// Filings that wait for the writer; one more is refused with OVERLOADED.
pub const WRITER_QUEUE: usize = 1024;
/// Filings that share one transaction.
pub const MAX_GROUP: usize = 256;
/// Records that one part of a move of the registry's day examines.
pub const DAY_PART_RECORDS: usize = 1000;
/// Bytes of one part of a move of the registry's day, before its last record.
pub const DAY_PART_BYTES: usize = 384 * 1024;
/// Days that the clock moves the registry's day at once without being told that it may.
pub const MAX_DAY_JUMP: i32 = 40;
/// Days that the registry's day may be ahead of a clock before that is told: clocks of two replicas are not alike at
/// midnight.
pub const MAX_DAY_AHEAD: i32 = 1;
/// How far the newest entry may be recorded ahead of a clock before that is told: clocks of two replicas differ by less.
pub const MAX_RECORDED_AHEAD: Duration = Duration::from_secs(60);
/// How often a filing is decided again after other replicas won, before CONTENTION: one of three who try alike loses so
/// often never.
pub const MAX_CONFLICTS: usize = 64;
/// And how long it is decided again at least: a replica whose consumer died with a server reads what others append batch by
/// batch until it has another, and loses meanwhile.
pub const CONFLICT_PATIENCE: Duration = Duration::from_secs(4);
/// Room on the disk that is kept for what the journal has taken and the store has yet to commit, in bytes.
pub const COMMIT_RESERVE_BYTES: u64 = 64 * 1024 * 1024;
/// How often a log that is moved offers a batch, with this pause between, before it gives up: half a minute.
pub const MOVE_OFFERS: u32 = 60;
/// The pause between two offers.
pub const MOVE_PAUSE: Duration = Duration::from_millis(500);
/// Snapshots that are kept beside the journal.
pub const SNAPSHOTS_KEPT: usize = 3;
/// Stores that stood at one revision and are put aside in one folder; one more does not give way.
pub const STORES_ASIDE: u32 = 9;
/// How often a replica makes one, if nobody says: a new one has to read what was appended since.
pub const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// How soon one that could not be made is tried again, in microseconds.
pub const SNAPSHOT_RETRY: i64 = 600_000_000;
/// How well snapshots are compressed, as zstd counts: with the least of time.
pub const SNAPSHOT_COMPRESSION: i32 = 1;
/// Pages of a store that are copied before it is looked whether anybody waits for the copy still: 1 MiB, or 2.
pub const COPY_STEP_PAGES: i32 = 256;
/// Steps of SQLite's machine, or pages that it checks, before that is looked at while a copy is verified.
pub const COPY_LOOK_STEPS: i32 = 1000;
/// One piece of a backup, in bytes.
pub const BACKUP_PIECE_BYTES: usize = 256 * 1024;
/// Pieces of a backup that wait for a client that does not read.
pub const BACKUP_PIECES: usize = 4;
/// How long nothing may come of a snapshot that is fetched.
pub const SNAPSHOT_CHUNK_SILENCE: Duration = Duration::from_secs(20);
/// Questions to the journal at the same time; each takes a thread while it waits.
pub const JOURNAL_QUESTIONS: usize = 32;
/// Looks at small files at the same time, beside all reads of the store.
pub const FILE_LOOKS: usize = 2;
/// Rows of a table that are dropped in one transaction after a trim.
pub const SWEEP_ROWS: usize = 32;
/// The pause between two of them, and between two portions of free pages: filings go on.
pub const SWEEP_PAUSE: Duration = Duration::from_millis(40);
/// Bytes of pages that were free when something was erased and are written over in one transaction, the last time up to twice
/// as much. So many stay free meanwhile for whoever files.
pub const SCRUB_BYTES: u64 = 8 * 1024 * 1024;
/// Such transactions before a redaction is answered: 64 MiB. The rest is written over behind the answer.
pub const SCRUBS_AT_ONCE: u32 = 8;
/// How long after a trim nothing is dropped yet: longer than any one read that began before it.
pub const SWEEP_GRACE: Duration = Duration::from_secs(60);
/// Days of history that are retained at least where what is older is dropped: two of them answer repeated requests.
pub const MIN_RETAIN_DAYS: u32 = 3;
/// How soon a trim by age or number that was refused is asked for again.
pub const RETAIN_RETRY: Duration = Duration::from_secs(60);
/// Cursors of one principal; one more is refused with QUOTA_EXCEEDED. Those on a journal's shelf are not counted.
pub const MAX_CURSORS: usize = 10_000;
/// How long a request id is remembered, in log time.
pub const REQUEST_ID_RETENTION: Duration = Duration::from_secs(48 * 3600);

/// Recent revisions kept in memory for the feed, in bytes as stored.
pub const RING_BYTES: usize = 64 * 1024 * 1024;
/// Revisions that a subscriber behind the ring reads from the store at once.
pub const REPLAY_PAGE_REVISIONS: usize = 256;
/// Bytes of entries that a subscriber behind the ring reads from the store at once. It holds two such pages; with filters
/// each has the records before and after beside the entries.
pub const REPLAY_PAGE_BYTES: usize = 512 * 1024;
/// Subscribers that read from the store at the same time.
pub const REPLAY_READERS: usize = 4;
/// Records that a snapshot reads from the store at once.
pub const SNAPSHOT_PAGE_RECORDS: usize = 500;
/// Watches of one server that are sent a snapshot at the same time, each with one page of records in memory; one more is
/// refused with QUOTA_EXCEEDED.
pub const MAX_SNAPSHOTS: usize = 256;
/// Streams of one server; one more is refused with QUOTA_EXCEEDED.
pub const MAX_WATCHES: usize = 100_000;

/// Events of one frame if the request does not say.
pub const DEFAULT_BATCH_EVENTS: usize = 256;
/// Events of one frame at most.
pub const MAX_BATCH_EVENTS: usize = 1000;
/// Bytes of one frame if the request does not say.
pub const DEFAULT_FRAME_BYTES: usize = 256 * 1024;
/// Bytes of one frame at least.
pub const MIN_FRAME_BYTES: usize = 1024;
/// Bytes of one frame at most.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;
/// What the task of a watch may take of memory, in bytes: there may be very many of them that wait.
pub const WATCH_TASK_BYTES: usize = 1024;
/// Frames that wait for a client that does not read.
pub const FRAME_QUEUE: usize = 2;
/// What the stream of an answer that is encoded already keeps while it is idle, in bytes.
pub const ENCODED_BUFFER_BYTES: usize = 256;
/// Bytes of such answers that are handed to HTTP/2 at once, if so many are ready.
pub const ENCODED_YIELD_BYTES: usize = 32 * 1024;
/// The interval of progress if the request does not say.
pub const DEFAULT_PROGRESS: Duration = Duration::from_secs(5);
/// The shortest interval of progress.
pub const MIN_PROGRESS: Duration = Duration::from_millis(100);
/// The longest interval of progress.
pub const MAX_PROGRESS: Duration = Duration::from_secs(60);
/// How long a transport may accept no byte before its stream is reset.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(600);
/// What `going_away` tells clients to wait.
pub const GOING_AWAY_RETRY: Duration = Duration::from_secs(1);

/// How long a read waits for `at_least` if the client sets no deadline.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(10);
/// What an answer is given at most to reach a client before its deadline; a tenth of shorter ones.
pub const MAX_WAY_BACK: Duration = Duration::from_secs(1);
/// How long a drain waits for requests and streams to end.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// How long a new connection may take to speak HTTP/2.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the requests of a connection that was told to go may take before it is cut.
pub const GOODBYE: Duration = Duration::from_secs(60);
/// How long before the cut a backup that is not done is told of it; half of the goodbye if that is less.
pub const LAST_WORDS: Duration = Duration::from_secs(5);
/// How often a quiet connection is asked whether it still lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long it may take to answer: who is gone keeps a watch no longer than both.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections at the same time; one more waits until one of them ends.
pub const MAX_CONNECTIONS: usize = 16_384;
/// What a client may send on one stream before the server reads, in bytes.
pub const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What a client may send on one connection before the server reads, in bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// The largest write that is held until its connection has written all that it has for now: a larger one is worth a call of
/// the system of its own.
pub const HELD_WRITE_BYTES: usize = 4 * 1024;
/// What is held of a connection's writes at most. It is memory of a connection only while something is held, and stays there
/// as long as its client does not read.
pub const HELD_BYTES: usize = 16 * 1024;
/// How often those who are ready to answer on a connection go first while something is held.
pub const HELD_TURNS: u32 = 4;
/// Streams of one connection.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 1000;

/// The target of lines of the log that say who was refused, and who did what few may.
pub const AUDIT: &str = "audit";
/// Lines of the log a second, and as many at once, that anybody can have written, such as those that say who was refused: they
/// are not to take the disk, nor the room of other lines. An operator sees by fewer who it is; the others are counted.
pub const STRANGERS_LINES_PER_SECOND: NonZeroU32 = NonZeroU32::new(50).expect("it is not 0");
/// What the log says of a call's name, in bytes: those of the contract are shorter, and whoever likes sends a longer one.
pub const MAX_LOGGED_RPC_BYTES: usize = 128;
/// The target of the span of each request, by which a line of the log says which call it is of.
pub const REQUESTS: &str = "attache::request";
/// A filter of the log, in bytes.
pub const MAX_LOG_FILTER_BYTES: usize = 4096;
/// What a file that TLS or access is made of may have, in bytes.
pub const MAX_SECURITY_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// How soon the end of a certificate is told ahead, by whoever looks at a configuration; so does the alarm of
/// deploy/prometheus/rules.yaml. Who has certificates made anew by themselves has that done weeks before.
pub const CERTIFICATE_ENDS_SOON: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often those files are looked at.
pub const SECURITY_LOOK: Duration = Duration::from_secs(2);
/// A bearer token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Bearer tokens that are known to be good.
pub const KNOWN_BEARERS: usize = 16 * 1024;
/// How many calls lie between two occasions on which principals that have been quiet are forgotten.
pub const SHARES_FORGOTTEN_EVERY: u32 = 4096;
/// Keys of an issuer.
pub const MAX_KEYS: usize = 64;
/// What an issuer may answer when it is asked for its keys, in bytes.
pub const MAX_KEYS_BYTES: usize = 1024 * 1024;
/// How long it may take to answer.
pub const KEYS_FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is asked.
pub const KEYS_INTERVAL: Duration = Duration::from_secs(300);
/// And at most, when tokens name keys that are unknown: whoever makes up tokens is not to ask it as often.
pub const KEYS_MIN_PAUSE: Duration = Duration::from_secs(1);

/// Copies of each batch on the journal's servers.
pub const JOURNAL_COPIES: usize = 3;
/// How long the journal's servers may take to be reached.
pub const JOURNAL_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long they may take to acknowledge a batch before nobody knows what became of it, and it is looked for at its place:
/// a leader that dies takes its acknowledgements along.
pub const JOURNAL_ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long they may take to answer a question.
pub const JOURNAL_READ_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is asked who leads the stream, while nobody knows what became of a batch: the next leader, which answers no
/// earlier question, is found that soon.
pub const JOURNAL_ASK_AGAIN: Duration = Duration::from_millis(250);
/// How long the leader of the stream may not have heard from a majority before what it says of the stream's end does not
/// count: within that time no server of NATS stands for election against one that it hears.
pub const JOURNAL_LEADER_SILENCE: Duration = Duration::from_secs(4);
/// How often a server of the journal must show that it is there: one that does not, twice, is left for another.
pub const JOURNAL_PING: Duration = Duration::from_secs(2);
/// How long nothing may come from the journal before it is looked whether something should have.
pub const JOURNAL_LOOK: Duration = Duration::from_millis(200);
/// How often in a row nothing came before the journal is asked where it ends: a second.
pub const JOURNAL_WATCHDOG: u32 = 5;
/// How often servers that said that they sync are asked again.
pub const JOURNAL_SYNC_LOOK: Duration = Duration::from_secs(10);
/// How long a server that is connected may lead to nobody who leads the stream before it is left for another: longer than
/// an election takes, because a server that is cut off from the others answers what it can.
pub const JOURNAL_FORSAKEN: Duration = Duration::from_secs(10);
/// And at most, while it is so of each.
pub const JOURNAL_FORSAKEN_AT_MOST: Duration = Duration::from_secs(60);
/// The pause before the journal is followed again after an interruption.
pub const JOURNAL_RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The pause between two looks for what another replica has under way.
pub const JOURNAL_POLL_PAUSE: Duration = Duration::from_millis(2);
/// Filings of a group after which a replica rests: fewer are one caller's, and more are worth a batch.
pub const SMALL_GROUP: Range<usize> = 2..32;
/// How long it rests, from the end of that group to the beginning of the next.
pub const GROUP_REST: Duration = Duration::from_millis(2);
/// How long a replica waits before it takes another place, if others took some since its last.
pub const JOURNAL_YIELD: Duration = Duration::from_millis(5);
/// How often a batch is offered while the journal has no leader or one that is behind, with that pause between: a second
/// and more.
pub const JOURNAL_OFFERS: u32 = 500;
/// How long a question to the admin port that is under way at the end of a drain is waited for.
pub const ADMIN_GOODBYE: Duration = Duration::from_secs(1);
/// How long the numbers wait for what the store has to be read for; they tell what it said last then. Prometheus itself
/// waits for ten seconds.
pub const NUMBERS_PATIENCE: Duration = Duration::from_secs(1);
/// Records that the clock should have looked at and has not: so many are counted when the numbers are read.
pub const MAX_OVERDUE_COUNTED: usize = 10_000;
/// How often a replica looks how far it is behind the journal.
pub const READINESS_INTERVAL: Duration = Duration::from_secs(1);
/// Batches that a replica may be behind the journal and still be ready.
pub const MAX_READY_LAG: u64 = 256;
/// How often in a row the journal must end before what it had, until that is taken for lost, with the pause of a retry
/// between: twenty seconds, because a leader that was cut off may not know for so long.
pub const JOURNAL_SHORT_SIGHTINGS: u32 = 100;
/// Batches of other replicas in memory before they are applied, in bytes; one more may exceed it.
pub const JOURNAL_INBOX_BYTES: usize = 8 * 1024 * 1024;
/// What a monitoring endpoint of the journal's servers may answer, in bytes.
pub const MAX_MONITOR_BYTES: usize = 1024 * 1024;
/// What a value beside the journal may have, in bytes: a cursor.
pub const MAX_KEPT_BYTES: i32 = 64 * 1024;
/// What one message of the journal may have, in bytes: a batch.
pub const MAX_FILED_MESSAGE_BYTES: i32 = 1000 * 1024;

/// Spans that wait for whoever collects traces, or are on their way; one more is dropped, and counted.
pub const OTLP_QUEUE_SPANS: usize = 2048;
/// Spans that are sent at once: so many that wait do not wait longer.
pub const OTLP_BATCH_SPANS: usize = 512;
/// How long fewer may wait.
pub const OTLP_INTERVAL: Duration = Duration::from_secs(5);
/// How long a collector may take to be reached, and to take spans.
pub const OTLP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last spans may take at the end of a server.
pub const OTLP_FLUSH: Duration = Duration::from_secs(3);
/// How often it is said that spans are lost.
pub const OTLP_COMPLAINT_PAUSE: Duration = Duration::from_secs(60);
/// Traces that are kept of those that begin here, if nobody says: enough to see what is slow, and a tenth of the work.
pub const OTLP_RATIO: f64 = 0.1;

/// Reports of one filing that are read on an async thread: two milliseconds of it, or so.
pub const MAX_REPORTS_PARSED_HERE: usize = 32;
/// Read connections to the store.
pub const READ_CONNECTIONS: u32 = 8;
/// Lookups that one thread reads before they are answered, and it makes room for other reads.
pub const POINT_READS: usize = 64;
/// Threads that read for lookups at the same time.
pub const POINT_READERS: u32 = 2;
/// Page cache of each connection of these threads, in KiB: the upper parts of the tree of versions, some megabytes of a million
/// records, stay in it while leaves pass through, so that a record is one read of a page. (Each commit empties it.)
pub const POINT_CACHE_KIB: i64 = 8 * 1024;
/// Page cache of each connection of all other reads, in KiB: the same upper parts, which lists and searches go through for each
/// record.
pub const READ_CACHE_KIB: i64 = 6 * 1024;
/// Page cache of the writing connection, in KiB: the upper parts of every index that a filing adds to. While the file has less
/// than 1 GiB, most commits look through all of it: SQLite puts a page aside under a number that lies beyond the file.
pub const WRITE_CACHE_KIB: i64 = 16 * 1024;
/// Records in memory that are asked for often, in bytes.
pub const HOT_BYTES: usize = 40 * 1024 * 1024;
/// Names whose version is remembered, 8 bytes each: a record that is not in memory is found by one descent instead of three.
pub const ADDRESSES: usize = 1024 * 1024;
/// Names whose version is read ahead at once after a start: a few milliseconds.
pub const RECALLED_AT_ONCE: usize = 2_000;
/// The pause after that, in which others read.
pub const RECALL_PAUSE: Duration = Duration::from_millis(2);
/// Places of the table that says when a name changed last; names that share one are read from the store more often.
pub const HOT_PLACES: usize = 64 * 1024;
/// Sets of versions by term in memory, in bytes.
pub const TERM_SETS_BYTES: usize = 16 * 1024 * 1024;
/// Sounds that a search reads from the store for one of its words, beyond those in memory; among others than these it finds
/// no typing errors.
pub const MAX_SOUNDS_READ: usize = 256 * 1024;
/// Sounds of all words in memory, in bytes: some 30 each.
pub const VOCABULARY_BYTES: usize = 16 * 1024 * 1024;
/// Sounds of which the writer knows that they are in the store, some 40 bytes each: 1.5 MiB.
pub const MAX_KNOWN_SOUNDS: usize = 32 * 1024;
/// Terms whose rows the writer knows, some 100 bytes each: 1.5 MiB.
pub const MAX_KNOWN_TERMS: usize = 16 * 1024;
/// The longest sound, or value of a term, that it remembers, in bytes: few are longer, and some are as long as a text.
pub const MAX_KNOWN_BYTES: usize = 64;
/// Sources whose latest block the writer knows.
pub const MAX_KNOWN_SOURCES: usize = 4 * 1024;
/// The largest block of a source that it remembers, in bytes: 2 MiB of them all.
pub const MAX_KNOWN_BLOCK_BYTES: usize = 512;
/// Bytes of the write-ahead log's pages before they are copied back. Whoever syncs on the same disk meanwhile, such as the
/// writer's next commit or the servers of a journal, waits for all of them.
pub const WAL_COPY_BYTES: u64 = 2 * 1024 * 1024;
/// What the writer itself copies at most, in bytes; more is left to the thread that does it beside. The log begins anew when the
/// writer has copied what was left: where every commit has more, it grows to its bound.
pub const WAL_LEFT_BYTES: u64 = 1024 * 1024;
/// Bytes of the write-ahead log's pages at which the writer waits for the copy.
pub const WAL_MAX_BYTES: u64 = 128 * 1024 * 1024;
/// How long the writer waits for readers when it empties the write-ahead log of what was erased; it is tried again.
pub const CUT_TIMEOUT: Duration = Duration::from_millis(100);
/// How soon that is.
pub const CUT_PAUSE: Duration = Duration::from_secs(5);
/// How long a connection waits for a lock of the store.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The limits that `GetLogInfo` tells, by name with the unit last.
pub const TOLD: &[(&str, usize)] = &[
    ("batch_get_names", MAX_BATCH_GET_NAMES),
    ("cursors", MAX_CURSORS),
    ("entry_bytes", MAX_ENTRY_BYTES),
    ("filter_values", MAX_FILTER_VALUES),
    ("filters", MAX_FILTERS),
    ("frame_bytes", MAX_FRAME_BYTES),
    ("frame_events", MAX_BATCH_EVENTS),
    ("matches", MAX_MATCHES),
    ("merged_names", MAX_MERGED_NAMES),
    ("page_candidates", MAX_PAGE_CANDIDATES),
    ("page_elements", MAX_PAGE_SIZE),
    ("page_steps", MAX_PAGE_STEPS),
    ("public_streams_per_connection", MAX_PUBLIC_STREAMS_PER_CONNECTION),
    ("query_chars", MAX_QUERY_CHARS),
    ("query_words", MAX_QUERY_WORDS),
    ("ranked", MAX_RANKED),
    ("record_bytes", MAX_RECORD_BYTES),
    ("relationship_records", MAX_RELATIONSHIP_RECORDS),
    ("relationship_states", MAX_RELATIONSHIP_STATES),
    ("report_bytes", MAX_REPORT_BYTES),
    ("reports_per_filing", MAX_REPORTS_PER_FILING),
    ("request_bytes", MAX_REQUEST_BYTES),
    ("search_reads", MAX_SEARCH_READS),
];

//! What the program says to people, word for word: for each verb a transcript of command lines with
//! their standard output, standard error and exit code, made with real processes.
//!
//! The transcripts stand in `transcripts/`, one file a verb; `INSTA_UPDATE=always` rewrites them.
//! What differs from run to run, such as a pid or a port, stands there as a placeholder.

#![expect(
    clippy::unwrap_used,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "texts are short, and a pattern that does not compile should fail the test"
)]

mod bench;
mod contexts;
mod fleet;
mod kinds;
mod newcomer;
mod offline;
mod policies;
mod quorum;
mod singletons;
mod steady;
mod table;
mod transcript;
mod typed;
mod up;
mod verbs;

/// The binary under test.
const KRAKEN: &str = env!("CARGO_BIN_EXE_kraken");

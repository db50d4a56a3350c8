//! The house, executed: every rule of it that a machine can check is one named test here.
//!
//! A rule is a pure function from a file (or a few pages) to its findings, so that each stands
//! beside a test that feeds it a violation: a rule that finds nothing in bad text is no rule. What
//! rustc and clippy already refuse is left to them. Nothing here starts a daemon or opens a socket.

mod arrows;
mod book;
mod find;
mod habits;
mod lexer;
mod manifests;
mod names;
mod pages;
mod purity;
mod size;
mod tree;
mod words;

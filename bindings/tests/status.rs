//! The tests that stand in `src/status.rs`, which needs nothing of the rest of the library.
#![allow(dead_code)]
#[path = "../src/status.rs"]
mod status;

//! How the device code of each operation is launched.
pub mod encode;

/// Entries of a row that are sorted in shared memory; more are sorted in the workspace.
const SORTED: usize = 2048;
/// Bytes of the bins of one digit: twin of `select.cuh`.
const DIGIT: usize = 4 << 11;

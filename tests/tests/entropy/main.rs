//! Entropy: one table of cases, and calls of every kind.
mod calls;
mod cases;

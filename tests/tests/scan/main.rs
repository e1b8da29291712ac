//! The selective scan: one table of cases, and what holds of any input.
mod cases;
mod properties;

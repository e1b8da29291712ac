//! The selective scan: one table of cases, another of what is fused into it, and what holds of any input.
mod cases;
mod extremes;
mod fused;
mod properties;
mod wrong;

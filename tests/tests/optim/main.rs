//! Steps of optimisers: one table of cases for each; every implementation goes through it.
mod adamw8;
mod clip;
mod signum;
mod steps;

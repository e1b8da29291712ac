//! Steps of optimisers: one table of cases for each; every implementation goes through it.
mod clip;
mod steps;

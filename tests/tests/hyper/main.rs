//! Hypergraphs: one table of cases for each operation; every implementation goes through it.
mod copy;
mod gradient;
mod graph;
mod incidence;
mod operator;
mod pool;
mod rank;
mod search;
mod weigh;
mod wrong;

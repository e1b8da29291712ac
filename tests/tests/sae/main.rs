//! Sparse autoencoders: one table of cases for each operation; every implementation goes through it.
mod encode;
mod exact;
mod exact_passes;
mod forms;
mod gate;
mod gradient;
mod passes;
mod screen;
mod screen_edges;
mod slabs;
mod track;

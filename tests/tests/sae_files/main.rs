//! Sparse autoencoders on the host: kinds, files of them and of what they are trained on, and what they are judged by.
mod cache;
mod checkpoint;
mod data;
mod eval;
mod formats;
mod hostile;
mod kill;
mod variants;

//! Training of sparse autoencoders, on every device.
mod capture;
mod kinds;
mod sound;
mod train;

//! Language models: figures known beforehand, devices, files.
mod devices;
mod files;
mod golden;
mod mamba;
mod models;
mod parity;
mod save;

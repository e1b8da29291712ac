//! Language models: figures known beforehand, devices, files.
mod bert;
mod devices;
mod files;
mod golden;
mod lies;
mod mamba;
mod models;
mod parity;
mod ragged;
mod save;

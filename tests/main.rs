//! The one test binary: a module per area.

mod adapters;
mod browse;
mod cli_tables;
mod commands;
mod config;
mod data;
mod demo;
mod encode;
mod eval;
mod golden;
mod layers;
mod model;
mod models;
mod peer;
mod plan;
mod quantized;
mod runs;
mod screens;
mod screens_fuzz;
mod screens_use;
mod train;
mod train_loop;
mod train_plain;
mod vision;
mod weights;

//! From parquet to encoded samples: conversion, registry, check, pictures, chat template, batches.

pub mod batch;
mod batches;
pub mod check;
pub mod clean;
pub mod convert;
pub mod dataset;
pub mod encode;
pub mod file_names;
mod groups;
pub mod inputs;
mod layout;
pub mod parquet;
mod parquet_file;
pub mod patches;
pub mod picture;
pub mod picture_cache;
pub mod picture_file;
pub mod picture_header;
pub mod picture_look;
mod pixels;
pub mod reader;
pub mod registry;
mod resize;
pub mod row_notes;
pub mod sample;
pub mod special;
pub mod split;
mod spool;
mod staging;
pub mod stream;
mod tally;
pub mod template;

pub use sample::{ImageRef, Message, Role, Sample};

//! From parquet to encoded samples: conversion, registry, check, pictures, chat template, batches.

pub mod ahead;
pub mod batch;
pub mod check;
pub mod clean;
pub mod conversation;
pub mod convert;
pub mod dataset;
pub mod diff;
pub mod dropped;
pub mod encode;
mod entry;
mod groups;
mod layout;
pub mod numpy;
pub mod overlay;
pub mod patches;
pub mod picture;
pub mod picture_cache;
pub mod picture_header;
pub mod picture_look;
pub mod query;
pub mod reader;
pub mod registry;
mod resize;
pub mod sample;
pub mod selection;
pub mod source;
pub mod special;
pub mod stream;
pub mod template;
pub mod verdict;
pub mod window;
pub mod windowed;

pub use sample::{ImageRef, Message, Role, Sample};

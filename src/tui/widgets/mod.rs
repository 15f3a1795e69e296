//! What panes are drawn with: charts, lists, one-line inputs, popups.

pub mod chart;
pub mod editor;
mod editor_lines;
pub mod input;
pub mod pick;
pub mod popup;
mod raster;
pub mod table;
pub mod wrapped;

//! What panes are drawn with: charts, lists, one-line inputs, popups.

pub mod chart;
pub mod editor;
pub mod input;
pub mod pick;
pub mod popup;
mod raster;
pub mod table;
pub mod wrapped;

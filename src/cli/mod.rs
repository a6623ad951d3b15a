//! The commands, one file each.
//!
//! May know: every room. Must not know: nothing is reserved, but no rule of the product lives here.

//! The words of the field as types, and the pure rules between them.
//!
//! May know: nobody (`crate::hashing` is arithmetic). Must not know: async, I/O, clocks, networks, storage, generated messages.
//!
//! Read in this order: [`licence`] (what a driver holds), [`vehicle`] and [`question`] (what is asked), [`policy`] (who may
//! ask what), [`rules`] (by which tables),
//! [`decision`] (how it comes out), [`disclosure`] (the little that leaves), [`elicence`] (what the app shows, which decides
//! nothing), [`presentation`] (what a driver lets others ask by showing it).

pub mod catalogue;
pub mod claim;
pub mod closed_set;
pub mod decision;
pub mod disclosure;
pub mod elicence;
pub mod licence;
pub mod partner;
pub mod policy;
pub mod presentation;
pub mod question;
pub mod rules;
pub mod standing;
pub mod subject;
pub mod time;
pub mod vehicle;

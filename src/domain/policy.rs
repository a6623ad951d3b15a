//! The policy: who may ask what, on what ground, and how much they learn. Contracts may only narrow it.

use super::claim::GroundKind;
use super::disclosure::FieldSet;
use super::partner::PartnerKind;
use super::question::Purpose;

/// The version of the rules that decide, named in every answer and entry.
pub const POLICY_VERSION: &str = "2026-11-01";

/// One row of the policy.
#[derive(Clone, Copy, Debug)]
pub struct PolicyRow {
    /// The purpose.
    pub purpose: Purpose,
    /// Which kind of partner may ask.
    pub kind: PartnerKind,
    /// On which grounds.
    pub grounds: &'static [GroundKind],
    /// With which fields at most.
    pub fields: FieldSet,
    /// Why.
    pub because: &'static str,
}

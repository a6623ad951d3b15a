//! Vehicles as a partner describes them, and the classes that may drive them.

use super::closed_set::closed_set;
use super::licence::VehicleClass;

/// A vehicle, as far as the partner knows it. What is absent leaves its criterion UNKNOWN where it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vehicle {
    /// How it is named.
    pub kind: VehicleKind,
    /// Automatic gearbox.
    pub automatic: Option<bool>,
    /// Adapted for a disabled driver.
    pub adapted: Option<bool>,
    /// Approved seats, driver included: 1 to 300.
    pub seats: Option<u16>,
    /// Maximum total mass of the (towing) vehicle in kg: 1 to 200,000.
    pub total_mass_kg: Option<u32>,
    /// Maximum total mass of the combination in kg: 0 to 500,000; 0 means no trailer.
    pub combination_mass_kg: Option<u32>,
    /// What it is used for.
    pub used_for: Option<VehicleUse>,
}

/// How a vehicle is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VehicleKind {
    /// By the class it needs.
    Class(VehicleClass),
    /// By its vehicle type code of GA/T 16.4-2012.
    TypeCode(TypeCode),
}

/// A vehicle type code of GA/T 16.4-2012: one letter, two digits or letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeCode([u8; 3]);

closed_set! {
    /// What a vehicle is used for; decides what probation forbids (Order 162 art. 76).
    pub enum VehicleUse {
        /// Private.
        Private = 1, "private";
        /// 营运客车, ride-hailing included
        CommercialPassenger = 2, "commercial-passenger";
        /// 营运货车
        CommercialGoods = 3, "commercial-goods";
        /// 公共汽车
        PublicBus = 4, "public-bus";
        /// Police, fire, ambulance, rescue on duty.
        OnDuty = 5, "on-duty";
        /// Dangerous goods.
        DangerousGoods = 6, "dangerous-goods";
    }
}

impl TypeCode {
    /// Parses three characters; `None` when the first letter is none of the standard's.
    pub fn parse(_text: &str) -> Option<Self> {
        None
    }

    /// Returns the three characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

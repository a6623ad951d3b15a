//! What may be asked: closed questions, each of which fixes its purpose.

use jiff::Timestamp;

use super::closed_set::closed_set;
use super::licence::VehicleClass;
use super::presentation::Holder;
use super::vehicle::Vehicle;

closed_set! {
    /// Why a partner asks.
    pub enum Purpose {
        /// 保险理赔
        InsuranceClaim = 1, "insurance-claim";
        /// 保险购置
        InsurancePurchase = 2, "insurance-purchase";
        /// 租赁车辆
        Rental = 3, "rental";
        /// 职业招聘
        Recruitment = 4, "recruitment";
        /// 客货运输
        Transport = 5, "transport";
        /// 执法查验
        Enforcement = 6, "enforcement";
        /// 互扫
        PeerScan = 7, "peer-scan";
    }
}

closed_set! {
    /// Editions of cover whose grounds decide an insurance claim.
    pub enum CoverageEdition {
        /// 交强险
        Compulsory = 1, "compulsory";
        /// Commercial model clauses, 2014.
        Commercial2014 = 2, "commercial-2014";
        /// Commercial model clauses, 2020.
        Commercial2020 = 3, "commercial-2020";
    }
}

closed_set! {
    /// Roles whose rules are known; the rules are dated configuration.
    pub enum Role {
        /// A driver of the class named in the question.
        Driver = 1, "driver";
        /// 网约车
        RideHailing = 2, "ride-hailing";
        /// Goods transport.
        Goods = 3, "goods";
        /// Heavy goods with a semi-trailer.
        HeavyGoods = 4, "heavy-goods";
        /// Passenger coach.
        Coach = 5, "coach";
        /// City bus.
        CityBus = 6, "city-bus";
        /// 校车
        SchoolBus = 7, "school-bus";
    }
}

/// One question, parsed: thresholds are already known to lie in the closed sets of policy, not yet of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Was the driver qualified at the accident's moment?
    InsuranceClaim {
        /// The accident's moment, not in the future.
        occurred_at: Timestamp,
        /// The vehicle driven.
        vehicle: Vehicle,
        /// Whose grounds decide.
        edition: CoverageEdition,
    },
    /// May the driver drive this vehicle now?
    InsurancePurchase {
        /// The vehicle.
        vehicle: Vehicle,
    },
    /// Qualified over the whole period, as far as can be known?
    Rental {
        /// Hand-over.
        pick_up: Timestamp,
        /// Return, after `pick_up`.
        return_at: Timestamp,
        /// The vehicle.
        vehicle: Vehicle,
        /// Months since first issue demanded; `None`: not asked.
        min_tenure_months: Option<u16>,
        /// Days of validity demanded beyond the return.
        validity_margin_days: u16,
    },
    /// Does the applicant meet the role's rules?
    Recruitment {
        /// The role.
        role: Role,
        /// Months since first issue demanded beyond the role's rule.
        min_tenure_months: Option<u16>,
        /// The class needed, for [`Role::Driver`].
        class: Option<VehicleClass>,
    },
    /// Does the driver meet the role's rules?
    Transport {
        /// The role.
        role: Role,
        /// Filed with the traffic police by this operator (Order 162 art. 82).
        filed: bool,
        /// The class needed, for [`Role::Driver`].
        class: Option<VehicleClass>,
    },
    /// The exact state, and whether it covers the vehicle found.
    Enforcement {
        /// The vehicle found driven.
        vehicle: Option<Vehicle>,
    },
    /// How does the e-licence that is shown look to another user of the app?
    PeerScan {
        /// Who scans.
        scanner: Holder,
    },
}

impl Question {
    /// Returns the purpose the question fixes.
    pub fn purpose(&self) -> Purpose {
        match self {
            Self::InsuranceClaim { .. } => Purpose::InsuranceClaim,
            Self::InsurancePurchase { .. } => Purpose::InsurancePurchase,
            Self::Rental { .. } => Purpose::Rental,
            Self::Recruitment { .. } => Purpose::Recruitment,
            Self::Transport { .. } => Purpose::Transport,
            Self::Enforcement { .. } => Purpose::Enforcement,
            Self::PeerScan { .. } => Purpose::PeerScan,
        }
    }

    /// Returns the moment the question is about, `now` for questions about the present.
    pub fn moment(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::InsuranceClaim { occurred_at, .. } => *occurred_at,
            _ => now,
        }
    }
}

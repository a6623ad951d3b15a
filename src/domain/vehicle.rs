//! Vehicles as a partner describes them, and the classes that may drive them.

use super::closed_set::closed_set;
use super::licence::{ClassSet, VehicleClass};

/// A vehicle, as far as the partner knows it. What is absent leaves its criterion UNKNOWN where it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vehicle {
    /// How it is named.
    pub kind: VehicleKind,
    /// Automatic gearbox.
    pub automatic: Option<bool>,
    /// Adapted for a disabled driver. Not said is not adapted: a doubt that only class C5 could clear would tell who holds
    /// it, and with it the health of the holder.
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
    pub fn parse(text: &str) -> Option<Self> {
        let &[family, size, form] = text.as_bytes() else { return None };
        let alphanumeric = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        let well_formed = FAMILIES.contains(&family) && size.is_ascii_digit() && alphanumeric(form);
        well_formed.then_some(Self([family, size, form]))
    }

    /// Returns the three characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

/// First letters of GA/T 16.4-2012: passenger, goods, tractor unit, special, tram and trolley, motorcycle, three-wheeler,
/// wheeled machine, full trailer, semi-trailer, farm tractor, other.
const FAMILIES: &[u8; 12] = b"KHQZDMNJGBTX";

/// Mass of a combination from which A2 is needed. The annex gives C6 what is below and A2 what is above: exactly 4500 kg
/// falls between and fails closed to A2 (`docs/domain.md` §1, derived).
const HEAVY_COMBINATION_KG: u32 = 4500;

/// Goods and special vehicles from this mass are not light (GA 802-2019).
const MEDIUM_GOODS_KG: u32 = 4500;

/// The heaviest trailer, save a caravan, that a small passenger car may draw (实施条例 art. 56).
const SMALL_CAR_TRAILER_KG: u32 = 700;

/// Most seats of a small or micro passenger car (GA 802-2019).
const SMALL_PASSENGER_SEATS_MAX: u16 = 9;

/// Seats of a medium passenger car (GA 802-2019), and of the city buses class B1 includes.
const MEDIUM_PASSENGER_SEATS: std::ops::RangeInclusive<u16> = 10..=19;

/// The classes a vehicle asks for, as far as its description goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Any one of these suffices.
    pub suffices: ClassSet,
    /// One of these might suffice, were the vehicle described better.
    pub might_suffice: ClassSet,
}

/// How classes held meet a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// A class held permits the vehicle.
    Covered,
    /// No class held permits it, however it is described.
    NotCovered,
    /// It depends on what was not said.
    Unclear,
}

impl Requirement {
    /// Nothing can be said about the vehicle: not even whether it is for a licence at all.
    pub const UNCLEAR: Self = Self { suffices: ClassSet::EMPTY, might_suffice: EVERY_CLASS };

    /// One of these classes is needed.
    pub const fn any_of(classes: &[VehicleClass]) -> Self {
        Self { suffices: ClassSet::of(classes), might_suffice: ClassSet::EMPTY }
    }

    /// A trailer may or may not be drawn: only A2 permits both.
    fn or_with_trailer(self) -> Self {
        if self == Self::UNCLEAR {
            return self;
        }
        Self { might_suffice: self.suffices.union(self.might_suffice), ..Self::any_of(&[VehicleClass::A2]) }
    }

    /// Adds the class of cars adapted for disabled drivers, for an automatic car that is said to be adapted.
    fn or_if_adapted(self, adapted: Option<bool>) -> Self {
        self.or_if(Some(adapted == Some(true)), VehicleClass::C5)
    }

    /// Adds a class that suffices if `condition` holds, and might if that is unknown.
    fn or_if(mut self, condition: Option<bool>, class: VehicleClass) -> Self {
        match condition {
            Some(true) => self.suffices = self.suffices.with(class),
            None => self.might_suffice = self.might_suffice.with(class),
            Some(false) => {}
        }
        self
    }

    /// Says how classes held meet this. An unclear vehicle never turns into a covered one.
    pub fn met_by(self, held: ClassSet) -> Coverage {
        self.met_by_permitted(held.closure())
    }

    /// Says the same of every class that may be driven, covered ones included.
    pub fn met_by_permitted(self, permitted: ClassSet) -> Coverage {
        if !permitted.intersection(self.suffices).is_empty() {
            Coverage::Covered
        } else if !permitted.intersection(self.might_suffice).is_empty() || self == Self::UNCLEAR {
            Coverage::Unclear
        } else {
            Coverage::NotCovered
        }
    }
}

const EVERY_CLASS: ClassSet = ClassSet::of(VehicleClass::ALL);

impl Vehicle {
    /// Describes a vehicle by the class it needs, and says nothing more.
    pub const fn of_class(class: VehicleClass) -> Self {
        Self::of_kind(VehicleKind::Class(class))
    }

    /// Describes a vehicle by its kind, and says nothing more.
    pub const fn of_kind(kind: VehicleKind) -> Self {
        Self {
            kind,
            automatic: None,
            adapted: None,
            seats: None,
            total_mass_kg: None,
            combination_mass_kg: None,
            used_for: None,
        }
    }

    /// Says the same to partners from whom health is kept: about a vehicle for class C5 everybody gets the same doubt.
    pub fn required_without_health(&self) -> Requirement {
        let for_c5 = self.adapted == Some(true) || self.kind == VehicleKind::Class(VehicleClass::C5);
        if for_c5 { Requirement::UNCLEAR } else { self.required() }
    }

    /// Says which classes may drive it (Order 162 annex 1; the mapping of codes is derived, `docs/domain.md` §1).
    ///
    /// An adapted vehicle shows who holds C5. Only a claim and a police check may ask about one: the insurer judges the very
    /// car it covers, adapted or not, under the duty of 交强险条例 art. 33, and the police see the classes anyway.
    pub fn required(&self) -> Requirement {
        let alone = match &self.kind {
            VehicleKind::Class(class) => self.required_by_class(*class),
            VehicleKind::TypeCode(code) => self.required_by_code(code.0),
        };
        match self.combination_mass_kg {
            Some(0) => alone,
            Some(mass) => self.required_drawing(mass, alone),
            None if self.is_goods_vehicle() => alone.or_with_trailer(),
            None => alone,
        }
    }

    /// What the vehicle needs alone, when it is named by class.
    fn required_by_class(&self, class: VehicleClass) -> Requirement {
        use VehicleClass::{C1, C2};
        let small = matches!(class, C1 | C2);
        if small && (self.seats_exceed(SMALL_PASSENGER_SEATS_MAX) || self.is_medium_goods()) {
            return Requirement::UNCLEAR;
        }
        if class == C2 && self.automatic == Some(false) {
            return Requirement::UNCLEAR;
        }
        let required = Requirement::any_of(&[class]);
        match class {
            // Who names C1 has said "not C2": the gearbox counts only when it is named.
            C1 if self.automatic == Some(true) => required.or_if(Some(true), C2).or_if_adapted(self.adapted),
            C2 => required.or_if_adapted(self.adapted),
            _ => required,
        }
    }

    /// What the vehicle needs alone, when it is named by its code.
    fn required_by_code(&self, code: [u8; 3]) -> Requirement {
        use VehicleClass::{A1, B1, B2, C3, C4, D, E, F, M, N, P};
        match &code {
            [b'K', b'1', _] => self.required_by_bus(A1),
            [b'K', b'2', _] if self.seats_outside(MEDIUM_PASSENGER_SEATS) => Requirement::UNCLEAR,
            [b'K', b'2', _] => self.required_by_bus(B1),
            [b'K', b'3' | b'4', _] => self.required_by_small_car(),
            [b'H', b'1' | b'2', _] => Requirement::any_of(&[B2]),
            [b'H', b'3' | b'4', _] => self.required_by_light_goods(),
            [b'H', b'5', _] => Requirement::any_of(&[C3]),
            [b'Q', b'1'..=b'3', _] => self.required_by_tractor(code[1]),
            [b'Z', b'1' | b'2' | b'5', _] => Requirement::any_of(&[B2]),
            [b'Z', b'3' | b'4' | b'7', _] => self.required_by_light_goods(),
            b"D11" => Requirement::any_of(&[N]),
            b"D12" => Requirement::any_of(&[P]),
            b"M12" | b"M22" => Requirement::any_of(&[F]),
            [b'M', b'1', _] => Requirement::any_of(&[D]),
            b"M21" => Requirement::any_of(&[E]),
            [b'N', b'1', _] => Requirement::any_of(&[C4]),
            [b'J', b'1', _] => Requirement::any_of(&[M]),
            _ => Requirement::UNCLEAR,
        }
    }

    /// A bus: a city bus of 10 seats or more is also A3's, one of 10 to 19 seats also B1's.
    fn required_by_bus(&self, class: VehicleClass) -> Requirement {
        let city_bus = self.used_for.map(|used_for| used_for == VehicleUse::PublicBus);
        let of_medium_size = match (city_bus, self.seats) {
            (Some(true), None) => None,
            (city_bus, Some(seats)) if MEDIUM_PASSENGER_SEATS.contains(&seats) => city_bus,
            _ => Some(false),
        };
        let of_any_size =
            if self.seats_below(*MEDIUM_PASSENGER_SEATS.start()) { Some(false) } else { city_bus };
        Requirement::any_of(&[class])
            .or_if(of_any_size, VehicleClass::A3)
            .or_if(of_medium_size, VehicleClass::B1)
    }

    /// A small or micro passenger car: C1; automatic also C2; automatic and adapted also C5.
    fn required_by_small_car(&self) -> Requirement {
        if self.seats_exceed(SMALL_PASSENGER_SEATS_MAX) {
            return Requirement::UNCLEAR;
        }
        let adapted = match self.adapted {
            Some(true) => self.automatic,
            Some(false) | None => Some(false),
        };
        Requirement::any_of(&[VehicleClass::C1])
            .or_if(self.automatic, VehicleClass::C2)
            .or_if(adapted, VehicleClass::C5)
    }

    /// A light or micro goods or special vehicle: C1; automatic also C2.
    fn required_by_light_goods(&self) -> Requirement {
        if self.is_medium_goods() {
            return Requirement::UNCLEAR;
        }
        Requirement::any_of(&[VehicleClass::C1]).or_if(self.automatic, VehicleClass::C2)
    }

    /// A tractor unit: A2; a light one may make a combination that C6 permits. Alone it may be anything up to B2.
    fn required_by_tractor(&self, size: u8) -> Requirement {
        let light_combination = match self.combination_mass_kg {
            None if size == b'3' => None,
            _ => Some(false),
        };
        let alone = if self.combination_mass_kg == Some(0) { None } else { Some(false) };
        Requirement::any_of(&[VehicleClass::A2])
            .or_if(light_combination, VehicleClass::C6)
            .or_if(alone, VehicleClass::B2)
    }

    /// What is needed with a trailer: A2, or C6 below 4500 kg. Only what may draw one can be judged.
    fn required_drawing(&self, mass_kg: u32, alone: Requirement) -> Requirement {
        use VehicleClass::{A2, B2, C1, C2, C3, C6};
        let drawn_by_car_or_truck = match &self.kind {
            VehicleKind::Class(class) => matches!(class, A2 | B2 | C1 | C2 | C3 | C6),
            VehicleKind::TypeCode(TypeCode(code)) => {
                matches!(code, [b'K', b'3' | b'4', _] | [b'H' | b'Q', _, _])
            }
        };
        // Heavy and medium vehicles weigh 4500 kg and more by themselves (GA 802-2019).
        let light_of_heavy = mass_kg < HEAVY_COMBINATION_KG
            && matches!(self.kind, VehicleKind::TypeCode(TypeCode([b'H' | b'Q', b'1' | b'2', _])));
        let impossible = light_of_heavy || self.total_mass_kg.is_some_and(|alone_kg| alone_kg >= mass_kg);
        if !drawn_by_car_or_truck || impossible || alone == Requirement::UNCLEAR {
            return Requirement::UNCLEAR;
        }
        if mass_kg >= HEAVY_COMBINATION_KG {
            return Requirement::any_of(&[A2]);
        }
        let light = Requirement::any_of(&[A2, C6]);
        let within_car_limit = self.is_small_car()
            && self.total_mass_kg.is_none_or(|alone_kg| mass_kg - alone_kg <= SMALL_CAR_TRAILER_KG);
        // Whether a small car with such a trailer is a combination (汽车列车) at all is *unverified*.
        if within_car_limit { Requirement { might_suffice: alone.suffices, ..light } } else { light }
    }

    fn is_goods_vehicle(&self) -> bool {
        matches!(self.kind, VehicleKind::TypeCode(TypeCode([b'H', b'1'..=b'4', _])))
    }

    fn is_small_car(&self) -> bool {
        matches!(
            self.kind,
            VehicleKind::TypeCode(TypeCode([b'K', b'3' | b'4', _]))
                | VehicleKind::Class(VehicleClass::C1 | VehicleClass::C2)
        )
    }

    fn is_medium_goods(&self) -> bool {
        self.total_mass_kg.is_some_and(|mass| mass >= MEDIUM_GOODS_KG)
    }

    fn seats_exceed(&self, most: u16) -> bool {
        self.seats.is_some_and(|seats| seats > most)
    }

    fn seats_below(&self, least: u16) -> bool {
        self.seats.is_some_and(|seats| seats < least)
    }

    fn seats_outside(&self, range: std::ops::RangeInclusive<u16>) -> bool {
        self.seats.is_some_and(|seats| !range.contains(&seats))
    }

    /// Says whether a trailer is drawn: forbidden in probation (Order 162 art. 76). `None`: not said.
    pub fn draws_trailer(&self) -> Option<bool> {
        match (self.combination_mass_kg, &self.kind) {
            (Some(mass), _) => Some(mass > 0),
            (None, VehicleKind::Class(VehicleClass::A2 | VehicleClass::C6)) => Some(true),
            (None, VehicleKind::Class(_)) => Some(false),
            (None, VehicleKind::TypeCode(TypeCode([b'Q', ..]))) => Some(true),
            (None, VehicleKind::TypeCode(TypeCode([b'H' | b'Z', ..]))) => None,
            (None, VehicleKind::TypeCode(_)) => Some(false),
        }
    }
}

#[cfg(test)]
mod tests;

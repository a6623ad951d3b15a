//! Vehicles and the classes they need.

use proptest::prelude::*;

use super::*;

fn code(text: &str) -> Vehicle {
    Vehicle::of_kind(VehicleKind::TypeCode(TypeCode::parse(text).unwrap()))
}

fn set(printed: &str) -> ClassSet {
    if printed.is_empty() { ClassSet::EMPTY } else { ClassSet::parse(printed).unwrap() }
}

#[track_caller]
fn needs(vehicle: &Vehicle, suffices: &str, might_suffice: &str) {
    let expected = Requirement { suffices: set(suffices), might_suffice: set(might_suffice) };
    assert_eq!(vehicle.required(), expected, "{vehicle:?}");
}

#[test]
fn every_family_of_the_standard() {
    for (text, suffices, might_suffice) in [
        ("K11", "A1", "A3"),
        ("K21", "B1", "A3"),
        ("K33", "C1", "C2"),
        ("K43", "C1", "C2"),
        ("H11", "A2", "B2"),
        ("H21", "A2", "B2"),
        ("H31", "A2", "C1C2"),
        ("H41", "A2", "C1C2"),
        ("H51", "C3", ""),
        ("Q11", "A2", ""),
        ("Q21", "A2", ""),
        ("Q31", "A2", "C6"),
        ("Z11", "B2", ""),
        ("Z51", "B2", ""),
        ("Z71", "C1", "C2"),
        ("D11", "N", ""),
        ("D12", "P", ""),
        ("M11", "D", ""),
        ("M12", "F", ""),
        ("M15", "D", ""),
        ("M21", "E", ""),
        ("M22", "F", ""),
        ("N11", "C4", ""),
        ("J11", "M", ""),
    ] {
        needs(&code(text), suffices, might_suffice);
    }
    for unclear in ["K51", "H61", "Q41", "Z61", "D13", "M31", "N21", "J21", "G11", "B11", "T11", "X99"] {
        assert_eq!(code(unclear).required(), Requirement::UNCLEAR, "{unclear}");
    }
}

#[test]
fn codes_are_three_characters_of_a_known_family() {
    for bad in ["", "K3", "K333", "k33", "A11", "KA1", "K3 ", "K3小", "O11"] {
        assert_eq!(TypeCode::parse(bad), None, "{bad}");
    }
    assert_eq!(TypeCode::parse("K33").unwrap().as_str(), "K33");
}

#[test]
fn an_automatic_car_needs_no_more_than_c2() {
    needs(&Vehicle { automatic: Some(true), adapted: Some(false), ..code("K33") }, "C1C2", "");
    needs(&Vehicle { automatic: Some(false), ..code("K33") }, "C1", "");
    needs(&Vehicle { automatic: Some(true), ..code("H31") }, "A2", "C1C2");
    needs(&Vehicle { automatic: Some(true), ..Vehicle::of_class(VehicleClass::C1) }, "C1C2", "");
    needs(&Vehicle::of_class(VehicleClass::C1), "C1", "");
}

#[test]
fn an_adapted_car_is_also_for_c5() {
    needs(&Vehicle { automatic: Some(true), adapted: Some(true), ..code("K33") }, "C1C2C5", "");
    needs(&Vehicle { adapted: Some(true), ..code("K33") }, "C1", "C2C5");
    needs(&Vehicle { automatic: Some(false), adapted: Some(true), ..code("K33") }, "C1", "");
}

#[test]
fn a_vehicle_not_said_to_be_adapted_never_asks_for_c5() {
    for adapted in [None, Some(false)] {
        for automatic in [None, Some(false), Some(true)] {
            for kind in ["K33", "K43", "C1", "C2"] {
                let kind = match TypeCode::parse(kind) {
                    Some(code) => VehicleKind::TypeCode(code),
                    None => VehicleKind::Class(kind.parse().unwrap()),
                };
                let required = Vehicle { automatic, adapted, ..Vehicle::of_kind(kind) }.required();
                let asked = required.suffices.union(required.might_suffice);
                assert!(required == Requirement::UNCLEAR || !asked.contains(VehicleClass::C5));
            }
        }
    }
}

#[test]
fn where_health_is_kept_a_vehicle_for_c5_is_unclear_whatever_is_held() {
    let adapted = Vehicle { automatic: Some(true), adapted: Some(true), ..code("K33") };
    for vehicle in [adapted, Vehicle::of_class(VehicleClass::C5)] {
        for held in ["C5", "C1", "C2", "A1A2", "D", ""] {
            let coverage = vehicle.required_without_health().met_by(set(held));
            assert_eq!(coverage, Coverage::Unclear, "{held}");
        }
    }
    assert_eq!(code("K33").required_without_health(), code("K33").required());
}

#[test]
fn a_city_bus_by_its_seats() {
    let bus = |seats| Vehicle { used_for: Some(VehicleUse::PublicBus), seats, ..code("K11") };
    needs(&bus(Some(40)), "A1A3", "");
    needs(&bus(Some(19)), "A1A3B1", "");
    needs(&bus(Some(9)), "A1", "");
    needs(&bus(None), "A1A3", "B1");
    needs(&Vehicle { used_for: Some(VehicleUse::CommercialPassenger), ..code("K11") }, "A1", "");
}

#[test]
fn a_description_that_contradicts_itself_is_unclear() {
    for vehicle in [
        Vehicle { seats: Some(10), ..code("K33") },
        Vehicle { seats: Some(20), ..code("K21") },
        Vehicle { seats: Some(9), ..code("K21") },
        Vehicle { total_mass_kg: Some(4500), ..code("H31") },
        Vehicle { seats: Some(10), ..Vehicle::of_class(VehicleClass::C1) },
        Vehicle { combination_mass_kg: Some(3000), ..code("K11") },
        Vehicle { combination_mass_kg: Some(3000), ..code("M21") },
        Vehicle { combination_mass_kg: Some(2000), total_mass_kg: Some(2000), ..code("K33") },
        Vehicle { combination_mass_kg: Some(4499), ..code("Q11") },
        Vehicle { combination_mass_kg: Some(4499), ..code("Q21") },
        Vehicle { combination_mass_kg: Some(4499), ..code("H11") },
        Vehicle { combination_mass_kg: Some(4499), ..code("H21") },
    ] {
        assert_eq!(vehicle.required(), Requirement::UNCLEAR, "{vehicle:?}");
    }
}

#[test]
fn combinations_by_total_mass() {
    let drawn = |code_text: &str, mass| Vehicle { combination_mass_kg: Some(mass), ..code(code_text) };
    let known = |mass| Vehicle { total_mass_kg: Some(1800), ..drawn("K33", mass) };
    needs(&known(4499), "A2C6", "");
    needs(&known(4500), "A2", "");
    needs(&known(4501), "A2", "");
    needs(&known(2500), "A2C6", "C1");
    needs(&known(2501), "A2C6", "");
    needs(&drawn("H31", 4499), "A2C6", "");
    needs(&drawn("Q11", 40_000), "A2", "");
    needs(&drawn("Q31", 4499), "A2C6", "");
    needs(&Vehicle { combination_mass_kg: Some(0), ..code("H31") }, "C1", "C2");
    needs(&Vehicle { combination_mass_kg: Some(0), ..code("Q11") }, "A2", "B2");
    needs(&Vehicle { combination_mass_kg: Some(4500), ..Vehicle::of_class(VehicleClass::C6) }, "A2", "");
}

#[test]
fn trailers() {
    assert_eq!(code("K33").draws_trailer(), Some(false));
    assert_eq!(code("H31").draws_trailer(), None);
    assert_eq!(code("Q11").draws_trailer(), Some(true));
    assert_eq!(Vehicle::of_class(VehicleClass::C6).draws_trailer(), Some(true));
    assert_eq!(Vehicle { combination_mass_kg: Some(1), ..code("K33") }.draws_trailer(), Some(true));
}

#[test]
fn how_classes_meet_requirements() {
    let car = code("K33").required();
    assert_eq!(car.met_by(set("B2")), Coverage::Covered);
    assert_eq!(car.met_by(set("C2")), Coverage::Unclear);
    assert_eq!(car.met_by(set("D")), Coverage::NotCovered);
    assert_eq!(Requirement::UNCLEAR.met_by(set("A1A2")), Coverage::Unclear);
    assert_eq!(Requirement::UNCLEAR.met_by(ClassSet::EMPTY), Coverage::Unclear);
}

proptest! {
    #[test]
    fn what_is_not_said_never_helps(
        family in 0usize..12, size in b'0'..=b'9', form in b'0'..=b'9', held in 0u32..(1 << 17),
        automatic: bool, adapted: bool, mass in 0u32..10_000, seats in 1u16..60, used_for in 1u8..=6,
    ) {
        let text = String::from_utf8(vec![FAMILIES[family], size, form]).unwrap();
        let held = ClassSet::from_bits(held << 1).unwrap();
        let silent = code(&text);
        let told = Vehicle {
            automatic: Some(automatic),
            adapted: Some(adapted),
            seats: Some(seats),
            combination_mass_kg: Some(mass),
            used_for: VehicleUse::from_code(used_for),
            ..silent.clone()
        };
        // A trailer is the one thing whose absence is assumed for all but goods vehicles.
        let silent = Vehicle { combination_mass_kg: Some(mass), ..silent };
        if silent.required().met_by(held) == Coverage::Covered {
            prop_assert_ne!(told.required().met_by(held), Coverage::NotCovered);
        }
    }
}

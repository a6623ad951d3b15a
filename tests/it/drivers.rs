//! The test drivers that foreign clients know are those of the catalogue.

use drivegate::domain::catalogue::{TestDriver, test_drivers};
use jiff::civil::date;
use serde_json::{Value, json};

/// Where foreign clients read the test drivers.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/drivers.json");

/// Set it to anything to write the file anew after the catalogue changed.
const WRITE_ANEW: &str = "DRIVEGATE_WRITE_GOLDEN";

#[test]
fn foreign_clients_know_the_drivers_of_the_catalogue() {
    let expected = file_of(&test_drivers(date(2026, 6, 15)));
    if std::env::var_os(WRITE_ANEW).is_some() {
        std::fs::write(FILE, &expected).expect("the file can be written");
    }
    let found = std::fs::read_to_string(FILE).expect("the file can be read");
    assert_eq!(found, expected, "after a change of the catalogue run once with {WRITE_ANEW}=1");
}

#[test]
fn numbers_and_names_do_not_depend_on_the_day() {
    assert_eq!(file_of(&test_drivers(date(2026, 6, 15))), file_of(&test_drivers(date(2031, 2, 28))));
}

/// Renders one line per driver.
fn file_of(drivers: &[TestDriver]) -> String {
    let lines: Vec<String> = drivers.iter().flat_map(entries_of).map(|entry| entry.to_string()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// Renders a driver, and once more under the number it had before.
fn entries_of(driver: &TestDriver) -> Vec<Value> {
    let key = match driver.twin {
        "" => driver.row.to_string(),
        twin => format!("{}-{twin}", driver.row),
    };
    let entry = |key: &str, number: &str| json!({ "key": key, "document": driver.document.word(), "number": number, "name": driver.claimed_name });
    let mut entries = vec![entry(&key, driver.number)];
    entries.extend(driver.old_number.map(|number| entry(&format!("{key}-old-number"), number)));
    entries
}

//! A licence number cannot be printed.
//! error E0277

pub fn show(number: &drivegate::domain::licence::LicenceNumber) -> String {
    format!("{number}")
}

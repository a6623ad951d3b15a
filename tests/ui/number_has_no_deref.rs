//! A licence number does not turn into text by itself.
//! error E0308

pub fn leak(number: &drivegate::domain::licence::LicenceNumber) -> &str {
    number
}

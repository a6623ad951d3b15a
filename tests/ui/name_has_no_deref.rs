//! A full name does not turn into text by itself.
//! error E0308

pub fn leak(name: &drivegate::domain::licence::FullName) -> &str {
    name
}

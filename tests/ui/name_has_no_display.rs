//! A full name cannot be printed.
//! error E0277

pub fn show(name: &drivegate::domain::licence::FullName) -> String {
    format!("{name}")
}

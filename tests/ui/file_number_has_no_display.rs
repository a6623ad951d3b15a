//! A file number cannot be printed.
//! error E0277

pub fn show(number: &drivegate::domain::licence::FileNumber) -> String {
    format!("{number}")
}

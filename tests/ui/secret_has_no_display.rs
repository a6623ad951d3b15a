//! The secret of a subject cannot be printed.
//! error E0277

pub fn show(secret: &drivegate::domain::subject::SubjectSecret) -> String {
    format!("{secret}")
}

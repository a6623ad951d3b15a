//! A mask is made in one place: nobody wraps a whole name in it.
//! error E0423

pub fn forge(name: &str) -> drivegate::domain::disclosure::MaskedName {
    drivegate::domain::disclosure::MaskedName(name.to_owned())
}

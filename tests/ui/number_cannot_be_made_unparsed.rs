//! A licence number comes from parsing alone.
//! error E0423

pub fn forge() -> drivegate::domain::licence::LicenceNumber {
    drivegate::domain::licence::LicenceNumber("11010519491231002X".into())
}

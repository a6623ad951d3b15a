//! Only `disclose` makes a disclosure.
//! error E0639

use drivegate::domain::disclosure::Disclosure;

pub fn forge() -> Disclosure {
    Disclosure { paper_licence_needed: Some(true), ..Disclosure::default() }
}

//! `docs/test-drivers.md` is what the code says: rendered from the catalogue and compared.
//!
//! Given a change of the catalogue, run `UPDATE_DOCS=1 cargo test --release --test it catalogue` and read the difference.

use std::fmt::Write as _;
use std::path::Path;

use drivegate::domain::catalogue::{Expectation, TestDriver, test_drivers};
use drivegate::domain::decision::Decision;
use drivegate::domain::elicence::Shown;
use jiff::civil::date;

const PAGE: &str = "docs/test-drivers.md";

/// The expectations do not depend on the day; one is needed to render them.
fn rendered() -> String {
    let mut page = String::from(
        "# Test drivers\n\n\
         Fixed drivers every sandbox can hold: `drivegate registry generate --count 0 --with-test-drivers --into DIR`. Numbers and\n\
         names never change. Every date in their histories is counted from the as-of day (`--as-of`, today unless given), so\n\
         that expectations do not rot: ask on that day. Nobody's number begins with 0, and only a sandbox accepts these.\n\n\
         Rows follow [policy.md](policy.md) §7. Every row runs as a test against the rules, for four as-of days and three times of\n\
         day; the foreign clients ask a part of them over the wire. A claim must assert the name given here. The last column is what\n\
         the e-licence shows a peer, or why no QR code is issued for it; it enters no decision.\n\n\
         | row | number | name to claim | situation | question → decision | e-licence |\n|---|---|---|---|---|---|\n",
    );
    for driver in test_drivers(date(2026, 11, 22)) {
        row(&mut page, &driver);
    }
    page
}

fn row(page: &mut String, driver: &TestDriver) {
    let twin = if driver.twin.is_empty() { String::new() } else { format!(" {}", driver.twin) };
    let expected: Vec<_> = driver.expectations.iter().map(expectation).collect();
    let number = match driver.old_number {
        None => format!("`{}`", driver.number),
        Some(old) => format!("`{}`, before `{old}`", driver.number),
    };
    writeln!(
        page,
        "| {}{twin} | {number} | {} | {} | {} | {} |",
        driver.row,
        driver.claimed_name,
        driver.situation,
        expected.join("; "),
        e_licence(driver),
    )
    .expect("a string can be written to");
}

/// What is shown through the day; where a moment is named there are two, before and after.
fn e_licence(driver: &TestDriver) -> String {
    let shown: Vec<String> = driver
        .e_licence
        .iter()
        .map(|one| match one.expected {
            Ok(Shown { display, deferred, groups }) => {
                let label = if deferred { ", 延期" } else { "" };
                let group = if groups.car { "" } else { ", motorcycle" };
                format!("{display}{label}{group}")
            }
            Err(reason) => format!("X {}", reason.word()),
        })
        .collect();
    if shown.is_empty() { "–".to_owned() } else { shown.join(", then ") }
}

fn expectation(expected: &Expectation) -> String {
    let decision = match expected.decision {
        Decision::Qualified => "Q",
        Decision::NotQualified => "N",
        Decision::Indeterminate => "I",
    };
    let reason = expected.shows.map_or(String::new(), |(_, _, reason)| format!(" {}", reason.word()));
    let changed = if expected.changed_since { " (changed since)" } else { "" };
    format!("{} → {decision}{reason}{changed}", expected.label)
}

#[test]
fn the_page_is_what_the_catalogue_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let rendered = rendered();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&page, &rendered).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&page).expect("the page can be read");
    assert!(written == rendered, "{PAGE} is not what the catalogue says: UPDATE_DOCS=1 rewrites it");
}

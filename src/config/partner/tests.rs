use proptest::prelude::*;

use super::*;
use crate::domain::partner::{ClaimTerms, Threshold};

const RENTAL: &str = r#"
id = "rental-demo"
legal_name = "示例租车有限公司"
display_name = "示例租车"
kind = "rental"
contact = "ops@rental.example"

[validity]
from = 2026-01-01
until = 2027-12-31

[[identity]]
san_uri = "spiffe://demo/rental"
spki_sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

[[purpose]]
name = "rental"
grounds = ["contract", "consent"]
fields = ["masked-name"]
tenure_months = [12, 24]
margin_days = [0, 30]

[allowance]
rate_per_second = 50
burst = 100
in_flight_max = 64
connections_max = 8
quota_per_minute = 1000
quota_per_hour = 20000
quota_per_day = 100000
"#;

#[test]
fn a_contract_reads_as_written() {
    let PartnerFile { contract, suspended } = parse(RENTAL).unwrap();
    assert!(!suspended && !contract.presentations_only);
    assert_eq!(contract.partner.as_str(), "rental-demo");
    assert_eq!(contract.starts_at.to_string(), "2025-12-31T16:00:00Z");
    assert_eq!(contract.ends_at.to_string(), "2027-12-31T16:00:00Z", "the last day is inclusive");
    let names = [PeerName::SanUri("spiffe://demo/rental".into()), PeerName::SpkiSha256([0xaa; 32])];
    assert_eq!(contract.identities, names);
    let terms = contract.terms(Purpose::Rental).unwrap();
    assert!(terms.fields.contains(Field::MaskedName));
    assert_eq!(terms.grounds, [GroundKind::Contract, GroundKind::Consent]);
    assert_eq!(contract.allowance.quota_per_day, 100_000);
    assert_eq!(contract.claims, ClaimTerms::usual(PartnerKind::Rental));
}

#[test]
fn the_bounds_on_claims_are_usual_where_the_contract_is_silent() {
    let with = |lines: &str| parse(&format!("{RENTAL}\n[claims]\n{lines}"));
    let usual = ClaimTerms::usual(PartnerKind::Rental);
    let given =
        with("subjects_max = 100000\nwindow_hours = 6\nsuspend_percent = 60").unwrap().contract.claims;
    let suspend = Threshold { percent: 60, ..usual.suspend };
    assert_eq!(given, ClaimTerms { subjects_max: 100_000, window_hours: 6, suspend, ..usual });
    for (line, key, said) in [
        ("subjects_max = 0", "claims.subjects_max", "from 1 to 100000"),
        ("subjects_max = 100001", "claims.subjects_max", "from 1 to 100000"),
        ("window_hours = 5", "claims.window_hours", "midnight"),
        ("slow_percent = 101", "claims.slow_percent", "from 1 to 100"),
        ("slow_unconfirmed = 101", "claims.suspend_unconfirmed", "below slow_unconfirmed"),
        ("subject_max = 1", "claims.subject_max", "unknown field"),
    ] {
        let fault = with(line).unwrap_err();
        assert_eq!(fault.key, key, "{line}: {fault}");
        assert!(fault.what.contains(said), "{line}: {fault}");
    }
}

/// Every fault an operator can make in an editor: what is changed, the line, the key, a part of what is said.
#[test]
fn a_fault_names_line_and_key() {
    let table: &[(&str, &str, usize, &str, &str)] = &[
        ("kind = \"rental\"", "kind = \"bank\"", 5, "kind", "not one of: insurer"),
        ("id = \"rental-demo\"", "id = \"Rental\"", 2, "id", "a-z"),
        ("burst = 100", "burst = 0", 25, "allowance.burst", "nonzero"),
        ("burst = 100", "burts = 100", 25, "allowance.burts", "unknown field"),
        ("burst = 100\n", "", 23, "allowance", "missing field `burst`"),
        ("until = 2027-12-31", "until = 2025-12-31", 10, "validity.until", "before"),
        ("until = 2027-12-31", "until = \"2027-12-31\"", 10, "validity.until", ""),
        ("until = 2027-12-31", "until = 2027-02-30", 10, "validity.until", ""),
        ("from = 2026-01-01", "from = 2026-01-01T00:00:00Z", 9, "validity.from", "plain date"),
        ("\"aaaa", "\"zaaa", 14, "identity.spki_sha256", "64 hexadecimal"),
        ("spiffe://demo/rental", "rental", 13, "identity.san_uri", "URI"),
        ("\"masked-name\"", "\"birth-date\"", 19, "purpose.fields", "masked-name"),
        ("示例租车\"", "示例\\u202e租车\"", 4, "display_name", "direction"),
        ("[allowance]", "[[purpose]]\nname = \"rental\"\n\n[allowance]", 24, "purpose.name", "twice"),
        ("legal_name = ", "legal_name = = ", 3, "legal_name", ""),
    ];
    for (from, to, line, key, said) in table {
        assert!(RENTAL.contains(from), "{from}");
        let fault = parse(&RENTAL.replacen(from, to, 1)).unwrap_err();
        assert_eq!((fault.line, fault.key.as_str()), (*line, *key), "{to}: {fault}");
        assert!(fault.what.contains(said), "{to}: {fault}");
    }
}

#[test]
fn a_contract_may_be_for_presentations_alone() {
    let strict = RENTAL.replacen("kind = ", "presentations_only = true\nkind = ", 1);
    assert!(parse(&strict).unwrap().contract.presentations_only);
    let fault = parse(&RENTAL.replacen("kind = ", "presentations_only = \"yes\"\nkind = ", 1)).unwrap_err();
    assert_eq!((fault.line, fault.key.as_str()), (5, "presentations_only"), "{fault}");
}

#[test]
fn a_third_pin_is_refused() {
    let pin = |digit: &str| format!("\n[[identity]]\nspki_sha256 = \"{}\"\n", digit.repeat(64));
    let two = format!("{RENTAL}{}", pin("b"));
    assert_eq!(parse(&two).unwrap().contract.identities.len(), 3);
    let fault = parse(&format!("{two}{}", pin("c"))).unwrap_err();
    assert!(fault.what.contains("at most 2 pins"), "{fault}");
    assert_eq!(fault.key, "identity.spki_sha256");
}

#[test]
fn the_files_name_and_the_id_must_agree() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("someone-else.toml");
    std::fs::write(&path, RENTAL).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("someone-else.toml, line 2, key `id`"), "{error}");
}

#[test]
fn what_is_written_reads_back_the_same() {
    let mut file = parse(RENTAL).unwrap();
    file.suspended = true;
    file.contract.presentations_only = true;
    file.contract.claims.window_hours = 12;
    file.contract.claims.slow.percent = 7;
    file.contract.legal_name = "quote \" backslash \\ # hash".into();
    assert_eq!(parse(&render(&file)).unwrap(), file);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", cut in 0..900_usize) {
        let _ = parse(&text);
        let spliced: String = RENTAL.chars().take(cut).chain(text.chars()).collect();
        let _ = parse(&spliced);
    }
}

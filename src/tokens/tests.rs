//! What is written is read back, and nothing else is.

use coset::cbor::value::Value;
use coset::{CborSerializable as _, CoseEncrypt0Builder, HeaderBuilder, iana};
use jiff::Timestamp;
use proptest::prelude::*;

use super::envelope::Envelope;
use super::keys::QrKey;
use super::*;
use crate::domain::disclosure::{Field, FieldSet};
use crate::domain::partner::{PartnerId, PartnerKind};
use crate::domain::presentation::{Audience, PartnerMark, Presentation, PresentationId, PresentationKind};
use crate::domain::question::Purpose;
use crate::domain::subject::NumberPseudonym;
use crate::issuing::ports::{QrWriter as _, Unsealable};
use crate::verification::ports::{QrFault, QrReader as _};

const HERE: Deployment = Deployment { environment: "sandbox", id: [3; 16] };
const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

fn tokens(sealing: &[u8; 32], second: Option<&[u8; 32]>) -> QrTokens {
    QrTokens::new(QrKeys::new(sealing, second).unwrap(), &HERE)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// As large as they come.
fn shown() -> Presentation {
    let partner: PartnerId = "a-partner-with-a-name-of-forty-characters".get(..40).unwrap().parse().unwrap();
    Presentation {
        id: PresentationId::new(PresentationKind::Qr, [0xff; 16]),
        number: NumberPseudonym::from_bytes([0xee; 16]),
        audience: Audience::Partner(PartnerMark::of(&partner)),
        purpose: Some(Purpose::Rental),
        fields: Some(FieldSet::of(Field::ALL)),
        uses_max: 1,
        issued_at: at(u32::MAX.into()) - jiff::SignedDuration::from_secs(60),
        expires_at: at(u32::MAX.into()),
    }
}

fn audiences() -> impl Strategy<Value = (Audience, Option<Purpose>)> {
    let purpose = || prop::sample::select(Purpose::ALL).prop_map(Some);
    let kind = prop::sample::select(PartnerKind::ALL).prop_map(Audience::Kind);
    let partner = any::<[u8; 8]>().prop_map(|mark| Audience::Partner(PartnerMark::from_bytes(mark)));
    prop_oneof![Just((Audience::Untold, None)), (prop_oneof![kind, partner], purpose()),]
}

prop_compose! {
    fn presentations()(
        id: [u8; 16],
        number: [u8; 16],
        (audience, purpose) in audiences(),
        fields in prop::option::of(prop::collection::vec(prop::sample::select(Field::ALL), 0..10)),
        issued in 0..i64::from(u32::MAX) - 86_400,
        lifetime in 1..86_400_i64,
    ) -> Presentation {
        Presentation {
            id: PresentationId::new(PresentationKind::Qr, id),
            number: NumberPseudonym::from_bytes(number),
            audience,
            purpose,
            fields: fields.map(|fields| fields.into_iter().collect()),
            uses_max: 1,
            issued_at: at(issued),
            expires_at: at(issued + lifetime),
        }
    }
}

#[test]
fn the_largest_text_fits_into_a_small_qr_code() {
    let text = tokens(&NEW, None).write(&shown()).unwrap();
    assert!(text.len() <= QR_TEXT_MAX, "{}", text.len());
    assert!(text.bytes().all(|byte| b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:".contains(&byte)));
    let code = qrcode::QrCode::with_error_correction_level(&text, qrcode::EcLevel::M).unwrap();
    // Encoders that cut the text into segments less well than possible come out at 8.
    assert!(matches!(code.version(), qrcode::Version::Normal(1..=8)), "{:?}", code.version());
}

#[test]
fn nothing_readable_is_in_it_and_no_two_are_alike() {
    let tokens = tokens(&NEW, None);
    let [one, other] = [tokens.write(&shown()).unwrap(), tokens.write(&shown()).unwrap()];
    assert_ne!(one, other);
    let bytes = base45::decode(one.strip_prefix(QR_PREFIX).unwrap()).unwrap();
    assert!(!bytes.windows(8).any(|window| window == [0xee; 8] || window == [0xff; 8]));
}

#[test]
fn what_no_qr_code_can_be_is_not_sealed() {
    let tokens = tokens(&NEW, None);
    let share_code = PresentationId::new(PresentationKind::ShareCode, [0; 16]);
    let later = Timestamp::from_second(i64::from(u32::MAX) + 1).unwrap();
    for broken in [
        Presentation { id: share_code, ..shown() },
        Presentation { uses_max: 2, ..shown() },
        Presentation { audience: Audience::Untold, ..shown() },
        Presentation { purpose: None, ..shown() },
        Presentation { expires_at: shown().issued_at, ..shown() },
        Presentation { issued_at: at(1) + jiff::SignedDuration::from_millis(1), ..shown() },
        // After 2106 a moment takes nine bytes, and the text would be too long.
        Presentation { issued_at: later, expires_at: later + jiff::SignedDuration::from_secs(1), ..shown() },
    ] {
        assert_eq!(tokens.write(&broken), Err(Unsealable), "{broken:?}");
    }
}

#[test]
fn a_rotation_in_three_steps_loses_no_code() {
    let before = tokens(&OLD, None);
    let announced = tokens(&OLD, Some(&NEW));
    let rotated = tokens(&NEW, Some(&OLD));
    let after = tokens(&NEW, None);
    let reads = |reader: &QrTokens, writer: &QrTokens| reader.read(&writer.write(&shown()).unwrap());
    // The replicas of a deployment take each step one after the other: two neighbouring steps read each other's codes.
    let steps = [&before, &announced, &rotated, &after];
    for (index, reader) in steps.iter().enumerate() {
        for writer in &steps[index.saturating_sub(1)..=(index + 1).min(3)] {
            assert_eq!(reads(reader, writer), Ok(shown()), "step {index}");
        }
    }
    assert_eq!(reads(&after, &before), Err(QrFault::NotGenuine), "the key is gone");
    assert_eq!(QrKeys::new(&OLD, Some(&OLD)).unwrap_err(), KeysAlike);
}

#[test]
fn another_deployment_does_not_open_it_under_the_same_key() {
    let text = tokens(&NEW, None).write(&shown()).unwrap();
    for other in [Deployment { environment: "production", ..HERE }, Deployment { id: [4; 16], ..HERE }] {
        let there = QrTokens::new(QrKeys::new(&NEW, None).unwrap(), &other);
        assert_eq!(there.read(&text), Err(QrFault::NotGenuine), "{other:?}");
    }
}

#[test]
fn every_change_of_every_byte_is_noticed() {
    let tokens = tokens(&NEW, None);
    let text = tokens.write(&shown()).unwrap();
    let bytes = base45::decode(&text[QR_PREFIX.len()..]).unwrap();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            let text = format!("{QR_PREFIX}{}", base45::encode(&flipped));
            assert!(tokens.read(&text).is_err(), "bit {bit} of byte {place}");
        }
    }
    for place in 0..text.len() {
        for symbol in (0..=0x7f_u8).filter(|symbol| *symbol != text.as_bytes()[place]) {
            let mut changed = text.clone().into_bytes();
            changed[place] = symbol;
            let changed = String::from_utf8(changed).unwrap();
            assert!(tokens.read(&changed).is_err(), "{:?} at {place}", char::from(symbol));
        }
    }
}

#[test]
fn what_is_not_the_one_form_is_malformed() {
    let tokens = tokens(&NEW, None);
    let text = tokens.write(&shown()).unwrap();
    let bytes = base45::decode(&text[QR_PREFIX.len()..]).unwrap();
    let with = |bytes: &[u8]| format!("{QR_PREFIX}{}", base45::encode(bytes));
    let tagged = [&[0xd0], bytes.as_slice()].concat();
    let trailing = [bytes.as_slice(), &[0]].concat();
    let mut broken = vec![
        String::new(),
        QR_PREFIX.to_owned(),
        text.to_lowercase(),
        text[QR_PREFIX.len()..].to_owned(),
        format!("{text} "),
        format!("{text}\n"),
        format!(" {text}"),
        format!("{}\u{a0}", &text[..text.len() - 1]),
        text.replacen("DG1:", "DG2:", 1),
        "https://drivegate.example/".to_owned(),
        format!("{QR_PREFIX}{}", "0".repeat(10_000_000)),
        with(&tagged),
        with(&trailing),
        with(&[0x9f; 100]),
        with(&[0x83, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ];
    broken.extend((0..text.len()).map(|length| text[..length].to_owned()));
    for text in &broken {
        assert_eq!(tokens.read(text), Err(QrFault::Malformed), "{:.40?}", text);
    }
    // Base45 that is read alike: the last two symbols are taken modulo 256 by decoders that are not strict.
    assert!(tokens.read(&format!("{}::", &text[..text.len() - 2])).is_err());
}

#[test]
fn headers_that_are_not_ours_are_malformed() {
    let tokens = tokens(&NEW, None);
    let ours = || HeaderBuilder::new().algorithm(iana::Algorithm::A256GCM).build();
    let beside = || HeaderBuilder::new().key_id(vec![1, 2]).iv(vec![0; 12]);
    let cose = |protected, unprotected| {
        let built =
            CoseEncrypt0Builder::new().protected(protected).unprotected(unprotected).ciphertext(vec![7; 60]);
        format!("{QR_PREFIX}{}", base45::encode(built.build().to_vec().unwrap()))
    };
    let fits = cose(ours(), beside().build());
    assert_eq!(tokens.read(&fits), Err(QrFault::NotGenuine), "the form fits, the key does not");
    let algorithm = |algorithm| HeaderBuilder::new().algorithm(algorithm).build();
    for text in [
        cose(algorithm(iana::Algorithm::A128GCM), beside().build()),
        cose(algorithm(iana::Algorithm::ChaCha20Poly1305), beside().build()),
        cose(HeaderBuilder::new().build(), beside().algorithm(iana::Algorithm::A256GCM).build()),
        cose(ours(), beside().algorithm(iana::Algorithm::A256GCM).build()),
        cose(ours(), beside().value(99, Value::Null).build()),
        cose(ours(), beside().key_id(vec![1, 2, 3]).build()),
        cose(ours(), beside().iv(vec![0; 11]).build()),
        cose(ours(), HeaderBuilder::new().key_id(vec![1, 2]).partial_iv(vec![0; 12]).build()),
        cose(
            HeaderBuilder::new().algorithm(iana::Algorithm::A256GCM).value(99, Value::Null).build(),
            beside().build(),
        ),
    ] {
        assert_eq!(tokens.read(&text), Err(QrFault::Malformed), "{text}");
    }
}

/// Seals any claims, as only the key's holder can: a later version, or a mistake.
fn sealed(plain: &[u8]) -> String {
    let keys = QrKeys::new(&NEW, None).unwrap();
    let key: &QrKey = keys.sealing();
    let external = [b"drivegate qr 1 sandbox ".as_slice(), &HERE.id].concat();
    let ciphertext = key.seal([9; 12], plain, &Envelope::authenticated(&external)).unwrap();
    let envelope = Envelope { key_id: key.id, nonce: [9; 12], ciphertext };
    format!("{QR_PREFIX}{}", base45::encode(envelope.to_bytes().unwrap()))
}

#[test]
fn claims_that_are_not_ours_are_malformed_even_when_sealed() {
    let tokens = tokens(&NEW, None);
    let plain = claims::write(&shown()).unwrap();
    assert_eq!(tokens.read(&sealed(&plain)), Ok(shown()));
    let Value::Map(map) = coset::cbor::de::from_reader::<Value, _>(plain.as_slice()).unwrap() else {
        panic!()
    };
    let told = |map: Vec<(Value, Value)>| {
        let mut bytes = Vec::new();
        coset::cbor::ser::into_writer(&Value::Map(map), &mut bytes).unwrap();
        tokens.read(&sealed(&bytes))
    };
    assert_eq!(told(map.clone()), Ok(shown()));
    for index in 0..map.len() {
        let mut without = map.clone();
        let claim = without.remove(index);
        assert_eq!(told(without.clone()), Err(QrFault::Malformed), "without claim {index}");
        without.push(claim.clone());
        if index + 1 < map.len() {
            assert_eq!(told(without), Err(QrFault::Malformed), "claim {index} last");
        }
        for other in [Value::Null, Value::Float(1.5), Value::Text("x".into()), Value::Bytes(vec![0; 3])] {
            let mut changed = map.clone();
            changed[index].1 = other;
            assert_eq!(told(changed), Err(QrFault::Malformed), "claim {index} of another kind");
        }
    }
    assert_eq!(tokens.read(&sealed(&[plain.as_slice(), &[0xf6]].concat())), Err(QrFault::Malformed));
    // A duplicate that fits into the text's length: an empty id twice.
    assert_eq!(tokens.read(&sealed(&[0xa2, 0x07, 0x40, 0x07, 0x40])), Err(QrFault::Malformed));
    let agreed = |values: [Value; 3]| {
        let mut changed = map.clone();
        changed.last_mut().unwrap().1 = Value::Array(values.to_vec());
        told(changed)
    };
    let kind = |code: u8| Value::from(code);
    assert!(agreed([kind(2), kind(3), Value::Null]).is_ok());
    for broken in [
        [kind(99), kind(3), Value::Null],
        [kind(2), kind(99), Value::Null],
        [kind(2), Value::Null, Value::Null],
        [Value::Null, kind(3), Value::Null],
        [kind(2), kind(3), Value::from(1)],
        [kind(2), kind(3), Value::from(1_u32 << 20)],
        [Value::Bytes(vec![1; 7]), kind(3), Value::Null],
    ] {
        assert_eq!(agreed(broken.clone()), Err(QrFault::Malformed), "{broken:?}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_short(presentation in presentations()) {
        let tokens = tokens(&NEW, None);
        let text = tokens.write(&presentation).unwrap();
        prop_assert!(text.len() <= QR_TEXT_MAX, "{} characters", text.len());
        prop_assert!(!text.ends_with(' '), "readers may strip the end");
        prop_assert_eq!(tokens.read(&text), Ok(presentation));
    }

    #[test]
    fn no_text_can_do_harm(text in "\\PC{0,200}", base45 in "[0-9A-Z $%*+./:-]{0,176}", bytes: Vec<u8>) {
        let tokens = tokens(&NEW, None);
        for text in [text, format!("{QR_PREFIX}{base45}"), format!("{QR_PREFIX}{}", base45::encode(&bytes))] {
            prop_assert!(tokens.read(&text).is_err());
        }
        // Even the key's holder can seal nothing that does harm.
        if bytes.len() < 70 {
            prop_assert!(tokens.read(&sealed(&bytes)).is_err());
        }
    }
}

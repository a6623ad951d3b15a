//! Who is asked about: drivers from a file, and in which order they come.

use std::io::BufRead as _;
use std::path::Path;
use std::str::FromStr;

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use serde_json::Value;

use crate::cli::verify::words;
use crate::gateway::proto;

/// A driver to ask about. No `Debug`: it holds identifiers.
#[derive(Clone)]
pub struct Driver {
    /// The kind of document whose number it is.
    pub document: proto::DocumentKind,
    /// The licence number.
    pub number: String,
    /// The full name.
    pub name: String,
}

/// The names columns and keys of number and name may have.
const NUMBER_KEYS: [&str; 3] = ["licence_number", "number", "licence-number"];
const DOCUMENT_KEYS: [&str; 2] = ["document_kind", "document"];
const NAME_KEYS: [&str; 3] = ["full_name", "name", "full-name"];

/// Reads drivers from NDJSON (one object a line) or CSV (with a header), as `drivegate registry generate` writes them.
///
/// # Errors
/// Names file and line; never repeats the line.
pub fn read(path: &Path, count_max: usize) -> miette::Result<Vec<Driver>> {
    let context = || format!("cannot read drivers from {}", path.display());
    let file = std::fs::File::open(path).into_diagnostic().wrap_err_with(context)?;
    let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let drivers = if is_csv { read_csv(file, count_max) } else { read_ndjson(file, count_max) };
    let drivers = drivers.wrap_err_with(context)?;
    if drivers.is_empty() {
        return Err(miette!("{} names no driver", path.display()));
    }
    Ok(drivers)
}

fn read_ndjson(file: std::fs::File, count_max: usize) -> miette::Result<Vec<Driver>> {
    let mut drivers = Vec::new();
    for (index, line) in std::io::BufReader::new(file).lines().enumerate() {
        let line = line.into_diagnostic()?;
        if line.trim().is_empty() {
            continue;
        }
        let number = index + 1;
        let value: Value =
            serde_json::from_str(&line).map_err(|_| miette!("line {number} is no JSON object"))?;
        // A header line of the format (version, as-of day) names no driver.
        if let Some(driver) = driver_in(&value) {
            drivers.push(driver);
        }
        if drivers.len() >= count_max {
            break;
        }
    }
    Ok(drivers)
}

fn driver_in(value: &Value) -> Option<Driver> {
    let text = |keys: &[&str]| keys.iter().find_map(|key| find(value, key)).map(str::to_owned);
    let document = document(text(&DOCUMENT_KEYS).as_deref())?;
    Some(Driver { document, number: text(&NUMBER_KEYS)?, name: text(&NAME_KEYS)? })
}

/// Reads the kind of document; a resident's card unless the file says otherwise. `None`: no kind anybody knows.
fn document(word: Option<&str>) -> Option<proto::DocumentKind> {
    match word {
        None | Some("") => Some(proto::DocumentKind::ResidentId),
        Some(word) => words::read(word).ok(),
    }
}

/// Finds a text by key, at most two levels deep.
fn find<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    let object = value.as_object()?;
    object
        .get(key)
        .and_then(Value::as_str)
        .or_else(|| object.values().find_map(|inner| inner.get(key).and_then(Value::as_str)))
}

fn read_csv(file: std::fs::File, count_max: usize) -> miette::Result<Vec<Driver>> {
    let mut reader = csv::Reader::from_reader(file);
    let header = reader.headers().into_diagnostic()?.clone();
    let column = |keys: [&str; 3]| {
        header.iter().position(|name| keys.contains(&name)).ok_or_else(|| miette!("no column {}", keys[0]))
    };
    let (number, name) = (column(NUMBER_KEYS)?, column(NAME_KEYS)?);
    let kind = header.iter().position(|name| DOCUMENT_KEYS.contains(&name));
    let mut drivers = Vec::new();
    for record in reader.records().take(count_max) {
        let record = record.map_err(|error| match error.position() {
            Some(at) => miette!("line {} is no record", at.line()),
            None => miette!("cannot be read"),
        })?;
        let field = |column: usize| record.get(column).unwrap_or_default().to_owned();
        // Who has a document nobody knows is left out, as in NDJSON.
        if let Some(document) = document(kind.and_then(|kind| record.get(kind))) {
            drivers.push(Driver { document, number: field(number), name: field(name) });
        }
    }
    Ok(drivers)
}

/// In which order drivers are asked about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// Every driver as often as any other, at random.
    Uniform,
    /// Few often, many rarely: the k-th most asked about comes with weight 1/k^s.
    Zipf(f64),
    /// One after the other, so that nobody comes twice before everybody came once: what no cache can help.
    Each,
}

impl FromStr for Spread {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=').unwrap_or((text, "1.0")) {
            ("uniform", _) => Ok(Self::Uniform),
            ("each", _) => Ok(Self::Each),
            ("zipf", exponent) => match exponent.parse::<f64>() {
                Ok(exponent) if exponent.is_finite() && exponent >= 0.0 => Ok(Self::Zipf(exponent)),
                _ => Err("the exponent of zipf must be a number from 0 on".to_owned()),
            },
            _ => Err("expected uniform, zipf, zipf=1.2 or each".to_owned()),
        }
    }
}

/// How many draws are made beforehand; they are walked through again and again.
const DRAWS: usize = 1 << 20;

impl Spread {
    /// Draws the order beforehand, so that nothing is drawn while time is measured.
    pub fn draw(self, drivers: usize, seed: u64) -> Vec<u32> {
        let mut random = SplitMix(seed);
        let count = u32::try_from(drivers).unwrap_or(u32::MAX);
        match self {
            Self::Uniform => (0..DRAWS).map(|_| random.below(count)).collect(),
            Self::Each => {
                let mut order: Vec<u32> = (0..count).collect();
                for index in (1..order.len()).rev() {
                    let other = random.below(u32::try_from(index + 1).unwrap_or(u32::MAX));
                    order.swap(index, other as usize);
                }
                order
            }
            Self::Zipf(exponent) => {
                let mut reached = 0.0;
                let steps: Vec<f64> = (0..count)
                    .map(|rank| {
                        reached += (f64::from(rank) + 1.0).powf(-exponent);
                        reached
                    })
                    .collect();
                let draw = |at: f64| u32::try_from(steps.partition_point(|step| *step < at)).unwrap_or(0);
                (0..DRAWS).map(|_| draw(random.unit() * reached).min(count.saturating_sub(1))).collect()
            }
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and the same everywhere for the same seed.
#[derive(Clone, Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to `bound` - 1.
    pub fn below(&mut self, bound: u32) -> u32 {
        let high = self.next() >> 32;
        u32::try_from((high * u64::from(bound)) >> 32).unwrap_or(0)
    }

    fn unit(&mut self) -> f64 {
        f64::from(self.below(u32::MAX)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(suffix: &str, text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn drivers_come_from_ndjson_and_csv() {
        let ndjson = "{\"format\":1}\n{\"licence_number\":\"1\",\"full_name\":\"a\",\"x\":0}\n\n{\"holder\":{\"number\":\"2\",\"name\":\"b\"}}\n";
        let drivers = read(file(".ndjson", ndjson).path(), 10).ok().unwrap();
        assert!(drivers.len() == 2 && drivers[1].number == "2" && drivers[1].name == "b");
        let drivers = read(file(".csv", "name,other,number\na,-,1\nb,-,2\n").path(), 1).ok().unwrap();
        assert!(drivers.len() == 1 && drivers[0].number == "1");
    }

    #[test]
    fn documents_are_read_and_a_residents_card_goes_without_saying() {
        let lines = "{\"number\":\"1\",\"name\":\"a\"}\n{\"document\":\"passport\",\"number\":\"2\",\"name\":\"b\"}\n\
                     {\"document\":\"library-card\",\"number\":\"3\",\"name\":\"c\"}\n";
        let drivers = read(file(".ndjson", lines).path(), 10).unwrap();
        let kinds: Vec<_> = drivers.iter().map(|driver| driver.document).collect();
        assert_eq!(kinds, [proto::DocumentKind::ResidentId, proto::DocumentKind::Passport]);
    }

    #[test]
    fn a_bad_file_is_named_by_line_and_never_repeated() {
        let bad = file(".ndjson", "{\"number\":\"1\",\"name\":\"a\"}\n110101199003077777\n{");
        let told = format!("{:?}", read(bad.path(), 10).err().unwrap());
        assert!(told.contains("line 3") && !told.contains("1101"), "{told}");
        assert!(read(file(".ndjson", "\n").path(), 10).is_err());
    }

    #[test]
    fn each_asks_about_everybody_before_anybody_twice() {
        let mut order = Spread::Each.draw(1_000, 7);
        assert_ne!(order[..3], [0, 1, 2]);
        order.sort_unstable();
        assert_eq!(order, (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn zipf_asks_about_few_often_and_uniform_about_all_alike() {
        let share_of_first = |spread: Spread| {
            let order = spread.draw(1_000, 7);
            let first = order.iter().filter(|driver| **driver == 0).count();
            assert!(order.iter().all(|driver| *driver < 1_000));
            first * 1_000 / order.len()
        };
        assert!((110..160).contains(&share_of_first(Spread::Zipf(1.0))), "1/H(1000) = 13.4 %");
        assert!(share_of_first(Spread::Uniform) <= 2);
        assert_eq!(Spread::Uniform.draw(9, 1), Spread::Uniform.draw(9, 1));
    }

    #[test]
    fn spreads_are_read() {
        assert_eq!("zipf=1.2".parse(), Ok(Spread::Zipf(1.2)));
        assert_eq!("each".parse(), Ok(Spread::Each));
        assert!("zipf=x".parse::<Spread>().is_err() && "gauss".parse::<Spread>().is_err());
    }
}
